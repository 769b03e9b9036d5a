"""Fixtures of the app itself, over the servers that conftest.py starts."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import event

from portal import extensions
from portal.adapters import cache
from portal.app import create_app
from portal.extensions import db

# A busy machine may keep Redis waiting longer than a page would; what a test says of the cache must not
# depend on that. A Redis that is really away still answers at once.
extensions.REDIS_TIMEOUT_SECONDS = 5.0


@pytest.fixture(autouse=True)
def redis_is_asked() -> None:
    """Forget an outage that an earlier test made: Redis is left alone for a second after one."""
    cache.pause.end()


@pytest.fixture(autouse=True)
def horizon_is_asked(request: pytest.FixtureRequest) -> None:
    """Forget what an earlier test did to the sandbox: its door is kept in Redis, for all processes."""
    if {"sandbox", "base_environment"} <= set(request.fixturenames):
        url = request.getfixturevalue("base_environment")["REDIS_URL"]
        with Redis.from_url(url) as client:
            for key in client.scan_iter("tagih:horizon:*", count=1000):
                client.delete(key)


@pytest.fixture(scope="session")
def web_app(config_web) -> Flask:
    """The app as it serves requests: role portal_web."""
    app = create_app(config_web)
    app.testing = True
    return app


@pytest.fixture(scope="session")
def worker_app(config_worker) -> Flask:
    """The app as workers and commands run it: role portal_worker, which sees every tenant."""
    return create_app(config_worker)


@pytest.fixture
def as_web(web_app) -> Iterator[Flask]:
    with web_app.app_context():
        yield web_app


@pytest.fixture
def as_worker(worker_app) -> Iterator[Flask]:
    with worker_app.app_context():
        yield worker_app


@pytest.fixture
def client(web_app) -> FlaskClient:
    return web_app.test_client()


@pytest.fixture
def statements(web_app) -> Iterator[list[str]]:
    """Every SQL statement that the web app sends while the test runs."""
    sent: list[str] = []

    def note(connection, cursor, statement, parameters, context, executemany):
        sent.append(" ".join(statement.split()))

    with web_app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)
