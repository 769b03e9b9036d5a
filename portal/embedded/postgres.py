"""The embedded PostgreSQL."""

import signal
import subprocess
from pathlib import Path
from typing import ClassVar

import psycopg

from portal.embedded import processes, roles
from portal.embedded.home import package_folder, reachable_copy
from portal.embedded.server import START_SECONDS, Server

SUPERUSER = "portal_superuser"
# 4 processes with pools, commands and the tests' own connections at the same time.
CONNECTIONS_MAX = 200
# Backends of a postmaster that was killed need a moment to notice and let go of the shared memory.
MEMORY_RELEASE_SECONDS = 10


class Postgres(Server):
    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    instead: ClassVar[str] = "DATABASE_URL, DATABASE_WORKER_URL and DATABASE_OWNER_URL"
    port_variable: ClassVar[str] = "EMBEDDED_POSTGRES_PORT"
    # "Fast shutdown": roll back what is open and end; SIGTERM would wait for every client to leave.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    @property
    def passwords(self) -> dict[str, str]:
        """The password of each role of the app, by its name."""
        return {name: self.home.secret(name) for name in roles.ROLES}

    def dsn(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{self.home.secret(role)}@127.0.0.1:{self.port}/{database}"

    @property
    def superuser_dsn(self) -> str:
        return self.dsn(SUPERUSER, "postgres")

    def _programs(self) -> Path:
        package = package_folder("embedded_postgres")
        libraries = package.parent / "embedded_postgres.libs"
        return reachable_copy(package, libraries if libraries.is_dir() else None) / "pginstall" / "bin"

    def prepare(self) -> None:
        if not (self.data / "PG_VERSION").exists() or self._is_half_made():
            self._initialise()
        self._forget_stranger()

    def _is_half_made(self) -> bool:
        # Written by initdb's caller last: without it the launcher was killed while initdb ran.
        return not (self.data / "TAGIH_COMPLETE").exists()

    def _initialise(self) -> None:
        for left_over in sorted(self.data.rglob("*"), key=lambda path: len(path.parts), reverse=True):
            left_over.rmdir() if left_over.is_dir() and not left_over.is_symlink() else left_over.unlink()
        password_file = self.home.private_file("postgres.init", self.home.secret(SUPERUSER))
        try:
            self._run_initdb(password_file)
        finally:
            password_file.unlink(missing_ok=True)
        complete = self.data / "TAGIH_COMPLETE"
        complete.touch(mode=0o600)
        self.home.account.give(complete)

    def _run_initdb(self, password_file: Path) -> None:
        account = self.home.account
        made = subprocess.run(
            [
                self._programs() / "initdb", "-D", self.data, "-U", SUPERUSER, "-A", "scram-sha-256",
                f"--pwfile={password_file}", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions",
                *([] if self.durable else ["--no-sync"]),
            ],
            env=self.environment(), cwd="/", capture_output=True, text=True, check=False,
            user=account.uid, group=account.gid, extra_groups=[] if account.uid is not None else None,
        )  # fmt: skip
        if made.returncode != 0:
            raise self.refuse(
                f"initdb failed ({' '.join(made.stderr.split())[-processes.LOG_QUOTE_CHARACTERS :]})."
            )

    def _forget_stranger(self) -> None:
        """Remove a lock file whose pid now belongs to some other program; the server would take it for a twin."""
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        first = lock.read_text().partition("\n")[0]
        if not first.isdigit() or str(self.data) not in processes.command_line(int(first)):
            lock.unlink()
            return
        processes.stop_all({int(first): self.stop_signal}, seconds=10)
        lock.unlink(missing_ok=True)

    def command(self) -> list[str | Path]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": str(CONNECTIONS_MAX),
            "timezone": "UTC",
            "log_timezone": "UTC",
            # Failed statements are answered to their client; passwords and personal fields stay out of logs.
            "log_min_error_statement": "panic",
        }
        if not self.durable:
            settings |= {
                "fsync": "off",
                "full_page_writes": "off",
                "synchronous_commit": "off",
                "autovacuum": "off",
            }
        words: list[str | Path] = [self._programs() / "postgres", "-D", self.data, "-p", str(self.port)]
        for name, value in settings.items():
            words += ["-c", f"{name}={value}"]
        return words

    def finish(self) -> None:
        self._wait_for_memory()
        self.wait_for_port()
        if not processes.wait_until(self._accepts, seconds=START_SECONDS):
            raise self.refuse(f"it was still recovering after {START_SECONDS} s; see {self.log}.")
        try:
            self._create_roles()
        except psycopg.Error as failure:
            raise self.refuse(f"its set-up failed ({' '.join(str(failure).split())}).") from failure

    def _wait_for_memory(self) -> None:
        """Try again for a while if the backends of a killed postmaster still hold its memory."""

        def got_past_it() -> bool:
            assert self.process is not None
            if self.process.poll() is None:
                return processes.port_answers(self.port)
            if "pre-existing shared memory block" not in processes.quote_log(self.log):
                return True
            self.launch()
            return False

        processes.wait_until(got_past_it, seconds=MEMORY_RELEASE_SECONDS)

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.superuser_dsn, connect_timeout=5).close()
        except psycopg.OperationalError as failure:
            # "the database system is starting up" has SQLSTATE 57P03, which libpq does not hand on here.
            if "starting up" in str(failure) or "not yet accepting" in str(failure):
                return False
            raise self.refuse(f"it refuses the connection ({' '.join(str(failure).split())}).") from failure
        return True

    def _create_roles(self) -> None:
        with psycopg.connect(self.superuser_dsn, autocommit=True) as connection:
            roles.ensure_roles(connection, self.passwords)
            roles.ensure_database(connection, roles.DATABASE)
        with psycopg.connect(self.dsn(SUPERUSER, roles.DATABASE), autocommit=True) as connection:
            roles.lay_floor(connection)
