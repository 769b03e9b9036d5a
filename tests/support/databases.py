"""One database a worker, copied from a template that is migrated once, and the settings that name it."""

import fcntl
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from cryptography.fernet import Fernet
from stellar_sdk import Keypair

from config import SANDBOX_PASSPHRASE, Config
from portal.embedded import roles

ROOT = Path(__file__).parent.parent.parent
TEMPLATE = "portal_test_template"


@dataclass(frozen=True)
class Database:
    """One database and a DSN of each role; `web` and `worker` see it as the app does."""

    name: str
    owner: str
    web: str
    worker: str
    backup: str
    superuser: str


def _at(url: str, path: str, *, user: str = "", password: str = "") -> str:
    parts = urlsplit(url)
    netloc = f"{user}:{password}@{parts.netloc.rpartition('@')[2]}" if user else parts.netloc
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{path}"))


def _describe(services, name: str) -> Database:
    def dsn(role: str) -> str:
        return _at(services.superuser_dsn, name, user=role, password=services.passwords[role])

    return Database(
        name=name,
        owner=dsn("portal_owner"),
        web=dsn("portal_web"),
        worker=dsn("portal_worker"),
        backup=dsn("portal_backup"),
        superuser=_at(services.superuser_dsn, name),
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _superuser(services):
    return psycopg.connect(services.superuser_dsn, autocommit=True)


@pytest.fixture(scope="session")
def worker_index() -> int:
    """0 without xdist, else 1 for gw0 and so on: databases of different sessions' kinds never meet."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    return int(name.removeprefix("gw")) + 1 if name else 0


@pytest.fixture(scope="session")
def base_environment(services, worker_index, tmp_path_factory) -> dict[str, str]:
    """Every variable but the database's; a Redis database, a MongoDB database and secrets of its own."""
    return {
        "APP_ENV": "test",
        "REDIS_URL": _at(services.redis_url, str(worker_index)),
        "MONGO_URL": _at(services.mongo_url, f"tagih_test_{worker_index}"),
        # The discard port: whoever needs a network takes `sandbox_environment`.
        "HORIZON_URL": "http://127.0.0.1:9",
        "STELLAR_NETWORK_PASSPHRASE": SANDBOX_PASSPHRASE,
        "PUBLIC_BASE_URL": "http://localhost",
        "SECRET_KEY": secrets.token_urlsafe(32),
        "API_KEY_PEPPER": secrets.token_urlsafe(32),
        "FIELD_KEYS": Fernet.generate_key().decode(),
        "SIGNING_SEED": Keypair.random().secret,
        "WEB_AUTH_DOMAIN": "localhost",
        "VAR_DIR": str(tmp_path_factory.mktemp("var")),
    }


def _variables(base: dict[str, str], database: Database) -> dict[str, str]:
    return base | {
        "DATABASE_URL": database.web,
        "DATABASE_WORKER_URL": database.worker,
        "DATABASE_OWNER_URL": database.owner,
    }


@pytest.fixture(scope="session")
def template(services, shared_folder, base_environment) -> str:
    """The name of the migrated template; the first worker that comes migrates it as `portal_owner`."""
    with _locked(shared_folder / "template.lock"):
        ready, failed = shared_folder / "template.ready", shared_folder / "template.failed"
        if failed.exists():
            pytest.fail(f"the migrations failed; another worker said: {failed.read_text()[-2000:]}")
        if not ready.exists():
            database = _create(services, TEMPLATE, None)
            migrated = subprocess.run(
                [sys.executable, "-m", "portal.embedded.migrate"],
                cwd=ROOT,
                env={**_system(), **_variables(base_environment, database)},
                capture_output=True,
                text=True,
                check=False,
            )
            if migrated.returncode != 0:
                failed.write_text(migrated.stdout + migrated.stderr)
                pytest.fail(f"the migrations failed: {failed.read_text()[-4000:]}")
            ready.touch()
    return TEMPLATE


def _system() -> dict[str, str]:
    """What a child needs of our own environment; variables of the portal must not leak into it."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


def _create(services, name: str, template: str | None) -> Database:
    with _superuser(services) as connection:
        if "DATABASE_SUPERUSER_URL" in os.environ:
            roles.ensure_roles(connection, services.passwords)
        roles.drop_database(connection, name)
        roles.ensure_database(connection, name, template=template or "template1")
    database = _describe(services, name)
    if template is None:
        with psycopg.connect(database.superuser, autocommit=True) as connection:
            roles.lay_floor(connection)
    return database


@pytest.fixture(scope="session")
def new_database(services, shared_folder, request, worker_index):
    """Return a function that makes another database: `new_database()` migrated, `new_database(empty=True)`."""
    made: list[str] = []

    def make(*, empty: bool = False) -> Database:
        source = None if empty else request.getfixturevalue("template")
        name = f"portal_test_{worker_index}_{len(made)}"
        made.append(name)
        # PostgreSQL copies a template only while nobody else is connected to it.
        with _locked(shared_folder / "template.lock"):
            return _create(services, name, source)

    yield make
    with _superuser(services) as connection:
        for name in made:
            roles.drop_database(connection, name)


@pytest.fixture(scope="session")
def database(new_database) -> Database:
    """This worker's database, migrated."""
    return new_database()


@pytest.fixture(scope="session")
def environment(base_environment, database) -> dict[str, str]:
    """Variables for `Config.checked(role, environ)`; make a changed copy with `environment | {...}`."""
    return _variables(base_environment, database)


@pytest.fixture(scope="session")
def process_environment(environment) -> dict[str, str]:
    """`environment` with the little a child process needs of the system's."""
    return _system() | environment


@pytest.fixture(scope="session")
def config_web(environment) -> Config:
    return Config.checked("web", environment)


@pytest.fixture(scope="session")
def config_worker(environment) -> Config:
    return Config.checked("worker", environment)


@pytest.fixture(scope="session")
def config_owner(environment) -> Config:
    return Config.checked("owner", environment)
