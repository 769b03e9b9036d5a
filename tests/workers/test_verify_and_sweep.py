"""Submissions are looked for until the network knows them; invoices expire only after a look."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DataError
from stellar_sdk import Asset as SdkAsset
from stellar_sdk import IdMemo, Keypair, Server, TransactionBuilder

from config import SANDBOX_PASSPHRASE
from portal.db import run_transaction
from portal.domain.invoices.models import Invoice
from portal.domain.payments import submissions, watching
from portal.domain.payments.models import Submission
from portal.extensions import db
from portal.flows.submit_hash import submit_hash
from portal.sandbox.client import fund
from portal.workers import sweep, verify_submissions
from tests.support.builders import NETWORK, NOON, make_invoice, make_shop

EXPIRES = NOON + timedelta(hours=1)


def submission() -> Submission:
    db.session.rollback()
    return db.session.scalars(select(Submission)).one()


def status_of(invoice) -> str:
    db.session.rollback()
    return db.session.scalar(select(Invoice.status).where(Invoice.id == invoice.id))


def seen(scope: str, moment: datetime) -> None:
    run_transaction(
        lambda: watching.move_cursor(network=NETWORK, scope=scope, cursor="1", seen_until=moment, now=moment)
    )


@pytest.fixture
def signed(desk, sandbox):
    """An invoice and a payment of it that is signed but not sent yet."""
    shop = make_shop()
    payer = Keypair.random()
    fund(sandbox.url, shop.wallet)
    fund(sandbox.url, payer.public_key)
    invoice = make_invoice(shop, now=datetime.now(UTC))
    server = Server(sandbox.url)
    builder = TransactionBuilder(server.load_account(payer.public_key), SANDBOX_PASSPHRASE, base_fee=100)
    builder.append_payment_op(shop.wallet, SdkAsset.native(), "90").add_memo(
        IdMemo(invoice.pay_ref)
    ).set_timeout(120)
    envelope = builder.build()
    envelope.sign(payer)
    yield invoice, envelope, server
    server.close()


def test_a_hash_that_comes_before_its_transaction_is_found_later(signed):
    invoice, envelope, server = signed
    now = datetime.now(UTC)
    claim = {
        "merchant_id": invoice.merchant_id,
        "network": NETWORK,
        "invoice_id": invoice.id,
        "origin": "page",
    }
    answer = submit_hash(**claim, text=envelope.hash_hex(), now=now)
    too_early = verify_submissions.run_once(now, network=NETWORK)
    still_unknown = verify_submissions.run_once(now + timedelta(seconds=5), network=NETWORK)
    waiting = (submission().state, submission().attempts)

    server.submit_transaction(envelope, skip_memo_required_check=True)
    looked = verify_submissions.run_once(now + timedelta(minutes=1), network=NETWORK)

    assert (answer.status, too_early, still_unknown, looked) == (202, 0, 1, 1)
    assert waiting == ("CHECKING", 2)
    assert submission().state == "ACCEPTED"
    assert status_of(invoice) == "PAID"
    assert verify_submissions.run_once(now + timedelta(hours=1), network=NETWORK) == 0


def test_a_hash_that_never_comes_is_given_up_after_a_day(signed):
    invoice, _, _ = signed
    now = datetime.now(UTC)
    claim = {
        "merchant_id": invoice.merchant_id,
        "network": NETWORK,
        "invoice_id": invoice.id,
        "origin": "page",
    }
    submit_hash(**claim, text="c" * 64, now=now)

    verify_submissions.run_once(now + timedelta(hours=25), network=NETWORK)

    assert submission().state == "NOT_FOUND"
    assert submit_hash(**claim, text="c" * 64, now=now + timedelta(hours=26)).submission.state == "CHECKING"


def test_horizon_away_neither_confirms_nor_rejects(desk):
    invoice = make_invoice(make_shop())
    claim = {
        "merchant_id": invoice.merchant_id,
        "network": NETWORK,
        "invoice_id": invoice.id,
        "origin": "page",
    }

    answer = submit_hash(**claim, text="d" * 64, now=NOON)
    looked = verify_submissions.run_once(NOON + timedelta(minutes=2), network=NETWORK)

    assert (answer.status, looked) == (202, 1)
    assert (submission().state, submission().code) == ("CHECKING", None)


def test_a_submission_whose_worker_died_is_taken_over(signed):
    invoice, envelope, server = signed
    now = datetime.now(UTC)
    claim = {
        "merchant_id": invoice.merchant_id,
        "network": NETWORK,
        "invoice_id": invoice.id,
        "origin": "page",
    }
    submit_hash(**claim, text=envelope.hash_hex(), now=now)
    server.submit_transaction(envelope, skip_memo_required_check=True)
    lease_until = now + timedelta(seconds=40)
    run_transaction(lambda: db.session.execute(update(Submission).values(lease_until=lease_until)))

    held = verify_submissions.run_once(now + timedelta(seconds=10), network=NETWORK)
    taken_over = verify_submissions.run_once(now + timedelta(seconds=41), network=NETWORK)

    assert (held, taken_over) == (0, 1)
    assert status_of(invoice) == "PAID"


def test_nothing_expires_before_the_watcher_has_looked(desk):
    invoice = make_invoice(make_shop(), expires_in_seconds=3600)
    after = EXPIRES + timedelta(hours=2)

    never_looked = sweep.run_once(after, network=NETWORK)
    seen(invoice.destination, EXPIRES - timedelta(minutes=1))
    looked_before = sweep.run_once(after, network=NETWORK)
    seen(invoice.destination, EXPIRES + timedelta(minutes=1))
    within_grace = sweep.run_once(after, network=NETWORK)

    assert (never_looked, looked_before, within_grace) == (0, 0, 0)
    assert status_of(invoice) == "PENDING"


def test_an_invoice_expires_once_its_time_and_the_grace_are_over(desk):
    shop = make_shop()
    invoice = make_invoice(shop, expires_in_seconds=3600)
    longer = make_invoice(shop, expires_in_seconds=7200)
    after = EXPIRES + sweep.EXPIRY_GRACE + timedelta(seconds=1)
    seen(shop.wallet, after)

    expired = sweep.run_once(after, network=NETWORK)
    again = sweep.run_once(after, network=NETWORK)

    assert (expired, again) == (1, 0)
    assert (status_of(invoice), status_of(longer)) == ("EXPIRED", "PENDING")
    events = db.session.execute(
        text("SELECT type FROM events WHERE aggregate_id = :id ORDER BY version"), {"id": invoice.id}
    )
    assert [row.type for row in events] == ["invoice.issued", "invoice.expired"]


def test_a_wallet_that_cannot_be_looked_at_holds_back_its_own_invoices_alone(desk):
    troubled = [make_invoice(make_shop(), expires_in_seconds=3600) for _ in range(2)]
    fine = make_invoice(make_shop(), expires_in_seconds=3600)
    after = EXPIRES + timedelta(hours=2)
    seen(troubled[0].destination, EXPIRES)
    seen(fine.destination, after)

    expired = sweep.run_once(after, network=NETWORK)

    assert expired == 1
    assert [status_of(invoice) for invoice in (*troubled, fine)] == ["PENDING", "PENDING", "EXPIRED"]


def test_the_stream_is_the_last_look_at_wallets_whose_own_past_was_read(desk):
    joined, joining, unknown = (make_invoice(make_shop(), expires_in_seconds=3600) for _ in range(3))
    after = EXPIRES + timedelta(hours=2)
    seen("network", after)
    seen(joined.destination, EXPIRES - timedelta(minutes=30))
    seen("joining:" + joining.destination, EXPIRES - timedelta(minutes=30))

    expired = sweep.run_once(after, network=NETWORK)
    seen("joining:" + joining.destination, after)
    once_caught_up = sweep.run_once(after, network=NETWORK)

    assert (expired, once_caught_up) == (1, 1)
    assert [status_of(each) for each in (joined, joining, unknown)] == ["EXPIRED", "EXPIRED", "PENDING"]


def test_a_submission_that_cannot_be_recorded_keeps_no_other_waiting(signed, monkeypatch):
    invoice, envelope, server = signed
    now = datetime.now(UTC)
    claim = {
        "merchant_id": invoice.merchant_id,
        "network": NETWORK,
        "invoice_id": invoice.id,
        "origin": "page",
    }
    broken = submit_hash(**claim, text="e" * 64, now=now - timedelta(seconds=5)).submission.id
    good = submit_hash(**claim, text=envelope.hash_hex(), now=now).submission.id
    server.submit_transaction(envelope, skip_memo_required_check=True)
    real = verify_submissions.retry_submission

    def retry(*, submission_id, **named):
        if submission_id == broken:
            raise DataError("numeric field overflow", {}, Exception())
        return real(submission_id=submission_id, **named)

    monkeypatch.setattr(verify_submissions, "retry_submission", retry)

    looked = verify_submissions.run_once(now + timedelta(minutes=1), network=NETWORK)

    assert looked == 2
    assert db.session.scalar(select(Submission.state).where(Submission.id == good)) == "ACCEPTED"
    assert status_of(invoice) == "PAID"


def test_a_claim_that_nobody_can_check_is_given_up_after_a_week(as_worker):
    claim = Submission(started_at=NOON, attempts=3, state="CHECKING")
    for age, state in ((timedelta(days=6), "CHECKING"), (submissions.ABANDON_AFTER, "NOT_FOUND")):
        submissions.postpone(claim, now=NOON + age, is_absent=False)
        assert claim.state == state
