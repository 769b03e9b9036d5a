"""A whole portal as processes of its own: web server, worker, and the bundled network beside them."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

from portal.embedded import processes

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
STOP_SECONDS = 5


@dataclass
class Portal:
    """A running portal; `environment` holds the variables of its processes."""

    url: str
    environment: dict[str, str]
    worker_pid: int = 0

    @property
    def horizon(self) -> str:
        return self.environment["HORIZON_URL"]

    def code_mailed_to(self, address: str) -> str:
        """Return the code of the newest mail to `address`."""
        folder = Path(self.environment["VAR_DIR"]) / "mail"
        found: list[str] = []

        def has_come() -> bool:
            for path in sorted(folder.glob("*.eml")):
                mail = message_from_bytes(path.read_bytes(), policy=policy.default)
                if mail["To"] == address:
                    found.append(str(mail["Subject"]).split()[0])
            return bool(found)

        assert processes.wait_until(has_come, seconds=10), f"no mail to {address}"
        return found[-1]

    @contextmanager
    def worker_stopped(self) -> Iterator[None]:
        """Hold the worker still, so that only what a visitor does can find a payment."""
        os.kill(self.worker_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.worker_pid, signal.SIGCONT)


@contextmanager
def run_portal(environment: Mapping[str, str], logs: Path) -> Iterator[Portal]:
    """Start web server and worker with these variables and stop them at the end."""
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {**environment, "PUBLIC_BASE_URL": url, "OUTBOX_POLL_MS": "250", "READ_ENV_FILE": "0"}
    web = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--host", "127.0.0.1", "--port",
        str(port), "--workers", "1", "--blocking-threads", "8", "--workers-kill-timeout", "1s", "--no-ws",
        "--log-level", "warning", "wsgi:app",
    ]  # fmt: skip
    worker = [sys.executable, "-m", "flask", "--app", "wsgi", "worker"]
    commands = {"web": web, "worker": worker}
    running = {
        name: processes.spawn(command, log=logs / f"{name}.log", environment=variables, folder=ROOT)
        for name, command in commands.items()
    }
    try:
        assert processes.wait_until(lambda: processes.port_answers(port), seconds=START_SECONDS), (
            logs / "web.log"
        ).read_text()
        yield Portal(url, variables, running["worker"].pid)
    finally:
        alive = {process.pid: signal.SIGTERM for process in running.values() if process.poll() is None}
        processes.stop_all(alive, seconds=STOP_SECONDS)
