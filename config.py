"""Settings of one process, read once from the environment and frozen.

A variable that names a service means: use it, start nothing. Outside production a value that is unset is
looked up in `$VAR_DIR/env`, which `make run` writes, so that commands work as printed in a second terminal.
"""

import os
import sys
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

Role = Literal["web", "worker", "owner"]
PUBLIC_PASSPHRASE = "Public Global Stellar Network ; September 2015"
SANDBOX_PASSPHRASE = "Tagih Sandbox Network ; 2026"
# sysexits.h EX_CONFIG: supervisors know it as "do not restart, somebody must mend the configuration".
EX_CONFIG = 78
_DSN_OF_ROLE = {"web": "DATABASE_URL", "worker": "DATABASE_WORKER_URL", "owner": "DATABASE_OWNER_URL"}
_SECRETS = (
    "DATABASE_URL", "DATABASE_WORKER_URL", "DATABASE_OWNER_URL", "DATABASE_REPLICA_URL", "REDIS_URL", "MONGO_URL",
    "SECRET_KEY", "API_KEY_PEPPER", "FIELD_KEYS", "SIGNING_SEED", "SMTP_URL",
)  # fmt: skip


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", case_sensitive=True)

    APP_ENV: Literal["development", "test", "production"] = "development"
    DATABASE_URL: str = ""
    DATABASE_WORKER_URL: str = ""
    DATABASE_OWNER_URL: str = ""
    DATABASE_REPLICA_URL: str = ""
    REDIS_URL: str
    MONGO_URL: str
    HORIZON_URL: str
    HORIZON_SECOND_URL: str = ""
    HORIZON_SECOND_ABOVE: str = Field(default="0", pattern=r"^[0-9]{1,12}(\.[0-9]{1,7})?$")
    HORIZON_REQUESTS_PER_SECOND: float = Field(default=100.0, ge=0.1, le=10_000)
    HORIZON_WEB_LOOKUPS: int = Field(default=4, ge=1, le=64)
    STELLAR_NETWORK_PASSPHRASE: str = Field(min_length=1)
    PUBLIC_BASE_URL: str
    TRUSTED_PROXIES: str = ""
    SECRET_KEY: str = Field(min_length=16)
    API_KEY_PEPPER: str = Field(min_length=16)
    FIELD_KEYS: str = Field(min_length=44)
    SIGNING_SEED: str = Field(pattern="^S[A-Z2-7]{55}$")
    WEB_AUTH_DOMAIN: str = Field(min_length=1)
    SMTP_URL: str = ""
    MAIL_FROM: str = "Tagih <no-reply@localhost>"
    EXPLORER_URL: str = ""
    WATCH_MODE: Literal["accounts", "network"] = "accounts"
    OUTBOX_POLL_MS: int = Field(default=250, ge=10, le=60_000)
    VAR_DIR: str = "var"

    @field_validator("PUBLIC_BASE_URL", "HORIZON_URL", "HORIZON_SECOND_URL")
    @classmethod
    def _is_http(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.field_name == "HORIZON_SECOND_URL":
            return value
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _has_two_sources(self) -> Self:
        if self.HORIZON_SECOND_URL and _place(self.HORIZON_SECOND_URL) == _place(self.HORIZON_URL):
            raise ValueError("HORIZON_SECOND_URL: must be another server than HORIZON_URL")
        return self

    @model_validator(mode="after")
    def _is_fit_for_production(self) -> Self:
        if self.APP_ENV != "production":
            return self
        if len(self.SECRET_KEY) < 32:
            raise ValueError("SECRET_KEY: production needs at least 32 characters")
        if not self.PUBLIC_BASE_URL.startswith("https://"):
            raise ValueError("PUBLIC_BASE_URL: production needs https://")
        if self.STELLAR_NETWORK_PASSPHRASE == SANDBOX_PASSPHRASE:
            raise ValueError("STELLAR_NETWORK_PASSPHRASE: production refuses the sandbox")
        if os.environ.get("FLASK_DEBUG", "0") not in {"", "0", "false"}:
            raise ValueError("FLASK_DEBUG: production refuses debug mode")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The environment was merged with files by hand in `gather_environment`, so only init values count.
        return (init_settings,)


# The names of all variables that a process of the portal reads.
VARIABLES = tuple(_Environment.model_fields)


@dataclass(frozen=True)
class Config:
    """Every setting, checked; field names are the variables' in lower case."""

    app_env: str
    role: Role
    database_url: str
    database_replica_url: str
    redis_url: str
    mongo_url: str
    horizon_url: str
    horizon_second_url: str
    horizon_second_above: Decimal
    horizon_requests_per_second: float
    horizon_web_lookups: int
    network_passphrase: str
    public_base_url: str
    trusted_proxies: tuple[str, ...]
    secret_key: str
    api_key_pepper: str
    field_keys: tuple[str, ...]
    signing_seed: str
    web_auth_domain: str
    smtp_url: str
    mail_from: str
    explorer_url: str
    watch_mode: Literal["accounts", "network"]
    outbox_poll_ms: int
    var_dir: Path

    @cached_property
    def network(self) -> str:
        """The network's name in rows and keys: `live` on the public network, else `test`."""
        return "live" if self.network_passphrase == PUBLIC_PASSPHRASE else "test"

    @property
    def is_production(self) -> bool:
        return self.app_env == "production"

    @property
    def is_sandbox(self) -> bool:
        return self.network_passphrase == SANDBOX_PASSPHRASE

    @classmethod
    def from_env(cls, role: Role = "web", environ: dict[str, str] | None = None) -> Self:
        """Read the environment; a missing or malformed value is named on stderr and ends the process (78)."""
        try:
            return cls.checked(role, gather_environment(dict(os.environ) if environ is None else environ))
        except (ValidationError, ValueError, OSError) as refusal:
            for line in _complaints(refusal):
                print(f"configuration: {line}", file=sys.stderr)
            raise SystemExit(EX_CONFIG) from refusal

    @classmethod
    def checked(cls, role: Role, environ: dict[str, str]) -> Self:
        """Return the settings or raise ValueError; each role needs its own DSN alone."""
        env = _Environment(**environ)  # type: ignore[arg-type]
        dsn = getattr(env, _DSN_OF_ROLE[role])
        if not dsn:
            raise ValueError(f"{_DSN_OF_ROLE[role]}: is not set")
        return cls(
            app_env=env.APP_ENV,
            role=role,
            database_url=dsn,
            database_replica_url=env.DATABASE_REPLICA_URL,
            redis_url=env.REDIS_URL,
            mongo_url=env.MONGO_URL,
            horizon_url=env.HORIZON_URL,
            horizon_second_url=env.HORIZON_SECOND_URL,
            horizon_second_above=Decimal(env.HORIZON_SECOND_ABOVE),
            horizon_requests_per_second=env.HORIZON_REQUESTS_PER_SECOND,
            horizon_web_lookups=env.HORIZON_WEB_LOOKUPS,
            network_passphrase=env.STELLAR_NETWORK_PASSPHRASE,
            public_base_url=env.PUBLIC_BASE_URL,
            trusted_proxies=_split(env.TRUSTED_PROXIES),
            secret_key=env.SECRET_KEY,
            api_key_pepper=env.API_KEY_PEPPER,
            field_keys=_split(env.FIELD_KEYS),
            signing_seed=env.SIGNING_SEED,
            web_auth_domain=env.WEB_AUTH_DOMAIN,
            smtp_url=env.SMTP_URL,
            mail_from=env.MAIL_FROM,
            explorer_url=env.EXPLORER_URL,
            watch_mode=env.WATCH_MODE,
            outbox_poll_ms=env.OUTBOX_POLL_MS,
            var_dir=Path(env.VAR_DIR).resolve(),
        )


def gather_environment(environ: dict[str, str]) -> dict[str, str]:
    """Return the variables after `X_FILE` secrets and, outside production, `$VAR_DIR/env` were read.

    `READ_ENV_FILE=0` leaves that file alone: `make run` sets it for its children, so that the web process
    does not hold the DSNs of the other roles.
    """
    merged = dict(environ)
    for name in _SECRETS:
        path = environ.get(f"{name}_FILE")
        if path and not environ.get(name):
            merged[name] = Path(path).read_text().strip()
    if merged.get("APP_ENV") != "production" and merged.get("READ_ENV_FILE") != "0":
        written = Path(merged.get("VAR_DIR") or "var") / "env"
        if written.is_file():
            for line in written.read_text().splitlines():
                name, separator, value = line.partition("=")
                if separator and name and not merged.get(name):
                    merged[name] = value
    return {name: value for name, value in merged.items() if value != ""}


def _place(url: str) -> tuple[str, int | None]:
    """Return the server that a URL names: the same host and port are the same opinion twice."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _complaints(refusal: Exception) -> list[str]:
    if isinstance(refusal, ValidationError):
        lines = []
        for problem in refusal.errors():
            name = ".".join(str(part) for part in problem["loc"])
            message = "is not set" if problem["type"] == "missing" else problem["msg"]
            lines.append(f"{name}: {message}" if name else message.removeprefix("Value error, "))
        return lines
    return [str(refusal)]
