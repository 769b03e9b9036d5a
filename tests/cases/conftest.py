"""Two stages, one of people who claim and one of the watcher, each with a database and a chain of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from flask import Flask

from config import Config
from portal.app import create_app
from portal.extensions import db
from tests.cases.listing import Listing
from tests.cases.play import troubles
from tests.cases.scene import Stage
from tests.cases.served import PASSPHRASE, serving
from tests.support.databases import Database, _variables


@dataclass(frozen=True)
class Theatre:
    """A stage and how to look behind it: `inspector` is the worker's app, which sees every tenant."""

    stage: Stage
    database: Database
    inspector: Flask


@contextmanager
def theatre(base_environment, database, role: str) -> Iterator[Theatre]:
    with serving() as served:
        environment = _variables(base_environment, database) | {
            "HORIZON_URL": served.url,
            "STELLAR_NETWORK_PASSPHRASE": PASSPHRASE,
        }
        inspector = create_app(Config.checked("worker", environment))
        app = inspector if role == "worker" else create_app(Config.checked(role, environment))
        app.config["CHECKOUT_SUBMISSIONS_LIMIT"] = "1000000 per minute"
        yield Theatre(Stage(app, Listing(served)), database, inspector)
        # Whatever was played here, in whatever order: the books agree afterwards.
        assert troubles(inspector) == []
        for used in {id(app): app, id(inspector): inspector}.values():
            with used.app_context():
                db.engine.dispose()


@pytest.fixture(scope="session")
def people_theatre(base_environment, new_database) -> Iterator[Theatre]:
    with theatre(base_environment, new_database(), "web") as made:
        yield made


@pytest.fixture(scope="session")
def watcher_theatre(base_environment, new_database) -> Iterator[Theatre]:
    with theatre(base_environment, new_database(), "worker") as made:
        yield made


@pytest.fixture
def people(people_theatre) -> Iterator[Stage]:
    yield people_theatre.stage
    people_theatre.stage.listing.served.spoil = None


@pytest.fixture
def watched(watcher_theatre) -> Iterator[Stage]:
    """The watcher's stage without what other cases left parked: ten of those a round would come first."""
    with psycopg.connect(watcher_theatre.database.superuser, autocommit=True) as connection:
        connection.execute("DELETE FROM watch_failures")
    yield watcher_theatre.stage
    watcher_theatre.stage.listing.served.spoil = None
