"""From `make run` to the printed link: with an empty VAR_DIR, with a filled one, and from a clean clone."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from bench.load import LoadRefused
from bench.measure import Result
from bench.stack import ROOT
from portal.embedded import processes

PRINTED = "Tagih is running"
WAIT_SECONDS = 600
# How long somebody at a terminal waits without wondering whether it hangs: a set-up says what it does meanwhile.
CLONE_SECONDS, COLD_SECONDS, WARM_SECONDS = 120, 20, 10


def measure_start(*, clone: bool) -> list[Result]:
    results = []
    folder = Path(tempfile.mkdtemp(prefix="tagih-start-"))
    folder.chmod(0o711)
    try:
        if clone:
            subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "clone")], check=True)
            seconds = _seconds_to_link(folder / "clone", folder / "var-clone")
            results.append(_result("S0", "clean clone", CLONE_SECONDS, seconds, "installs too"))
        cold = _seconds_to_link(ROOT, folder / "var")
        warm = _seconds_to_link(ROOT, folder / "var")
        results.append(_result("S1", "no data yet", COLD_SECONDS, cold, "initdb, migrations, demo"))
        results.append(_result("S2", "again", WARM_SECONDS, warm, "same data"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results


def _result(code: str, when: str, goal: float, seconds: float, detail: str) -> Result:
    return Result(code, f"make run to the link, {when}", goal, seconds, "s", "at most", detail)


def _seconds_to_link(checkout: Path, var: Path) -> float:
    system = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ports = {"PORT": str(processes.free_port()), "SANDBOX_PORT": str(processes.free_port())}
    began = time.perf_counter()
    running = subprocess.Popen(
        ["make", "-s", "run"], cwd=checkout, env=system | ports | {"VAR_DIR": str(var)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    said: list[str] = []
    try:
        assert running.stdout is not None
        for line in running.stdout:
            said.append(line)
            if PRINTED in line:
                return time.perf_counter() - began
            if time.perf_counter() - began > WAIT_SECONDS:
                break
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.communicate(timeout=60)
    raise LoadRefused(f"`make run` printed no link: {''.join(said)[-500:]}")
