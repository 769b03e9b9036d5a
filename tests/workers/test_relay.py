"""The relay delivers every event at least once to every consumer, and one bad row or outage stops nobody."""

import signal
import threading
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import SQLAlchemyError

from portal.adapters import cache
from portal.db import run_transaction
from portal.domain.events import outbox
from portal.domain.events.models import Event, FeedEntry, OutboxEntry
from portal.domain.events.outbox import ATTEMPTS_MAX, RETRY_DELAYS_SECONDS
from portal.extensions import db
from portal.extensions import mongo as mongo_store
from portal.flows.mirror_log import check_mirror
from portal.kernel.refs import to_ref
from portal.workers.relay_outbox import Relay
from tests.support.builders import NOON, make_invoice, make_shop

DEAD_MONGO = "mongodb://127.0.0.1:9/tagih?serverSelectionTimeoutMS=50"


def states(consumer: str) -> dict[str, int]:
    rows = db.session.execute(
        select(OutboxEntry.state, db.func.count())
        .where(OutboxEntry.consumer == consumer)
        .group_by(OutboxEntry.state)
    )
    found = {row[0]: row[1] for row in rows}
    db.session.rollback()
    return found


def make_invoices(count: int) -> None:
    shop = make_shop()
    for _ in range(count):
        make_invoice(shop)


def spoil(database, payload: str) -> str:
    """Give the oldest event a payload that MongoDB refuses and return its ref."""
    with psycopg.connect(database.superuser, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        [spoilt] = connection.execute(
            "UPDATE events SET payload = payload || %s WHERE id ="
            " (SELECT id FROM events WHERE aggregate_type = 'invoice' ORDER BY id LIMIT 1) RETURNING id",
            [payload],
        ).fetchone()
    return to_ref("evt", spoilt)


def test_every_consumer_gets_every_event_in_batches(desk):
    make_invoices(7)
    relay = Relay(batch=3)

    moved = [relay.run_once(NOON) for _ in range(4)]

    assert moved == [9, 9, 3, 0]
    assert [states(name) for name in ("feed", "mirror", "cache")] == [{"DONE": 7}] * 3
    assert desk.documents("checkout_logs").count_documents({"status": "PENDING"}) == 7
    assert check_mirror(now=NOON).differences == ()


def test_documents_hold_what_section_8_promises(desk):
    shop = make_shop()
    invoice = make_invoice(shop, metadata={"$set": "x", "a.b": "y"})

    Relay().run_once(NOON)

    [document] = desk.documents("checkout_logs").find()
    assert document["_id"].startswith("evt_")
    assert document["merchant"] == to_ref("mer", shop.id)
    assert (document["id"], document["status"]) == (to_ref("inv", invoice.id), "PENDING")
    assert document["data"]["amount"] == "90.0000000"
    assert document["data"]["metadata"] == {"$set": "x", "a.b": "y"}
    keys = {tuple(index["key"]) for index in desk.documents("checkout_logs").index_information().values()}
    names = {tuple(name for name, _ in key) for key in keys}
    assert {("id",), ("status",), ("created_at",), ("status", "created_at")} <= names


def test_a_lease_whose_holder_died_is_taken_over(desk):
    make_invoices(2)
    run_transaction(lambda: outbox.claim("mirror", limit=10, now=NOON))
    relay = Relay(consumers=("mirror",))

    held = relay.run_once(NOON)
    taken_over = relay.run_once(NOON + timedelta(seconds=outbox.LEASE_SECONDS + 1))

    assert held == 0
    assert taken_over == 2
    assert states("mirror") == {"DONE": 2}


def test_a_worker_that_overslept_its_lease_changes_nothing(desk):
    make_invoices(1)
    stale = run_transaction(lambda: outbox.claim("mirror", limit=10, now=NOON))
    later = NOON + timedelta(seconds=outbox.LEASE_SECONDS + 1)
    run_transaction(lambda: outbox.claim("mirror", limit=10, now=later))

    run_transaction(lambda: outbox.fail(stale[0], error="late", now=later))
    run_transaction(lambda: outbox.finish(stale, now=later))

    assert states("mirror") == {"PENDING": 1}
    assert db.session.scalar(select(OutboxEntry.attempts).where(OutboxEntry.consumer == "mirror")) == 0


@pytest.mark.parametrize("payload", ['{"version": 123456789012345678901234567890}', '{"status": "HAPPY"}'])
def test_a_bad_row_dies_after_its_tries_and_stops_nobody(desk, payload):
    make_invoices(3)
    bad = spoil(desk.database, payload)
    relay = Relay(consumers=("mirror",))
    now = NOON

    first = relay.run_once(now)
    for seconds in RETRY_DELAYS_SECONDS:
        now += timedelta(seconds=seconds + 1)
        assert relay.run_once(now) == 0

    assert first == 2
    assert states("mirror") == {"DONE": 2, "DEAD": 1}
    entry = db.session.scalars(select(OutboxEntry).where(OutboxEntry.state == "DEAD")).one()
    assert to_ref("evt", entry.event_id) == bad
    assert entry.attempts == ATTEMPTS_MAX
    assert entry.last_error


def test_an_outage_of_mongodb_pauses_the_mirror_and_counts_no_attempt(desk, monkeypatch):
    make_invoices(3)
    relay = Relay()
    monkeypatch.setattr(mongo_store, "_url", DEAD_MONGO)
    monkeypatch.setattr(mongo_store, "_client", None)
    monkeypatch.setattr("portal.extensions.MONGO_TIMEOUT_MS", 100)

    moved = relay.run_once(NOON)
    while_paused = relay.run_once(NOON + timedelta(milliseconds=500))

    assert (moved, while_paused) == (6, 0)
    assert states("mirror") == {"PENDING": 3}
    assert states("feed") == states("cache") == {"DONE": 3}
    entry = db.session.scalars(select(OutboxEntry).where(OutboxEntry.consumer == "mirror").limit(1)).one()
    assert (entry.attempts, entry.lease_until) == (0, None)
    assert "MongoDB" in entry.last_error
    db.session.rollback()

    monkeypatch.undo()
    mongo_store._client = None
    assert relay.run_once(NOON + timedelta(seconds=2)) == 3
    assert check_mirror(now=NOON).differences == ()


def test_an_outage_waits_longer_each_time(desk, monkeypatch):
    make_invoices(1)
    relay = Relay(consumers=("mirror",))
    monkeypatch.setattr(mongo_store, "_url", DEAD_MONGO)
    monkeypatch.setattr(mongo_store, "_client", None)
    monkeypatch.setattr("portal.extensions.MONGO_TIMEOUT_MS", 50)
    now, waits = NOON, []

    for _ in range(4):
        relay.run_once(now)
        waits.append((relay.paused_until["mirror"] - now).total_seconds())
        now = relay.paused_until["mirror"]

    assert waits == [1, 2, 4, 8]


def test_a_mongod_that_hangs_delays_and_loses_nothing(desk, private_services, monkeypatch):
    servers = private_services("mongo")
    monkeypatch.setattr(mongo_store, "_url", servers.urls()["MONGO_URL"])
    monkeypatch.setattr(mongo_store, "_client", None)
    monkeypatch.setattr("portal.extensions.MONGO_TIMEOUT_MS", 200)
    make_invoices(2)
    relay = Relay(consumers=("mirror",))
    assert relay.run_once(NOON) == 2
    make_invoices(3)

    servers.mongod.process.send_signal(signal.SIGSTOP)
    stopped = relay.run_once(NOON)
    servers.mongod.process.send_signal(signal.SIGCONT)
    mongo_store._client = None
    monkeypatch.setattr("portal.extensions.MONGO_TIMEOUT_MS", 5000)
    resumed = relay.run_once(NOON + timedelta(seconds=2))

    assert (stopped, resumed) == (0, 3)
    found = check_mirror(now=NOON)
    assert (found.events, found.waiting, found.differences) == (5, 0, ())
    mongo_store._client = None


def test_a_mongod_that_is_killed_keeps_what_it_confirmed(desk, private_services, monkeypatch):
    servers = private_services("mongo")
    monkeypatch.setattr(mongo_store, "_url", servers.urls()["MONGO_URL"])
    monkeypatch.setattr(mongo_store, "_client", None)
    make_invoices(20)
    relay = Relay(consumers=("mirror",), batch=10)
    before = relay.run_once(NOON)

    servers.mongod.process.kill()
    servers.mongod.process.wait()
    monkeypatch.setattr("portal.extensions.MONGO_TIMEOUT_MS", 100)
    mongo_store._client = None
    away = relay.run_once(NOON)
    monkeypatch.setattr("portal.extensions.MONGO_TIMEOUT_MS", 5000)
    servers.start()
    mongo_store._url, mongo_store._client = servers.urls()["MONGO_URL"], None
    after = relay.run_once(NOON + timedelta(seconds=2))

    assert (before, away, after) == (10, 0, 10)
    found = check_mirror(now=NOON)
    assert (found.events, found.waiting, found.differences) == (20, 0, ())
    mongo_store._client = None


def test_redis_away_pauses_the_cache_alone(desk, monkeypatch):
    make_invoices(2)
    relay = Relay()
    monkeypatch.setattr(cache, "attempt", lambda work: None)

    moved = relay.run_once(NOON)

    assert moved == 4
    assert states("cache") == {"PENDING": 2}
    monkeypatch.undo()
    assert relay.run_once(NOON + timedelta(seconds=2)) == 2


def test_four_relays_at_once_give_gapless_places(desk):
    shops = [make_shop() for _ in range(3)]
    for number in range(60):
        make_invoice(shops[number % 3])
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def relay_all() -> None:
        with desk.app.app_context():
            relay = Relay(consumers=("feed",), batch=3)
            start.wait()
            try:
                while relay.run_once(NOON):
                    pass
            except (SQLAlchemyError, AssertionError) as failure:
                failures.append(failure)

    threads = [threading.Thread(target=relay_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert states("feed") == {"DONE": 60}
    for shop in shops:
        places = db.session.scalars(select(FeedEntry.seq).where(FeedEntry.merchant_id == shop.id)).all()
        assert sorted(places) == list(range(1, 21))


def test_a_repeated_delivery_gives_no_second_place_and_no_second_document(desk):
    make_invoices(3)
    relay = Relay()
    relay.run_once(NOON)
    run_transaction(lambda: db.session.execute(update(OutboxEntry).values(state="PENDING", lease_until=None)))

    relay.run_once(NOON)

    assert states("mirror") == {"DONE": 3}
    assert db.session.scalar(select(db.func.count()).select_from(FeedEntry)) == 3
    assert desk.documents("checkout_logs").count_documents({}) == 3


def test_an_event_outlives_its_outbox_rows(desk):
    from portal.workers import sweep

    make_invoices(2)
    Relay().run_once(NOON)
    run_transaction(lambda: db.session.execute(text("UPDATE outbox SET updated_at = :old"), {"old": NOON}))

    removed = sweep.run_once(NOON + timedelta(days=8), network="test")

    assert removed == 6
    assert db.session.scalar(select(db.func.count()).select_from(Event)) == 2
