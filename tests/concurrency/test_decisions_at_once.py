"""Two people, a person and the chain, or two machines decide about the same money in the same moment."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier

import pytest
from sqlalchemy import select

from portal.db import leave_tenant, run_transaction
from portal.domain.clients.models import Client
from portal.domain.invoices import service as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.payments import credit, decisions, external
from portal.domain.payments.decisions import Part
from portal.domain.payments.models import Payment
from portal.domain.refunds import service as refunds
from portal.domain.refunds.rules import Memo
from portal.extensions import db
from portal.kernel.errors import TagihError
from tests.support.builders import NETWORK, NOON, make_draft, make_invoice, make_shop, make_transfer
from tests.support.money import broken_invariants, decide, make_desk, record

NAMELESS = {"memo_type": "none", "memo": None}
ROUNDS = 4


def at_once(app, *works):
    """Run every work in a thread of its own, all from one moment on; return what each came to, as words."""
    barrier = Barrier(len(works))

    def run(work):
        with app.app_context():
            barrier.wait()
            try:
                work()
            except TagihError as refusal:
                return type(refusal).__name__
            finally:
                leave_tenant()
                db.session.remove()
            return "done"

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


@pytest.fixture
def shop(desk):
    yield make_shop()
    db.session.rollback()
    leave_tenant()
    assert broken_invariants() == []


def arrive(shop, invoice, amount="90"):
    found = record(shop, make_transfer(invoice, amount=amount, **NAMELESS))
    (payment_id,) = found.new_payment_ids
    return payment_id


def fresh(model, row_id):
    db.session.rollback()
    return db.session.get_one(model, row_id, populate_existing=True)


def doing(shop, work, **given):
    """Return a decision as something a thread can do on its own."""
    return lambda: decide(shop, work, desk=make_desk(shop), **given)


class TestOnePayment:
    def test_is_matched_by_one_of_many(self, desk, shop):
        for _ in range(ROUNDS):
            chosen = [make_invoice(shop).id for _ in range(4)]
            payment_id = arrive(shop, db.session.get_one(Invoice, chosen[0]))
            works = [
                doing(shop, decisions.match, payment_id=payment_id, parts=[Part(each, Decimal(90))])
                for each in chosen
            ]

            told = Counter(at_once(desk.app, *works))

            assert told == {"done": 1, "PaymentNotUnmatched": 3}
            assert [fresh(Invoice, each).status for each in chosen].count("PAID") == 1

    def test_is_matched_ignored_or_refunded_but_only_one_of_them(self, desk, shop):
        for _ in range(ROUNDS):
            invoice = make_invoice(shop)
            payment_id = arrive(shop, invoice)
            whole = {"payment_id": payment_id, "amount": Decimal(90)}
            told = at_once(
                desk.app,
                doing(shop, decisions.match, payment_id=payment_id, parts=[Part(invoice.id, Decimal(90))]),
                doing(shop, decisions.ignore, payment_id=payment_id, note="a gift"),
                doing(shop, refunds.create, **whole, reason="sent twice", memo=Memo()),
                doing(shop, refunds.create, **whole, reason="sent twice", memo=Memo()),
            )

            payment = fresh(Payment, payment_id)
            assert told.count("done") in {1, 2}, told
            # What is matched or set aside may still be refunded afterwards, but nothing is promised twice.
            assert payment.refund_reserved in {0, 90}
            assert told[2:].count("done") <= 1
            assert told[:2].count("done") <= 1

    def test_is_seen_again_while_a_person_decides(self, desk, shop):
        for _ in range(ROUNDS):
            invoice = make_invoice(shop)
            transfer = make_transfer(invoice, **NAMELESS)
            (payment_id,) = record(shop, transfer).new_payment_ids
            works = [lambda transfer=transfer: record(shop, transfer)] * 3
            parts = [Part(invoice.id, Decimal(90))]
            told = at_once(desk.app, doing(shop, decisions.match, payment_id=payment_id, parts=parts), *works)
            assert told == ["done"] * 4
            assert fresh(Invoice, invoice.id).amount_received == 90


class TestOneInvoice:
    def test_gets_matched_external_and_new_money_and_never_more_than_it_asks(self, desk, shop):
        for _ in range(ROUNDS):
            invoice = make_invoice(shop)
            payment_id = arrive(shop, invoice, "60")
            cash = {
                "invoice_id": invoice.id,
                "amount": Decimal(50),
                "method": "cash",
                "reason": "at the counter",
                "received_on": NOON.date(),
            }
            transfers = [make_transfer(invoice, amount="40") for _ in range(2)]
            told = at_once(
                desk.app,
                doing(shop, decisions.match, payment_id=payment_id, parts=[Part(invoice.id, Decimal(60))]),
                doing(shop, external.record_external, **cash),
                *[lambda transfer=transfer: record(shop, transfer) for transfer in transfers],
            )
            found = fresh(Invoice, invoice.id)
            assert set(told) <= {"done", "AmountTooLarge", "InvoiceNotPayable"}
            assert (found.status, found.amount_received) == ("PAID", 90)
            on_books = 140 + (50 if told[1] == "done" else 0)
            assert found.amount_received + found.overpaid_by == on_books

    def test_is_cancelled_or_paid(self, desk, shop):
        for _ in range(ROUNDS):
            invoice = make_invoice(shop)
            payment_id = arrive(shop, invoice)

            def cancel(invoice_id=invoice.id):
                shop.enter()
                run_transaction(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=invoice_id, now=NOON))

            told = at_once(
                desk.app,
                doing(shop, decisions.match, payment_id=payment_id, parts=[Part(invoice.id, Decimal(90))]),
                cancel,
            )
            assert told.count("done") == 1, told
            assert fresh(Invoice, invoice.id).status == ("PAID" if told[0] == "done" else "CANCELLED")


def test_the_same_credit_is_spent_once(desk, shop):
    def add():
        shop.enter()
        client = Client(merchant_id=shop.id, name="Rina")
        db.session.add(client)
        db.session.flush()
        wallet = db.session.scalars(select(Wallet).where(Wallet.merchant_id == shop.id)).one()
        return [
            invoices.create(
                merchant=db.session.get_one(Merchant, shop.id),
                network=NETWORK,
                draft=make_draft(),
                client=client,
                terms=IssueTerms(wallet),
                now=NOON,
            ).invoice.id
            for _ in range(5)
        ]

    first, *others = run_transaction(add)
    record(shop, make_transfer(db.session.get_one(Invoice, first), amount="180"))

    told = at_once(desk.app, *[doing(shop, credit.apply_credit, invoice_id=each) for each in others])

    assert Counter(told) == {"done": 1, "CreditTooSmall": 3}
    assert sum(fresh(Invoice, each).amount_received for each in others) == 90
