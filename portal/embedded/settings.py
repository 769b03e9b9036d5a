"""What `make run` sets for its processes: variables that are given count, the rest is made and kept."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config import SANDBOX_PASSPHRASE, VARIABLES, gather_environment
from portal.embedded import processes
from portal.embedded.home import write_private
from portal.embedded.processes import StartRefused
from portal.embedded.services import Name

PORT = 8000
_DATABASE = ("DATABASE_URL", "DATABASE_WORKER_URL", "DATABASE_OWNER_URL")
# The web process faces the world, so it is started without the keys of the other roles.
_HIDDEN_FROM_WEB = {"DATABASE_WORKER_URL", "DATABASE_OWNER_URL", "DATABASE_BACKUP_URL"}
_HIDDEN_FROM_WORKER = {"DATABASE_OWNER_URL", "DATABASE_BACKUP_URL"}


@dataclass(frozen=True)
class Plan:
    """What the environment asks of this run."""

    var: Path
    given: dict[str, str]
    port: int
    sandbox_port: int | None
    service_ports: dict[Name, int]
    wanted: tuple[Name, ...]

    @property
    def base_url(self) -> str:
        return self.given.get("PUBLIC_BASE_URL", f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def local_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox_url(self) -> str | None:
        return None if self.sandbox_port is None else f"http://127.0.0.1:{self.sandbox_port}"


def make_plan(environ: Mapping[str, str]) -> Plan:
    """Read what to start and where.

    :raises StartRefused: if variables that belong together are not given together, or a port is no port.
    """
    # The file of the last run says what was started then, not what somebody wants now.
    given = gather_environment({**environ, "READ_ENV_FILE": "0"})
    missing = [name for name in _DATABASE if name not in given]
    if 0 < len(missing) < len(_DATABASE):
        raise StartRefused(
            f"{', '.join(missing)} must be set too: a PostgreSQL of your own needs the DSN of each role "
            f"({', '.join(_DATABASE)})."
        )
    if "HORIZON_URL" in given and "STELLAR_NETWORK_PASSPHRASE" not in given:
        raise StartRefused(
            "STELLAR_NETWORK_PASSPHRASE must be set with HORIZON_URL: it says which network that is."
        )
    port = _port(given, "PORT", PORT)
    asked: dict[Name, str] = {
        "postgres": "EMBEDDED_POSTGRES_PORT", "valkey": "EMBEDDED_REDIS_PORT", "mongo": "EMBEDDED_MONGO_PORT",
    }  # fmt: skip
    wanted: dict[Name, bool] = {
        "postgres": bool(missing), "valkey": "REDIS_URL" not in given, "mongo": "MONGO_URL" not in given,
    }  # fmt: skip
    return Plan(
        var=Path(given.get("VAR_DIR", "var")).resolve(),
        given=given,
        port=port,
        sandbox_port=None if "HORIZON_URL" in given else _port(given, "SANDBOX_PORT", port + 1),
        service_ports={
            name: _port(given, variable, 0) for name, variable in asked.items() if variable in given
        },
        wanted=tuple(name for name, is_wanted in wanted.items() if is_wanted),
    )


def _port(given: Mapping[str, str], variable: str, default: int) -> int:
    text = given.get(variable, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise StartRefused(f"{variable} must be a port, 1 to 65535, not {text!r}.")
    return int(text)


def check_ports(plan: Plan) -> None:
    """Refuse a taken port before anything is started, saying which and what to set."""
    if not processes.port_is_free(plan.port):
        raise StartRefused(f"Port {plan.port} is taken. Set PORT to a free one, e.g. PORT=8080 make run.")
    if plan.sandbox_port is not None and not processes.port_is_free(plan.sandbox_port):
        raise StartRefused(
            f"Port {plan.sandbox_port}, for the sandbox network, is taken. Set SANDBOX_PORT to a free one, "
            "or HORIZON_URL and STELLAR_NETWORK_PASSPHRASE to use another network."
        )


def variables(plan: Plan, service_urls: Mapping[str, str]) -> dict[str, str]:
    """Return every variable of the portal: what is given, else what was started, else kept secrets."""
    made = {
        "APP_ENV": "development",
        "PUBLIC_BASE_URL": plan.base_url,
        "WEB_AUTH_DOMAIN": plan.base_url.partition("://")[2],
        **service_urls,
        **kept_secrets(plan.var / "secrets.json"),
    }
    if plan.sandbox_url is not None:
        made |= {"HORIZON_URL": plan.sandbox_url, "STELLAR_NETWORK_PASSPHRASE": SANDBOX_PASSPHRASE}
    names = {*VARIABLES, "DATABASE_BACKUP_URL"}
    return (
        made
        | {name: value for name, value in plan.given.items() if name in names}
        | {"VAR_DIR": str(plan.var)}
    )


def kept_secrets(path: Path) -> dict[str, str]:
    """Return the secrets of this VAR_DIR, made at the first run; losing them would lose what they encrypt."""
    if path.exists():
        kept: dict[str, str] = json.loads(path.read_text())
        return kept
    # Imported here: half a second that only the first run needs.
    from cryptography.fernet import Fernet
    from stellar_sdk import Keypair

    made = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "API_KEY_PEPPER": secrets.token_urlsafe(48),
        "FIELD_KEYS": Fernet.generate_key().decode(),
        "SIGNING_SEED": Keypair.random().secret,
    }
    write_private(path, json.dumps(made, indent=1))
    return made


def write_environment(path: Path, values: Mapping[str, str]) -> None:
    """Write `NAME=value` lines (0600), which commands in a second terminal read."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in sorted(values.items())))


def for_command(values: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command that may use every role."""
    system = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in values}
    return system | dict(values) | {"READ_ENV_FILE": "0", "PYTHONUNBUFFERED": "1"}


def for_web(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in for_command(values).items() if name not in _HIDDEN_FROM_WEB}


def for_worker(values: Mapping[str, str]) -> dict[str, str]:
    # wsgi.py builds the serving app before a command builds its own, so DATABASE_URL stays.
    return {name: value for name, value in for_command(values).items() if name not in _HIDDEN_FROM_WORKER}
