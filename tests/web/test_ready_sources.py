"""/readyz tells of each source of the chain by itself."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from config import SANDBOX_PASSPHRASE, Config
from portal.app import create_app
from portal.extensions import db
from tests.cases.served import Served, serving


@pytest.fixture
def second() -> Iterator[Served]:
    with serving() as found:
        found.add("/", {"network_passphrase": SANDBOX_PASSPHRASE, "history_latest_ledger": 9})
        yield found


@pytest.fixture
def visitor(environment, second) -> Iterator[FlaskClient]:
    """A visitor of a portal whose first source is nowhere and whose second answers."""
    app = create_app(Config.checked("web", environment | {"HORIZON_SECOND_URL": second.url}))
    yield app.test_client()
    with app.app_context():
        db.engine.dispose()


def test_readyz_shows_the_second_source_beside_the_first(visitor):
    report = visitor.get("/readyz").json

    assert report["horizon"]["ok"] is False
    assert (report["horizon_second"]["ok"], report["horizon_second"]["ledger"]) == (True, 9)


def test_readyz_is_degraded_by_a_second_source_that_is_away(visitor, second):
    second.add("/", {"status": 503}, status=503)

    answer = visitor.get("/readyz")

    assert answer.status_code == 200
    assert answer.json["status"] == "degraded"
    assert answer.json["horizon_second"] == {"ok": False, "error": "ChainUnavailable"}


def test_readyz_tells_when_a_source_serves_another_network(visitor, second):
    second.add("/", {"network_passphrase": "Another Network ; 2026", "history_latest_ledger": 9})

    assert visitor.get("/readyz").json["horizon_second"] == {"ok": False, "error": "other_network"}


def test_readyz_names_no_second_source_where_none_is_configured(client):
    assert "horizon_second" not in client.get("/readyz").json
