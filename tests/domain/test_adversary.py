"""Sequences by which somebody could make the books say what is not true; each was possible once."""

from decimal import Decimal

import pytest
from sqlalchemy import select

from portal.domain.events.models import Event
from portal.domain.payments import decisions, queries
from portal.domain.payments.decisions import Part
from portal.domain.payments.models import Clawback, Payment
from portal.domain.refunds import service as refunds
from portal.domain.refunds.rules import Memo
from portal.extensions import db
from portal.kernel.chain import CLAWBACK, Credit, Debit
from portal.kernel.refs import to_ref
from tests.concurrency.test_decisions_at_once import at_once
from tests.support.builders import ISSUER, NETWORK, make_invoice, make_shop, make_transfer
from tests.support.money import balances, broken_invariants, decide, record

NAMELESS = {"memo_type": "none", "memo": None}
ASSET = f"USDC:{ISSUER}"
OPEN = {"receivable": 90, "income": -90}


@pytest.fixture
def shop(desk):
    yield make_shop()
    db.session.rollback()
    assert broken_invariants() == []


def arrive(shop, invoice, amount="90", **changes):
    """Let unmatched money reach the shop and return its payment's id."""
    return record(shop, make_transfer(invoice, amount=amount, **{**NAMELESS, **changes})).payments[0].id


def match(shop, payment_id, invoice):
    decide(shop, decisions.match, payment_id=payment_id, parts=[Part(invoice.id, invoice.amount)])


def clawback(shop, invoice, stroops=900_000_000, **changes):
    debit = Debit(0, shop.wallet, ISSUER, ASSET, stroops, CLAWBACK)
    facts = {"ledger": 51_300_000, "credits": (), "debits": (debit,), **NAMELESS}
    return make_transfer(invoice, **{**facts, **changes})


class TestClawbackAtOnce:
    """What is chosen before it is locked may be another one's by then."""

    def test_of_the_same_amount_twice_undoes_one_payment_and_is_one_loss(self, desk, shop):
        invoice = make_invoice(shop, asset=ASSET)
        record(shop, make_transfer(invoice))
        taken = [clawback(shop, invoice, ledger=ledger) for ledger in (51_300_000, 51_300_001)]

        done = at_once(desk.app, *(lambda each=each: record(shop, each) for each in taken))

        db.session.rollback()
        undone = db.session.scalars(select(Clawback.payment_id).where(Clawback.merchant_id == shop.id)).all()
        assert (done, undone.count(None)) == (["done", "done"], 1)
        assert balances(shop, ASSET) == OPEN | {"wallet": -90, "write_off": 90}

    def test_undoes_a_match_too_that_comes_between(self, desk, shop):
        invoice = make_invoice(shop, asset=ASSET)
        payment_id = arrive(shop, invoice)
        taken = clawback(shop, invoice)

        at_once(desk.app, lambda: record(shop, taken), lambda: match(shop, payment_id, invoice))

        db.session.rollback()
        assert db.session.get_one(Payment, payment_id).status == "REVERSED"
        assert balances(shop, ASSET) == OPEN

    def test_undoes_nothing_that_is_promised_to_be_sent_back(self, desk, shop):
        invoice = make_invoice(shop, asset=ASSET)
        payment_id = record(shop, make_transfer(invoice)).payments[0].id
        plan = {"amount": Decimal(90), "reason": "sent twice", "memo": Memo()}
        taken = clawback(shop, invoice)

        at_once(
            desk.app,
            lambda: record(shop, taken),
            lambda: decide(shop, refunds.create, payment_id=payment_id, **plan),
        )

        db.session.rollback()
        payment = db.session.get_one(Payment, payment_id)
        assert (payment.status, payment.refund_reserved) in {("REVERSED", 0), ("CONFIRMED", 90)}


def test_a_loss_to_the_issuer_is_not_forgotten_when_the_wallet_pays_itself(shop):
    invoice = make_invoice(shop, asset=ASSET)
    record(shop, make_transfer(invoice))
    record(shop, clawback(shop, invoice, stroops=500_000_000))
    before = balances(shop, ASSET)

    circle = Credit(0, 0, "payment", shop.wallet, shop.wallet, ASSET, 500_000_000)
    record(shop, make_transfer(invoice, credits=(circle,), **NAMELESS))

    assert before == balances(shop, ASSET) == {"wallet": 40, "write_off": 50, "income": -90}


def test_a_match_that_was_undone_makes_no_claim_true(shop):
    first, second = make_invoice(shop), make_invoice(shop)
    transfer = make_transfer(first, **NAMELESS)
    payment_id = record(shop, transfer).payments[0].id
    match(shop, payment_id, first)
    decide(shop, decisions.unmatch, payment_id=payment_id)
    match(shop, payment_id, second)

    def credit_of(invoice):
        return queries.find_credit(
            merchant_id=shop.id,
            network=NETWORK,
            invoice_id=invoice.id,
            transaction_hash=transfer.canonical_hash,
        )

    assert (credit_of(first), credit_of(second).id) == (None, payment_id)
    assert not queries.list_for_invoice(merchant_id=shop.id, invoice_id=first.id)


def test_the_document_of_a_payment_says_what_stands_however_often_people_changed_their_mind(shop):
    invoice = make_invoice(shop)
    payment_id = arrive(shop, invoice)
    for _ in range(queries.PAGE_MAX // 2):
        match(shop, payment_id, invoice)
        decide(shop, decisions.unmatch, payment_id=payment_id)
    match(shop, payment_id, invoice)

    latest = select(Event).where(Event.aggregate_id == payment_id).order_by(Event.version.desc()).limit(1)
    allocations = db.session.scalars(latest).one().payload["allocations"]
    given = {"invoice": to_ref("inv", invoice.id), "source": "payment", "amount": "90.0000000"}
    assert allocations == [given]
