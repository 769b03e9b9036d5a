"""What operators and their monitors are told."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import delete, text

from portal.db import run_transaction
from portal.domain.events import outbox
from portal.domain.payments import watching
from portal.domain.payments.models import WatchCursor, WatchFailure
from portal.extensions import db
from tests.support.builders import make_invoice, make_shop


@pytest.fixture
def waiting_since(as_worker):
    """An event of some merchant that nobody delivered for an hour, and one that was given up."""
    shop = make_shop()
    invoice = make_invoice(shop)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    parameters = {"at": long_ago, "invoice": invoice.id, "merchant": shop.id}

    def age():
        db.session.execute(
            text("UPDATE outbox SET created_at = :at WHERE merchant_id = :merchant"), parameters
        )
        db.session.execute(
            text(
                "UPDATE outbox SET state = 'DEAD', dead_at = :at WHERE consumer = 'feed' AND merchant_id = :merchant"
            ),
            parameters,
        )

    run_transaction(age)
    yield long_ago
    run_transaction(
        lambda: db.session.execute(
            text("UPDATE outbox SET state = 'DONE', dead_at = NULL WHERE merchant_id = :merchant"), parameters
        )
    )


def test_healthz_asks_nobody(client, statements):
    assert client.get("/healthz").json == {"status": "ok"}
    assert statements == []


def test_readyz_names_every_dependency_and_fails_for_the_database_alone(client):
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert set(answer.json) == {
        "status",
        "database",
        "redis",
        "mongo",
        "horizon",
        "worker",
        "watcher",
        "parked",
        "outbox",
    }
    assert answer.json["horizon"]["ok"] is False, "the network of this test does not exist"
    assert answer.json["status"] == "degraded"


def test_readyz_sees_the_backlog_of_every_merchant(client, waiting_since):
    backlog = client.get("/readyz").json["outbox"]

    assert backlog["ok"] is False
    assert backlog["oldest_seconds"]["mirror"] >= 3590
    assert backlog["dead"]["feed"] >= 1


def test_metrics_count_requests_by_route_and_never_by_path(client, waiting_since):
    client.get("/i/some-token-that-nobody-knows")
    figures = client.get("/metrics").text

    assert re.search(
        r'tagih_http_requests_total\{method="GET",route="/i/<token>",status="404"\} [1-9]', figures
    )
    assert "some-token" not in figures
    assert float(re.search(r'tagih_outbox_oldest_seconds\{consumer="mirror"\} ([\d.]+)', figures)[1]) >= 3590
    assert float(re.search(r'tagih_outbox_dead\{consumer="feed"\} ([\d.]+)', figures)[1]) >= 1


def test_the_backlog_is_the_same_for_the_web_role(as_web, waiting_since):
    found = {each.consumer: each for each in outbox.waiting(now=datetime.now(UTC))}

    assert found["mirror"].oldest_seconds >= 3590


@pytest.fixture
def troubled(as_worker):
    """A wallet that was last looked at an hour ago, beside one that is fine, and a record that is parked."""
    now = datetime.now(UTC)
    looks = (("G" + "A" * 55, now - timedelta(hours=1)), ("G" + "B" * 55, now))

    def note():
        for scope, seen_at in looks:
            watching.move_cursor(network="test", scope=scope, cursor="1", seen_until=seen_at, now=now)
        watching.park(
            network="test", scope=looks[0][0], transaction_hash="ab" * 32, paging_token="1", error="memo",
            now=now,
        )  # fmt: skip

    run_transaction(note)
    yield now
    run_transaction(lambda: db.session.execute(delete(WatchCursor)))
    run_transaction(lambda: db.session.execute(delete(WatchFailure)))


def test_readyz_and_metrics_tell_of_late_wallets_and_parked_records(client, troubled):
    report, figures = client.get("/readyz").json, client.get("/metrics").text

    # Other tests leave late wallets and parked records in the same database.
    late, parked = report["watcher"]["late_wallets"], report["parked"]["records"]
    assert (report["watcher"]["ok"], report["parked"]["ok"]) == (False, False)
    assert late >= 1 and parked >= 1
    assert report["watcher"]["lag_seconds"] < 60
    assert f"tagih_watcher_late_wallets {late}.0" in figures
    assert f"tagih_watcher_parked {parked}.0" in figures


def test_readyz_says_when_the_network_was_reset(client, troubled):
    for noticed_at in (troubled - timedelta(seconds=45), troubled):
        run_transaction(partial(watching.note_reset, network="test", latest="7", now=noticed_at))

    assert client.get("/readyz").json["watcher"]["error"] == "network_was_reset"
