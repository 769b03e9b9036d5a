"""Refunds asked for, sent and found at the same moment: never more than came in, each booked once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from threading import Barrier

import pytest
from sqlalchemy import select
from stellar_sdk import IdMemo, Keypair, TransactionEnvelope

from config import SANDBOX_PASSPHRASE
from portal.db import run_transaction
from portal.domain.ledger.models import LedgerJournal
from portal.domain.payments.models import Payment
from portal.domain.refunds import service
from portal.domain.refunds.models import Refund
from portal.domain.refunds.rules import Memo, NotRefundable
from portal.domain.refunds.service import AmountTooLarge
from portal.extensions import db
from portal.flows.prepare_refund import Plan, create_refund
from portal.flows.settle_refund import follow_refund, submit_refund_hash
from portal.flows.submit_hash import submit_hash
from portal.sandbox.client import fund, play_payment
from tests.support.builders import NETWORK, make_invoice, make_shop, make_transfer
from tests.support.chain_acts import funded
from tests.support.money import balances, broken_invariants, make_desk, only_payment, record
from tests.support.refunding import promise, sending

AT_ONCE = 6


def at_once(app, work, number=AT_ONCE):
    """Run `work(index)` at the same moment in `number` threads, each with a session of its own."""
    barrier = Barrier(number)

    def run(index):
        with app.app_context():
            barrier.wait()
            return work(index)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


@pytest.fixture
def worker_app(desk):
    """The worker on books of its own: what other tests break on purpose is none of these."""
    return desk.app


@pytest.fixture
def paid(worker_app):
    """A shop that received 90 XLM for an invoice, and the payment's id."""
    with worker_app.app_context():
        shop = make_shop()
        record(shop, make_transfer(make_invoice(shop)))
        return shop, only_payment(shop).id


def journals(shop):
    rows = select(LedgerJournal).where(LedgerJournal.merchant_id == shop.id, LedgerJournal.kind == "refund")
    return len(db.session.scalars(rows).all())


def test_refunds_asked_for_at_once_never_exceed_the_payment(worker_app, paid):
    shop, payment_id = paid

    def ask(_):
        try:
            run_transaction(
                lambda: service.create(
                    desk=make_desk(shop),
                    payment_id=payment_id,
                    amount=Decimal(40),
                    reason="twice",
                    memo=Memo(),
                )
            )
        except (AmountTooLarge, NotRefundable):
            return False
        return True

    assert sorted(at_once(worker_app, ask)) == [False] * 4 + [True] * 2
    with worker_app.app_context():
        assert db.session.get_one(Payment, payment_id).refund_reserved == 80


def test_one_transaction_completes_one_of_many_refunds(worker_app, paid):
    shop, payment_id = paid
    with worker_app.app_context():
        payment = db.session.get_one(Payment, payment_id)
        record(shop, make_transfer(make_invoice(shop)))
        other = db.session.scalars(
            select(Payment).where(Payment.merchant_id == shop.id, Payment.id != payment_id)
        ).one()
        promised = [promise(shop, each, "10") for each in (payment, other) for _ in range(AT_ONCE // 2)]
        sent = sending(promised[0])
        ids = [refund.id for refund in promised]

    def settle(index):
        outcome = run_transaction(
            lambda: service.settle(desk=make_desk(shop), refund_id=ids[index], transaction=sent)
        )
        return outcome.code or "completed"

    assert sorted(at_once(worker_app, settle)) == ["completed"] + ["hash_used"] * 5
    with worker_app.app_context():
        assert journals(shop) == 1 and balances(shop)["wallet"] == 170
        assert broken_invariants() == []


def test_a_refund_cancelled_and_completed_at_once_is_one_of_both(worker_app, paid):
    shop, payment_id = paid
    with worker_app.app_context():
        refund = promise(shop, db.session.get_one(Payment, payment_id))
        sent, refund_id = sending(refund), refund.id

    def do(index):
        work = (
            (lambda: service.cancel(desk=make_desk(shop), refund_id=refund_id))
            if index % 2
            else (lambda: service.settle(desk=make_desk(shop), refund_id=refund_id, transaction=sent))
        )
        try:
            run_transaction(work)
        except service.RefundClosed:
            return "late"
        return "done"

    at_once(worker_app, do)

    with worker_app.app_context():
        payment, done = db.session.get_one(Payment, payment_id), db.session.get_one(Refund, refund_id)
        assert (done.status, payment.refunded, payment.refund_reserved) in {
            ("CANCELLED", 0, 0),
            ("COMPLETED", 90, 0),
        }
        assert journals(shop) == (done.status == "COMPLETED")
        assert broken_invariants() == []


@pytest.mark.timeout(120)
def test_a_payment_is_sent_back_by_the_wallet_s_own_signature_and_booked_once(sandbox, desk):
    worker = desk.app
    payer, now = funded(sandbox), datetime.now(UTC)
    with worker.app_context():
        shop = make_shop()
        fund(sandbox.url, shop.wallet)
        invoice = make_invoice(shop, now=now)
        paid_by = play_payment(
            sandbox.url, SANDBOX_PASSPHRASE, payer.secret, shop.wallet, "native", Decimal(120),
            IdMemo(invoice.pay_ref),
        )  # fmt: skip
        scope = {"merchant_id": shop.id, "network": NETWORK}
        submit_hash(**scope, invoice_id=invoice.id, text=paid_by, origin="portal", now=now)
        plan = Plan(Decimal(50), "ordered less", Memo("id", "77"))
        refund = create_refund(**scope, payment_id=only_payment(shop).id, plan=plan, now=now)
        refund_id, expected = refund.id, refund.expected_hashes[-1]
        envelope = TransactionEnvelope.from_xdr(refund.envelope_xdr, SANDBOX_PASSPHRASE)
        envelope.sign(Keypair.from_secret(shop.wallet_secret))
        assert envelope.hash_hex() == expected, "signatures do not change the hash"
        ticket = sandbox.ledger.submit(envelope.to_xdr())
        assert ticket.done.wait(10)

    def find(index):
        if index % 2:
            return follow_refund(merchant_id=shop.id, refund_id=refund_id, now=now).status
        answer = submit_refund_hash(**scope, refund_id=refund_id, text=ticket.hash, now=now)
        return answer.refund.status

    assert at_once(worker, find) == ["COMPLETED"] * AT_ONCE

    with worker.app_context():
        done = db.session.get_one(Refund, refund_id)
        assert (done.transaction_hash, done.from_credit, done.from_revenue) == (expected, 30, 20)
        assert journals(shop) == 1 and balances(shop) == {"wallet": 70, "income": -90, "refunds": 20}
        assert only_payment(shop).refunded == 50
        assert broken_invariants() == []
