"""`mirror check` finds every way in which MongoDB is not what PostgreSQL says; `rebuild` mends them all."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from portal import cli
from portal.db import run_transaction
from portal.domain.merchants.models import Merchant
from portal.domain.payments import service as payments
from portal.domain.refunds import service as refunds
from portal.extensions import db
from portal.flows.mirror_log import check_mirror, rebuild_mirror
from portal.workers.relay_outbox import Relay
from tests.support.builders import NETWORK, NOON, make_invoice, make_shop, make_transfer
from tests.support.money import decide
from tests.support.refunding import promise, sending, settle

CASES = {}


@pytest.fixture
def mirrored(desk):
    """A desk with nine mirrored events: three invoices issued, one paid by a payment that was refunded in part."""
    shop = make_shop()
    for _ in range(2):
        make_invoice(shop)
    invoice = make_invoice(shop)
    transfer = make_transfer(invoice)

    def record():
        return payments.record_transaction(
            merchant=db.session.get_one(Merchant, shop.id), network=NETWORK, transaction=transfer, now=NOON
        )

    payment = run_transaction(record).payments[0]
    refund = promise(shop, payment, "10")
    sent = sending(refund)
    decide(shop, refunds.expect, refund_id=refund.id, transaction_hash=sent.canonical_hash)
    settle(shop, refund.id, sent)
    Relay(consumers=("mirror",)).run_once(datetime.now(UTC))
    return desk


def everything(desk) -> dict[str, list]:
    names = ("payment_logs", "checkout_logs", "payout_logs")
    return {name: list(desk.documents(name).find().sort("_id")) for name in names}


def breaks(name):
    def keep(function):
        CASES[name] = function
        return function

    return keep


@breaks("missing payment_logs")
def _(desk):
    return desk.documents("payment_logs").find_one_and_delete({})["_id"]


@breaks("differs payment_logs")
def _(desk):
    return desk.documents("payment_logs").find_one_and_update({}, {"$set": {"amount": "91.0000000"}})["_id"]


@breaks("differs checkout_logs")
def _(desk):
    return desk.documents("checkout_logs").find_one_and_update({}, {"$set": {"note": "mine"}})["_id"]


@breaks("missing payout_logs")
def _(desk):
    return desk.documents("payout_logs").find_one_and_delete({"status": "COMPLETED"})["_id"]


@breaks("differs payout_logs")
def _(desk):
    return desk.documents("payout_logs").find_one_and_update({}, {"$set": {"status": "COMPLETED"}})["_id"]


@breaks("extra payout_logs")
def _(desk):
    desk.documents("payout_logs").insert_one({"_id": "evt_01JD4W6Q3Y8N5K2R7T9V0X1ZAC"})
    return "evt_01JD4W6Q3Y8N5K2R7T9V0X1ZAC"


@breaks("extra checkout_logs")
def _(desk):
    desk.documents("checkout_logs").insert_one({"_id": "evt_01JD4W6Q3Y8N5K2R7T9V0X1ZAB"})
    return "evt_01JD4W6Q3Y8N5K2R7T9V0X1ZAB"


@breaks("extra payment_logs")
def _(desk):
    desk.documents("payment_logs").insert_one({"_id": "not a ref of ours"})
    return "not a ref of ours"


@pytest.mark.parametrize("name", sorted(CASES))
def test_one_wrong_document_is_told_by_its_own_line_alone(name, mirrored):
    broken = CASES[name](mirrored)

    result = CliRunner().invoke(cli.mirror, ["check"], env=mirrored.environment)

    assert result.stdout.splitlines() == [f"FAIL {name} {broken}", "9 events, 0 waiting, 1 differences"]
    assert result.exit_code == 1


@pytest.mark.parametrize("name", sorted(CASES))
def test_rebuild_makes_the_mirror_identical_again(name, mirrored):
    before = everything(mirrored)
    CASES[name](mirrored)

    result = CliRunner().invoke(cli.mirror, ["rebuild", "--json"], env=mirrored.environment)

    assert (result.exit_code, json.loads(result.stdout)) == (0, {"documents": 9})
    assert everything(mirrored) == before
    assert CliRunner().invoke(cli.mirror, ["check"], env=mirrored.environment).exit_code == 0


def test_a_dropped_mirror_is_rebuilt_from_postgresql_alone(mirrored):
    before = everything(mirrored)
    mirrored.mongo.drop_database(mirrored.mongo.get_default_database().name)

    written = rebuild_mirror(now=datetime.now(UTC))

    assert written == 9
    assert everything(mirrored) == before
    assert [document["status"] for document in before["payment_logs"]] == ["CONFIRMED"] * 2
    assert before["payment_logs"][0]["raw"]["operations"] == []


def test_a_refund_is_told_step_by_step_with_the_raw_record_of_what_completed_it(mirrored):
    logs = everything(mirrored)["payout_logs"]

    assert [each["status"] for each in logs] == ["PENDING", "PROCESSING", "COMPLETED"]
    assert [each["version"] for each in logs] == [1, 2, 3]
    assert {each["amount"] for each in logs} == {"10.0000000"} and {each["network"] for each in logs} == {
        "test"
    }
    # The hash that was only named has its record stored by now, and a rebuild must not find it.
    assert [each["raw"] and each["raw"]["successful"] for each in logs] == [None, None, True]
    assert [each["estimated_arrival"] for each in logs] == ["2026-11-20T12:00:05Z"] * 2 + [
        "2026-11-20T12:00:00Z"
    ]
    assert (
        logs[0]["payment"].startswith("pay_") and logs[2]["transaction_hash"] == logs[1]["transaction_hash"]
    )


def test_an_event_that_is_on_its_way_is_no_difference(mirrored):
    make_invoice(make_shop())

    found = check_mirror(now=datetime.now(UTC))

    assert (found.events, found.waiting, found.differences) == (10, 1, ())


def test_events_older_than_the_retention_are_left_out(mirrored):
    mirrored.documents("checkout_logs").delete_many({})
    mirrored.documents("payment_logs").delete_many({})
    mirrored.documents("payout_logs").delete_many({})

    found = check_mirror(now=NOON + timedelta(days=400))

    assert (found.events, found.differences) == (0, ())


def test_mongodb_away_is_said_in_a_sentence(mirrored, monkeypatch):
    monkeypatch.setattr("portal.extensions.MONGO_TIMEOUT_MS", 100)
    environment = mirrored.environment | {"MONGO_URL": "mongodb://127.0.0.1:9/tagih"}

    result = CliRunner().invoke(cli.mirror, ["check"], env=environment)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: mirror_unavailable: MongoDB")
