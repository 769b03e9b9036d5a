"""`make run`: start everything on loopback, print where it is, look after it until Ctrl-C or SIGTERM."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import IO

from config import EX_CONFIG, SANDBOX_PASSPHRASE, Config
from portal.embedded import demo, processes, settings
from portal.embedded.home import write_private
from portal.embedded.processes import StartRefused
from portal.embedded.services import Services
from portal.embedded.settings import Plan
from portal.embedded.supervisor import Child, EmbeddedChild, Supervisor

WEB_START_SECONDS = 60
LOOK_SECONDS = 0.2
# Two processes use two cores; requests wait mostly for PostgreSQL, so each runs a few at a time.
WEB_WORKERS, WEB_THREADS = "2", "8"


class Interrupted(BaseException):
    """Somebody asked to stop while things were still starting."""


class Launcher:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.asked_to_stop = threading.Event()
        self.starting = True
        self.supervisor = Supervisor(say)
        self.services: Services | None = None
        self.values: dict[str, str] = {}

    def handle_signal(self, *_: object) -> None:
        """Wake the main loop, or break off the start; a second signal changes nothing."""
        first = not self.asked_to_stop.is_set()
        self.asked_to_stop.set()
        if self.starting and first:
            raise Interrupted

    def run(self) -> int:
        """Start, look after and stop everything; return the exit status."""
        status = 0
        try:
            self.start()
            self.starting = False
            while not self.asked_to_stop.wait(LOOK_SECONDS):
                self.supervisor.look()
        except StartRefused as refusal:
            say(refusal.detail)
            status = 1
        except Interrupted:
            self.starting = False
        finally:
            self.starting = False
            self.stop()
        return status

    def stop(self) -> None:
        if self.services is not None:
            say("Stopping.")
        (self.plan.var / "run.json").unlink(missing_ok=True)
        self.supervisor.stop_children()
        if self.services is not None:
            self.services.stop()

    def start(self) -> None:
        plan = self.plan
        (plan.var / "run.json").unlink(missing_ok=True)
        children = self._children_without_settings()
        for child in children:
            child.stop_orphan()
        settings.check_ports(plan)
        self.services = Services(
            plan.var / "services", durable=True, wanted=plan.wanted, ports=plan.service_ports
        )
        if self.services.home.path != plan.var / "services":
            say(
                f"The data of the embedded servers is in {self.services.home.path}: their account cannot enter {plan.var}."
            )
        self.services.start()
        for server in self.services.servers:
            self.supervisor.add(EmbeddedChild(server))
        self.values = settings.variables(plan, self.services.urls())
        settings.write_environment(plan.var / "env", self.values)
        self._check_settings()
        self._migrate()
        for child in children:
            child.environment = {
                "web": settings.for_web, "worker": settings.for_worker, "sandbox": settings.for_web,
            }[child.name](self.values)  # fmt: skip
            child.start()
            self.supervisor.add(child)
        self._announce(self._demo(children))

    def _children_without_settings(self) -> list[Child]:
        plan, python = self.plan, sys.executable
        web = [
            python, "-m", "granian", "--interface", "wsgi", "--http", "1", "--host", "127.0.0.1",
            "--port", str(plan.port), "--workers", os.environ.get("WEB_WORKERS", WEB_WORKERS),
            "--blocking-threads", os.environ.get("WEB_THREADS", WEB_THREADS), "--workers-kill-timeout", "3s",
            "--respawn-failed-workers", "--no-ws", "--log-level", "warning", "wsgi:app",
        ]  # fmt: skip
        children = [
            Child("web", [*web], {}, plan.var, plan.port),
            Child("worker", [python, "-m", "flask", "--app", "wsgi", "worker"], {}, plan.var),
        ]
        if plan.sandbox_port is not None:
            sandbox: list[str | Path] = [
                python, "-m", "portal.embedded.sandbox", plan.var / "sandbox.sqlite", str(plan.sandbox_port),
                SANDBOX_PASSPHRASE,
            ]  # fmt: skip
            # First, because the worker and the demo merchant need it.
            children.insert(0, Child("sandbox", [*sandbox], {}, plan.var, plan.sandbox_port))
        return children

    def _check_settings(self) -> None:
        """Name every wrong setting before the children die of it one by one."""
        for role in ("web", "worker", "owner"):
            Config.from_env(role, {**self.values, "READ_ENV_FILE": "0"})

    def _migrate(self) -> None:
        migrated = subprocess.run(
            [sys.executable, "-m", "portal.embedded.migrate"],
            cwd=Path(__file__).parents[2],
            env=settings.for_command(self.values),
            capture_output=True,
            text=True,
            check=False,
        )
        if migrated.returncode != 0:
            lines = migrated.stderr.strip().splitlines()[-3:]
            raise StartRefused(f"The database could not be migrated: {' '.join(lines)}")

    def _demo(self, children: list[Child]) -> dict[str, str]:
        """Wait until the web server answers; make or find the demo merchant meanwhile."""
        plan = self.plan
        found: dict[str, str] = {}
        if plan.sandbox_port is not None:
            self._wait_for(children, plan.sandbox_port, "")
            own = "embedded" if "postgres" in plan.wanted else plan.given["DATABASE_URL"].rpartition("@")[2]
            try:
                found = demo.demo_merchant(
                    plan.var / "demo.json", settings.for_command(self.values), store=own
                )
            except demo.DemoRefused as refusal:
                say(f"There is no demo merchant: {refusal.detail}")
        self._wait_for(children, plan.port, "/healthz")
        if found:
            try:
                found["checkout"] = demo.payable_checkout(
                    found, base_url=plan.base_url, local_url=plan.local_url
                )
            except demo.DemoRefused as refusal:
                say(f"There is no checkout to pay: {refusal.detail}")
        return found

    def _wait_for(self, children: list[Child], port: int, path: str) -> None:
        child = next(child for child in children if child.port == port)

        def answers() -> bool:
            if not child.is_alive():
                raise StartRefused(f"{child.describe_death()} ({processes.quote_log(child.log)})")
            if not path:
                return processes.port_answers(port)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        if not processes.wait_until(answers, seconds=WEB_START_SECONDS):
            raise StartRefused(f"{child.name} did not answer within {WEB_START_SECONDS} s; see {child.log}.")

    def _announce(self, found: dict[str, str]) -> None:
        plan, values = self.plan, self.values
        facts = {
            "url": plan.base_url,
            "email": found.get("email"),
            "password": found.get("password"),
            "api_key": found.get("api_key"),
            "checkout": found.get("checkout"),
            "horizon": values["HORIZON_URL"],
            "network_passphrase": values["STELLAR_NETWORK_PASSPHRASE"],
            "database_url": values["DATABASE_URL"],
            "database_worker_url": values["DATABASE_WORKER_URL"],
            "redis_url": values["REDIS_URL"],
            "mongo_url": values["MONGO_URL"],
        }
        write_private(plan.var / "run.json", json.dumps(facts, indent=1) + "\n")
        lines = [f"\nTagih is running: {plan.base_url}\n"]
        if found:
            lines += [
                f"  sign in   {plan.base_url}/login  with  {found['email']}  and  {found['password']}",
                f"  API key   {found['api_key']}",
                f"  pay this  {found['checkout']}",
            ]
        else:
            lines += [f"  sign up   {plan.base_url}/signup"]
        if plan.sandbox_url is not None:
            lines += [f"  wallet    {plan.sandbox_url}/wallet  (a funded account of the sandbox network)"]
        if not values.get("SMTP_URL"):
            lines += [f"  mail      {plan.base_url}/dev/mail"]
        lines += [f"\nLogs are in {plan.var / 'log'}. Ctrl-C stops everything."]
        print("\n".join(lines), flush=True)


def say(text: str) -> None:
    try:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
    except OSError:
        # The terminal was closed; that must not keep the launcher from stopping what it started.
        return


def hold(var: Path) -> IO[str]:
    """Take the lock of this VAR_DIR; the kernel lets go of it however the launcher ends.

    :raises StartRefused: if another launcher holds it.
    """
    var.mkdir(parents=True, exist_ok=True)
    lock = open(var / "run.lock", "a+")  # noqa: SIM115  held as long as the launcher lives
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        lock.seek(0)
        raise StartRefused(
            f"Tagih is running on {var} already (process {lock.read().strip()}). "
            "Stop it first, or set VAR_DIR and PORT to run another one."
        ) from held
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def main() -> int:
    try:
        plan = settings.make_plan(os.environ)
        lock = hold(plan.var)
    except (StartRefused, OSError) as refusal:
        print(refusal, file=sys.stderr)
        return EX_CONFIG
    with lock:
        launcher = Launcher(plan)
        signal.signal(signal.SIGINT, launcher.handle_signal)
        signal.signal(signal.SIGTERM, launcher.handle_signal)
        # A closed terminal stops it too, unless it was started with nohup.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, launcher.handle_signal)
        return launcher.run()


if __name__ == "__main__":
    raise SystemExit(main())
