"""`make run` as its user meets it: one start, everything that may happen to it, one stop."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from portal.embedded import processes
from tests.embedded.launching import ROOT

START_SECONDS = 90
# What contract programs read from var/run.json.
KEYS = {
    "url", "email", "password", "api_key", "checkout", "horizon", "network_passphrase", "database_url",
    "database_worker_url", "redis_url", "mongo_url",
}  # fmt: skip


def attend_to_hang_ups():
    """Undo the nohup that the tests themselves may run under."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Run:
    def __init__(self, var):
        self.var = var
        self.port = processes.free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "VAR_DIR": str(var),
            "PORT": str(self.port),
            "SANDBOX_PORT": str(processes.free_port()),
            "WEB_WORKERS": "1",
        }
        self.output = var / "output.txt"
        with open(self.output, "w") as output:
            self.process = self.command(
                subprocess.Popen, stdout=output, stderr=subprocess.STDOUT, preexec_fn=attend_to_hang_ups
            )

    def wait_for(self, name):
        ready = processes.wait_until(
            lambda: (self.var / name).exists() or self.process.poll() is not None, seconds=START_SECONDS
        )
        assert ready and self.process.poll() is None, self.output.read_text()

    def command(self, how, environment=None, **options):
        return how(
            [sys.executable, "-m", "portal.embedded"],
            cwd=ROOT,
            env=environment or self.environment,
            **options,
        )

    def pid_of(self, name):
        return int(json.loads((self.var / f"{name}.process.json").read_text())["pid"])

    def healthy(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


def check_that_it_tells_programs_where_everything_is(run):
    facts = json.loads((run.var / "run.json").read_text())

    assert facts.keys() == KEYS
    assert facts["url"] == f"http://127.0.0.1:{run.port}"
    assert run.healthy()
    for name in ("run.json", "env", "secrets.json"):
        assert stat.S_IMODE((run.var / name).stat().st_mode) == 0o600, name


def check_that_the_web_process_holds_no_other_roles_password(run):
    held = Path(f"/proc/{run.pid_of('web')}/environ").read_text()

    assert "portal_web:" in held
    assert "portal_worker:" not in held and "portal_owner:" not in held


def check_that_a_second_one_on_the_same_folder_is_refused(run):
    second = run.command(subprocess.run, capture_output=True, text=True, check=False)

    assert second.returncode == 78
    assert f"Tagih is running on {run.var} already" in second.stderr


def check_that_a_taken_port_is_told_with_its_variable(run, folder):
    environment = run.environment | {"VAR_DIR": str(folder / "other")}

    other = run.command(subprocess.run, environment=environment, capture_output=True, text=True, check=False)

    assert other.returncode == 1
    assert f"Port {run.port} is taken. Set PORT to a free one" in other.stdout


def check_that_a_killed_web_server_comes_back_and_it_is_said(run):
    killed = run.pid_of("web")

    os.kill(killed, signal.SIGKILL)

    assert processes.wait_until(lambda: run.pid_of("web") != killed, seconds=20)
    assert processes.wait_until(run.healthy, seconds=30)
    assert "web was ended by SIGKILL" in run.output.read_text()


def check_that_sigterm_stops_everything_within_ten_seconds(run):
    names = ("web", "worker", "sandbox", "services/postgres", "services/valkey", "services/mongo")
    pids = [run.pid_of(name) for name in names]
    began = time.monotonic()

    run.process.terminate()

    assert run.process.wait(timeout=30) == 0
    assert time.monotonic() - began < 10, run.output.read_text()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert not (run.var / "run.json").exists()


def test_make_run_serves_until_it_is_told_to_stop():
    """One story, because starting everything takes seconds."""
    var = Path(tempfile.mkdtemp(prefix="tagih-run-"))
    var.chmod(0o755)
    run = Run(var)
    try:
        run.wait_for("run.json")
        check_that_it_tells_programs_where_everything_is(run)
        check_that_the_web_process_holds_no_other_roles_password(run)
        check_that_a_second_one_on_the_same_folder_is_refused(run)
        check_that_a_taken_port_is_told_with_its_variable(run, var)
        check_that_a_killed_web_server_comes_back_and_it_is_said(run)
        check_that_sigterm_stops_everything_within_ten_seconds(run)
    finally:
        run.process.kill()
        run.process.wait()
        shutil.rmtree(var, ignore_errors=True)


def test_a_closed_terminal_breaks_off_the_start_and_leaves_nothing_running():
    var = Path(tempfile.mkdtemp(prefix="tagih-run-"))
    var.chmod(0o755)
    run = Run(var)
    try:
        run.wait_for("services/postgres.process.json")
        pids = [run.pid_of(f"services/{name}") for name in ("postgres", "valkey", "mongo")]

        run.process.send_signal(signal.SIGHUP)

        assert run.process.wait(timeout=30) == 0
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    finally:
        run.process.kill()
        run.process.wait()
        shutil.rmtree(var, ignore_errors=True)
