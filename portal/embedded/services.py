"""Real PostgreSQL, Valkey and MongoDB from pinned wheels, as one thing to start and stop."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from portal.embedded import processes, roles
from portal.embedded.home import Home
from portal.embedded.mongod import Mongod
from portal.embedded.postgres import SUPERUSER, Postgres
from portal.embedded.processes import StartRefused
from portal.embedded.server import STOP_SECONDS, Server
from portal.embedded.valkey import Valkey

Name = Literal["postgres", "valkey", "mongo"]
ALL: tuple[Name, ...] = ("postgres", "valkey", "mongo")


class Services:
    """The embedded servers that were asked for, in one home.

    `durable` data survives a crash of the machine; throwaway data is faster and does not. `start()` must
    be called from a thread that lives as long as the servers shall: they end when it does.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool,
        wanted: Iterable[Name] = ALL,
        ports: Mapping[Name, int] | None = None,
    ) -> None:
        self.home = Home.open(directory)
        asked = dict(ports or {})
        self.postgres = Postgres(self.home, durable=durable, port=asked.get("postgres"))
        self.valkey = Valkey(self.home, durable=durable, port=asked.get("valkey"))
        self.mongod = Mongod(self.home, durable=durable, port=asked.get("mongo"))
        every: dict[Name, Server] = {"mongo": self.mongod, "valkey": self.valkey, "postgres": self.postgres}
        chosen = set(wanted)
        # mongod takes longest to come up, so it is spawned first.
        self.servers = [server for name, server in every.items() if name in chosen]

    def start(self) -> None:
        """Start all; they boot side by side. If one cannot, the others are stopped again.

        :raises StartRefused: in a sentence that says which, why and what to set instead.
        """
        try:
            for server in self.servers:
                server.spawn()
            for server in self.servers:
                server.finish()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all at once and wait; what does not end in STOP_SECONDS is killed and recovers next time."""
        running = {
            server.process.pid: server.stop_signal
            for server in self.servers
            if server.process is not None and server.process.poll() is None
        }
        processes.stop_all(running, seconds=STOP_SECONDS)
        for server in self.servers:
            if server.process is not None:
                server.process.wait()
            server.process = None

    def urls(self) -> dict[str, str]:
        """Return the variables that name the servers started here."""
        urls: dict[str, str] = {}
        if self.postgres in self.servers:
            urls["DATABASE_URL"] = self.postgres.dsn("portal_web", roles.DATABASE)
            urls["DATABASE_WORKER_URL"] = self.postgres.dsn("portal_worker", roles.DATABASE)
            urls["DATABASE_OWNER_URL"] = self.postgres.dsn(roles.OWNER, roles.DATABASE)
            urls["DATABASE_BACKUP_URL"] = self.postgres.dsn("portal_backup", roles.DATABASE)
        if self.valkey in self.servers:
            urls["REDIS_URL"] = self.valkey.url
        if self.mongod in self.servers:
            urls["MONGO_URL"] = self.mongod.url
        return urls

    def superuser_dsn(self, database: str) -> str:
        return self.postgres.dsn(SUPERUSER, database)


def main(arguments: list[str] | None = None) -> int:
    """Run the servers alone until Ctrl-C or SIGTERM; prints their URLs as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m portal.embedded.services", description=main.__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--throwaway", action="store_true", help="fast settings that do not survive a crash")
    parser.add_argument("--only", action="append", choices=ALL)
    chosen = parser.parse_args(arguments)
    asked_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_stop.set())
    try:
        services = Services(chosen.directory, durable=not chosen.throwaway, wanted=chosen.only or ALL)
        services.start()
    except StartRefused as refusal:
        print(refusal.detail, file=sys.stderr)
        return 1
    print(json.dumps(services.urls() | {"SUPERUSER_URL": services.postgres.superuser_dsn}), flush=True)
    asked_to_stop.wait()
    services.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
