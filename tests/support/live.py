"""The portal as it runs for people: web processes, and workers to be killed, over the test's own servers."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
STOP_SECONDS = 15


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class LivePortal:
    """Running web processes; `environment` is what a command or a worker beside them needs."""

    url: str
    environment: dict[str, str]
    log: Path
    web: subprocess.Popen | None = None
    others: list[subprocess.Popen] = field(default_factory=list)

    def start_web(self, *, processes: int = 1) -> None:
        port = self.url.rpartition(":")[2]
        environment = {
            k: v
            for k, v in self.environment.items()
            if k not in {"DATABASE_WORKER_URL", "DATABASE_OWNER_URL"}
        }
        command = [
            "-m", "granian", "--interface", "wsgi", "--http", "1", "--host", "127.0.0.1", "--port", port,
            "--workers", str(processes), "--blocking-threads", "8", "--workers-kill-timeout", "10s", "wsgi:app",
        ]  # fmt: skip
        self.web = self._spawn(command, environment)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(requests.RequestException):
                if requests.get(f"{self.url}/healthz", timeout=1).ok:
                    return
            if time.monotonic() > deadline or self.web.poll() is not None:
                pytest.fail(f"the web server did not start: {self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def start_worker(self, *only: str) -> subprocess.Popen:
        command = ["-m", "flask", "--app", "wsgi", "worker"]
        if only:
            command += ["--only", ",".join(only)]
        worker = self._spawn(command, self.environment)
        self.others.append(worker)
        return worker

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """Run a `flask --app wsgi` command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", *command],
            cwd=ROOT, env=_whole(self.environment), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def stop(self) -> None:
        for process in [self.web, *self.others]:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in [self.web, *self.others]:
            if process is not None:
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def _spawn(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=_whole(environment), stdout=log,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip


def _whole(environment: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **environment}


@pytest.fixture
def live_portal(sandbox_environment, tmp_path) -> Iterator[LivePortal]:
    """Two web processes over this worker's database and sandbox, with a worker to be started by the test."""
    url = f"http://127.0.0.1:{free_port()}"
    environment = {
        **sandbox_environment,
        "PUBLIC_BASE_URL": url,
        "VAR_DIR": str(tmp_path),
        "PORTAL_LOG_ID": secrets.token_hex(4),
    }
    portal = LivePortal(url, environment, tmp_path / "portal.log")
    portal.start_web(processes=2)
    yield portal
    portal.stop()
