"""Servers of the benchmark's own: embedded services with throwaway data, sandbox, merchants, web servers."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
from cryptography.fernet import Fernet
from stellar_sdk import Keypair

from bench import load
from config import SANDBOX_PASSPHRASE, Config
from portal.app import create_app
from portal.embedded import processes
from portal.embedded.services import Services
from portal.flows.seed_merchant import SeededMerchant, seed_merchant
from portal.kernel.clock import utc_now

ROOT = Path(__file__).parents[1]
START_SECONDS = 60
# One merchant a connection, so that nobody waits for another's counter on either side.
CONNECTIONS = 8
MEMORY_FREE_BYTES = 2_000_000_000


@dataclass
class WebServer:
    port: int
    process: subprocess.Popen[bytes]

    def worker_pids(self) -> list[int]:
        """The processes that answer requests: Granian's children with the app in them."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in task.read_text().split() if _resident_kib(int(pid)) > 30_000]

    def resident_mib(self) -> float:
        """Memory of the largest worker, in MiB."""
        return max(_resident_kib(pid) for pid in self.worker_pids()) / 1024


@dataclass
class Stack:
    """Use as a context manager, `Stack(make_folder())`; everything ends and is deleted with it."""

    folder: Path
    merchants: list[SeededMerchant] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.services = Services(self.folder / "services", durable=False)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        self.services.start()
        sandbox_port = processes.free_port()
        self.environment = variables_for(self.services.urls(), self.folder, sandbox_port)
        sandbox = [
            sys.executable,
            "-m",
            "portal.embedded.sandbox",
            self.folder / "sandbox.sqlite",
            str(sandbox_port),
        ]
        self._spawn("sandbox", [*sandbox, SANDBOX_PASSPHRASE])
        subprocess.run(
            [sys.executable, "-m", "portal.embedded.migrate"],
            cwd=ROOT,
            env=self.child_environment(),
            check=True,
        )
        if not processes.wait_until(lambda: processes.port_answers(sandbox_port), seconds=START_SECONDS):
            raise load.LoadRefused("the sandbox did not start")
        self.worker_app = create_app(Config.checked("worker", self.environment))
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            self.merchants = list(pool.map(self._seed, range(CONNECTIONS)))
        self.note_watcher()

    def _seed(self, number: int) -> SeededMerchant:
        with self.worker_app.app_context():
            return seed_merchant(
                email=f"bench-{number}@example.com",
                password=secrets.token_urlsafe(12),
                business_name=f"Kopi {number}",
                now=utc_now(),
            )

    def note_watcher(self) -> None:
        """Say that the watcher was here just now, as it is on a portal in order; no worker runs beside a measure."""
        with self.superuser() as connection:
            connection.execute(
                "INSERT INTO watch_cursors (network, scope, cursor, checked_at) "
                "SELECT network, address, '0', now() FROM wallets UNION SELECT 'test', 'network', '0', now() "
                "ON CONFLICT (network, scope) DO UPDATE SET checked_at = now()"
            )

    def superuser(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.services.superuser_dsn("portal"), autocommit=True)

    def serve(self, target: str, *, workers: int, threads: int, **more: str) -> WebServer:
        """Start Granian on a WSGI app the way `make run` does, and wait until it listens."""
        port = processes.free_port()
        words = [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--host", "127.0.0.1",
            "--port", str(port), "--workers", str(workers), "--blocking-threads", str(threads),
            "--workers-kill-timeout", "3s", "--no-ws", "--log-level", "warning", target,
        ]  # fmt: skip
        process = self._spawn(target.partition(":")[0], words, **more)
        if not processes.wait_until(lambda: processes.port_answers(port), seconds=START_SECONDS):
            raise load.LoadRefused(f"{target} did not start; see {self.folder}")
        return WebServer(port, process)

    def api(self, server: WebServer, merchant: SeededMerchant, body: dict[str, Any]) -> dict[str, Any]:
        """Create an invoice and return its JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/api/v1/invoices",
            data=json.dumps(body).encode(),
            headers=api_headers(merchant) | {"Idempotency-Key": secrets.token_hex(12)},
        )
        with urllib.request.urlopen(request, timeout=load.TIMEOUT_SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def end(self, server: WebServer) -> None:
        processes.stop_all({server.process.pid: signal.SIGTERM}, seconds=5)

    def child_environment(self) -> dict[str, str]:
        system = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return system | self.environment

    def _spawn(self, name: str, words: list[str | Path], **more: str) -> subprocess.Popen[bytes]:
        environment = self.child_environment() | more
        process = processes.spawn(
            words, log=self.folder / f"{name}.log", environment=environment, folder=ROOT
        )
        self._children.append(process)
        return process

    def _stop(self) -> None:
        running = {child.pid: signal.SIGTERM for child in self._children if child.poll() is None}
        processes.stop_all(running, seconds=5)
        self.services.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def api_headers(merchant: SeededMerchant) -> dict[str, str]:
    return {"Authorization": f"Bearer {merchant.api_key}", "Content-Type": "application/json"}


def variables_for(urls: dict[str, str], folder: Path, sandbox_port: int) -> dict[str, str]:
    return urls | {
        "APP_ENV": "test",
        "READ_ENV_FILE": "0",
        "HORIZON_URL": f"http://127.0.0.1:{sandbox_port}",
        "STELLAR_NETWORK_PASSPHRASE": SANDBOX_PASSPHRASE,
        "PUBLIC_BASE_URL": "http://127.0.0.1",
        "SECRET_KEY": secrets.token_urlsafe(32),
        "API_KEY_PEPPER": secrets.token_urlsafe(32),
        "FIELD_KEYS": Fernet.generate_key().decode(),
        "SIGNING_SEED": Keypair.random().secret,
        "WEB_AUTH_DOMAIN": "127.0.0.1",
        "VAR_DIR": str(folder),
    }


def make_folder() -> Path:
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_FREE_BYTES
    folder = Path(tempfile.mkdtemp(prefix="tagih-bench-", dir=memory if roomy else None))
    # The servers' own account must pass through to its data when root runs this.
    folder.chmod(0o711)
    return folder


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
