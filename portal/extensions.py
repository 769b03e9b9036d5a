"""Unbound extension objects; `portal.app.create_app` binds them, everything above may import them."""

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import MetaData, Text
from sqlalchemy.orm import DeclarativeBase

if TYPE_CHECKING:
    from pymongo import MongoClient

# Redis only speeds things up: a page must not wait for it longer than a slow query takes.
REDIS_TIMEOUT_SECONDS = 0.25
MONGO_TIMEOUT_MS = 5_000


class Base(DeclarativeBase):
    """Base of every table; constraint names follow one convention so that migrations can name them."""

    type_annotation_map = {str: Text}  # noqa: RUF012  declared as SQLAlchemy reads it
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class RedisStore:
    """The Redis client of this process; it connects on first use, so that start-up does not need Redis."""

    def __init__(self) -> None:
        self.client = Redis()

    def init_app(self, app: Flask) -> None:
        # Made here and not on first use: of two threads that made one each, the loser's would close its
        # connections under the other's feet when it is collected.
        self.client = Redis.from_url(
            app.config["TAGIH"].redis_url,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )


class MongoStore:
    """The MongoDB client of this process; only the relay's mirror and its commands use it."""

    def __init__(self) -> None:
        self._client: MongoClient[dict[str, object]] | None = None
        self._lock = Lock()
        self._url = ""

    def init_app(self, app: Flask) -> None:
        self._url = app.config["TAGIH"].mongo_url
        self._client = None

    @property
    def client(self) -> "MongoClient[dict[str, object]]":
        # Imported here: of a web process `/readyz` alone asks MongoDB, and the package weighs 20 MiB.
        from pymongo import MongoClient

        with self._lock:
            if self._client is None:
                self._client = MongoClient(
                    self._url,
                    serverSelectionTimeoutMS=MONGO_TIMEOUT_MS,
                    timeoutMS=MONGO_TIMEOUT_MS * 3,
                    tz_aware=True,
                )
            return self._client


@dataclass
class Site:
    """What the rows do not say but their public JSON needs: the address that links begin with."""

    public_base_url: str = "http://localhost"
    network_passphrase: str = ""
    network: str = "test"

    def init_app(self, app: Flask) -> None:
        config = app.config["TAGIH"]
        self.public_base_url = config.public_base_url
        self.network_passphrase = config.network_passphrase
        self.network = config.network


db = SQLAlchemy(metadata=Base.metadata, session_options={"expire_on_commit": False})
login_manager = LoginManager()
csrf = CSRFProtect()
limiter = Limiter(key_func=get_remote_address)
redis = RedisStore()
mongo = MongoStore()
site = Site()
