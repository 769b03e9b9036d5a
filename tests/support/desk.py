"""A worker's app on a database and a MongoDB of its own: other tests' events would be relayed along."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pymongo
import pytest
from flask import Flask
from pymongo.collection import Collection

from config import Config
from portal.adapters import mongo
from portal.app import create_app
from portal.db import leave_tenant
from portal.extensions import db
from portal.extensions import mongo as mongo_store
from tests.support import databases


@dataclass(frozen=True)
class Desk:
    """A fresh portal: its database, its app as the worker, its variables, its mirror."""

    database: databases.Database
    app: Flask
    environment: dict[str, str]
    mongo: pymongo.MongoClient

    def documents(self, name: str) -> Collection:
        return self.mongo.get_default_database()[name]


@pytest.fixture(scope="session")
def worker_database(new_database):
    return new_database()


@pytest.fixture(scope="session")
def worker_environment(base_environment, worker_database, worker_index) -> dict[str, str]:
    variables = databases._variables(base_environment, worker_database)
    return variables | {
        "MONGO_URL": databases._at(variables["MONGO_URL"], f"tagih_test_worker_{worker_index}")
    }


@pytest.fixture
def desk(worker_database, worker_environment, request) -> Iterator[Desk]:
    """An empty portal whose app is entered; afterwards the process has its own MongoDB back."""
    environment = dict(worker_environment)
    if "sandbox" in request.fixturenames:
        environment["HORIZON_URL"] = request.getfixturevalue("sandbox").url
    _empty(worker_database)
    client = pymongo.MongoClient(environment["MONGO_URL"])
    client.drop_database(client.get_default_database().name)
    shared = mongo_store._url
    app = create_app(Config.checked("worker", environment))
    with app.app_context():
        assert mongo.database_name() == client.get_default_database().name
        yield Desk(worker_database, app, environment, client)
        leave_tenant()
        db.session.remove()
        db.engine.dispose()
    mongo_store._url, mongo_store._client = shared, None
    client.close()


def _empty(database) -> None:
    with psycopg.connect(database.superuser, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT string_agg(format('%I', tablename), ', ') FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchone()[0]
        connection.execute(f"TRUNCATE {tables}")
