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

import pytest

from portal.embedded import processes
from tests.embedded.launching import ROOT

START_SECONDS = 90
# What contract programs read from var/run.json.
KEYS = {
    "url", "email", "password", "api_key", "checkout", "horizon", "network_passphrase", "database_url",
    "database_worker_url", "redis_url", "mongo_url",
}  # fmt: skip


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
            self.process = self.command(subprocess.Popen, stdout=output, stderr=subprocess.STDOUT)
        ready = processes.wait_until(
            lambda: (var / "run.json").exists() or self.process.poll() is not None, seconds=START_SECONDS
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


@pytest.fixture(scope="module")
def run():
    """One run for all tests here, which at the end must stop whole within ten seconds of SIGTERM."""
    var = Path(tempfile.mkdtemp(prefix="tagih-run-"))
    var.chmod(0o755)
    started = Run(var)
    yield started
    names = ("web", "worker", "sandbox", "services/postgres", "services/valkey", "services/mongo")
    pids = [started.pid_of(name) for name in names]
    began = time.monotonic()
    started.process.terminate()
    status = started.process.wait(timeout=30)
    seconds = time.monotonic() - began
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    told = (var / "run.json").exists()
    shutil.rmtree(var, ignore_errors=True)
    assert (status, left, told) == (0, [], False)
    assert seconds < 10


@pytest.mark.xdist_group("run")
class TestMakeRun:
    def test_tells_programs_where_everything_is(self, run):
        facts = json.loads((run.var / "run.json").read_text())

        assert facts.keys() == KEYS
        assert facts["url"] == f"http://127.0.0.1:{run.port}"
        assert run.healthy()
        for name in ("run.json", "env", "secrets.json"):
            assert stat.S_IMODE((run.var / name).stat().st_mode) == 0o600, name

    def test_the_web_process_holds_no_other_roles_password(self, run):
        held = Path(f"/proc/{run.pid_of('web')}/environ").read_text()

        assert "portal_web:" in held
        assert "portal_worker:" not in held and "portal_owner:" not in held

    def test_a_second_one_on_the_same_folder_is_refused(self, run):
        second = run.command(subprocess.run, capture_output=True, text=True, check=False)

        assert second.returncode == 78
        assert f"Tagih is running on {run.var} already" in second.stderr

    def test_a_taken_port_is_told_with_its_variable(self, run, tmp_path):
        environment = run.environment | {"VAR_DIR": str(tmp_path)}

        other = run.command(
            subprocess.run, environment=environment, capture_output=True, text=True, check=False
        )

        assert other.returncode == 1
        assert f"Port {run.port} is taken. Set PORT to a free one" in other.stdout

    def test_a_killed_web_server_comes_back_and_it_is_said(self, run):
        killed = run.pid_of("web")

        os.kill(killed, signal.SIGKILL)

        assert processes.wait_until(lambda: run.pid_of("web") != killed, seconds=20)
        assert processes.wait_until(run.healthy, seconds=30)
        assert "web was ended by SIGKILL" in run.output.read_text()
