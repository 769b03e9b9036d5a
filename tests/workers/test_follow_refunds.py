"""The worker looks for refunds by itself, and gives none up before the network has gone past it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests
from stellar_sdk import Keypair, TransactionEnvelope

from config import SANDBOX_PASSPHRASE, Config
from portal.app import create_app
from portal.db import run_transaction
from portal.domain.refunds.models import Refund
from portal.domain.refunds.rules import Memo
from portal.extensions import db
from portal.flows.prepare_refund import Plan, create_refund, prepare_again
from portal.flows.settle_refund import follow_refund, submit_refund_hash
from portal.sandbox.client import fund
from portal.workers import follow_refunds
from tests.support.builders import NETWORK, make_invoice, make_shop, make_transfer
from tests.support.chain_acts import act, funded
from tests.support.money import only_payment, record

DAY = timedelta(hours=24)


@pytest.fixture
def shop(desk, sandbox):
    """A shop of the sandbox on a database of its own, paid by an account that exists."""
    made = make_shop()
    fund(sandbox.url, made.wallet)
    return made


def promised(shop, sandbox, *, at=None, payer=None):
    """Let an account of the sandbox seem to pay, and promise to send its money back at `at`."""
    now = at or datetime.now(UTC)
    invoice = make_invoice(shop, now=now - timedelta(minutes=1))
    sender = (payer or funded(sandbox)).public_key
    seen = make_transfer(invoice, ledger=1, closed_at=now - timedelta(seconds=5))
    record(shop, replace(seen, credits=(replace(seen.credits[0], source=sender),)), now=now)
    plan = Plan(Decimal(90), "ordered twice", Memo())
    return create_refund(
        merchant_id=shop.id, network=NETWORK, payment_id=only_payment(shop).id, plan=plan, now=now
    )


def send(shop, sandbox, xdr):
    envelope = TransactionEnvelope.from_xdr(xdr, SANDBOX_PASSPHRASE)
    envelope.sign(Keypair.from_secret(shop.wallet_secret))
    ticket = sandbox.ledger.submit(envelope.to_xdr())
    assert ticket.done.wait(10)
    return ticket.hash


def again(refund_id):
    return db.session.get_one(Refund, refund_id, populate_existing=True)


def test_what_was_sent_is_found_and_booked(shop, sandbox):
    refund = promised(shop, sandbox)
    refund_id, due = refund.id, refund.next_attempt_at
    sent = send(shop, sandbox, refund.envelope_xdr)

    assert follow_refunds.run_once(due, network=NETWORK) == 1

    assert (again(refund_id).status, again(refund_id).transaction_hash) == ("COMPLETED", sent)
    assert follow_refunds.run_once(due + DAY, network=NETWORK) == 0


def test_one_that_was_not_sent_comes_again_by_the_schedule(shop, sandbox):
    refund = promised(shop, sandbox)
    refund_id, due = refund.id, refund.next_attempt_at

    assert follow_refunds.run_once(due - timedelta(milliseconds=1), network=NETWORK) == 0
    assert follow_refunds.run_once(due, network=NETWORK) == 1

    waiting = again(refund_id)
    assert (waiting.status, waiting.attempts, waiting.lease_token) == ("PENDING", 1, None)
    assert waiting.next_attempt_at == due + timedelta(seconds=2)


def test_one_without_a_transaction_waits_for_a_person(shop, sandbox):
    refund_id = promised(shop, sandbox).id

    def strip():
        refund = again(refund_id)
        refund.envelope_xdr, refund.expected_hashes = None, []
        return refund.next_attempt_at

    due = run_transaction(strip)

    assert follow_refunds.run_once(due, network=NETWORK) == 0


def test_a_day_after_its_time_it_is_given_up_and_frees_the_money(shop, sandbox):
    now = datetime.now(UTC)
    refund_id = promised(shop, sandbox, at=now - DAY).id

    follow_refunds.run_once(now, network=NETWORK)

    assert (again(refund_id).status, again(refund_id).code) == ("FAILED", "not_sent")
    assert only_payment(shop).refund_reserved == 0


def test_a_network_that_is_behind_does_not_let_it_be_given_up(shop, sandbox):
    now = datetime.now(UTC)
    refund_id = promised(shop, sandbox).id

    # By our clock a day has gone by; the ledger has not closed that late.
    follow_refunds.run_once(now + DAY + timedelta(minutes=1), network=NETWORK)

    waiting = again(refund_id)
    assert (waiting.status, waiting.next_attempt_at) == ("PENDING", now + DAY + timedelta(minutes=11))


def test_a_network_that_is_away_neither(desk, shop, sandbox):
    now = datetime.now(UTC)
    refund_id, merchant_id = promised(shop, sandbox, at=now - DAY).id, shop.id
    dead = create_app(Config.checked("worker", {**desk.environment, "HORIZON_URL": "http://127.0.0.1:9"}))
    with dead.app_context():
        assert follow_refund(merchant_id=merchant_id, refund_id=refund_id, now=now).status == "PENDING"

    assert again(refund_id).attempts == 1


def test_a_named_hash_that_is_not_it_makes_way_for_the_prepared_one(shop, sandbox):
    refund = promised(shop, sandbox)
    refund_id, now = refund.id, datetime.now(UTC)
    asked = submit_refund_hash(
        merchant_id=shop.id, network=NETWORK, refund_id=refund_id, text="ee" * 32, now=now
    )
    assert (asked.status, asked.refund.status) == (202, "PROCESSING")
    sent = send(shop, sandbox, again(refund_id).envelope_xdr)

    follow_refunds.run_once(now + timedelta(seconds=2), network=NETWORK)

    assert (again(refund_id).status, again(refund_id).transaction_hash) == ("COMPLETED", sent)


def prepare_anew(shop, refund_id, now):
    return prepare_again(
        merchant_id=shop.id, network=NETWORK, refund_id=refund_id, is_confirmed=False, now=now
    )


def test_the_first_prepared_one_is_found_after_a_second_was_prepared(shop, sandbox):
    now = datetime.now(UTC)
    refund_id = promised(shop, sandbox, at=now - DAY / 2).id
    first = again(refund_id).envelope_xdr
    second = prepare_anew(shop, refund_id, now)
    assert len(second.expected_hashes) == 2 and second.envelope_xdr != first
    sent = send(shop, sandbox, first)

    follow_refunds.run_once(second.next_attempt_at, network=NETWORK)

    assert (again(refund_id).status, again(refund_id).transaction_hash) == ("COMPLETED", sent)


def test_what_was_sent_already_is_booked_and_not_prepared_again(shop, sandbox):
    refund = promised(shop, sandbox)
    refund_id = refund.id
    sent = send(shop, sandbox, refund.envelope_xdr)

    done = prepare_anew(shop, refund_id, datetime.now(UTC))

    assert (done.status, done.transaction_hash, done.expected_hashes) == ("COMPLETED", sent, [sent])


def test_nothing_is_released_while_one_of_its_transactions_is_unanswered(shop, sandbox):
    now = datetime.now(UTC)
    refund_id, merchant_id, silent = promised(shop, sandbox, at=now - DAY).id, shop.id, "ee" * 32

    def add_silent():
        refund = again(refund_id)
        refund.expected_hashes = [*refund.expected_hashes, silent]

    run_transaction(add_silent)
    faults = f"{sandbox.url}/sandbox/faults"
    order = {"kind": "503", "match": f"/transactions/{silent}"}
    assert requests.post(faults, json=order, timeout=10).status_code == 201
    try:
        waiting = follow_refund(merchant_id=merchant_id, refund_id=refund_id, now=now)
    finally:
        requests.delete(faults, timeout=10)

    assert waiting.status == "PENDING"
    assert follow_refund(merchant_id=merchant_id, refund_id=refund_id, now=now).status == "FAILED"


def test_a_prepared_one_that_fails_on_the_network_must_be_prepared_anew(shop, sandbox):
    payer, stranger = funded(sandbox), funded(sandbox)
    refund = promised(shop, sandbox, payer=payer)
    refund_id, due = refund.id, refund.next_attempt_at
    act(sandbox, payer, lambda builder: builder.append_account_merge_op(stranger.public_key))
    send(shop, sandbox, refund.envelope_xdr)

    follow_refunds.run_once(due, network=NETWORK)

    stale = again(refund_id)
    assert (stale.status, stale.code, stale.envelope_xdr) == ("PENDING", "transaction_failed", None)
    assert only_payment(shop).refund_reserved == 90
