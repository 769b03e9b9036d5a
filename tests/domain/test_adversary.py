"""Sequences by which somebody could make the books say what is not true; each was possible once."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from portal.db import run_transaction
from portal.domain.clients.models import Client
from portal.domain.events.models import Event
from portal.domain.invoices import service as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.payments import credit, decisions, external, queries
from portal.domain.payments.decisions import Part
from portal.domain.payments.models import Clawback, Payment
from portal.domain.refunds import service as refunds
from portal.domain.refunds.rules import Memo
from portal.extensions import db
from portal.flows.verify_ledger import verify_ledger
from portal.kernel.chain import CLAWBACK, Credit, Debit
from portal.kernel.refs import to_ref
from tests.concurrency.test_decisions_at_once import at_once
from tests.support.builders import ISSUER, NETWORK, NOON, make_draft, make_invoice, make_shop, make_transfer
from tests.support.money import balances, broken_invariants, decide, make_desk, record

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

    def test_undoes_what_is_promised_to_be_sent_back(self, desk, shop):
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
        assert (payment.status, payment.refund_reserved) in {("REVERSED", 0), ("REVERSED", 90)}


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


def for_a_client(shop, *amounts):
    """Issue invoices of one client and return them with the client's id."""

    def work():
        shop.enter()
        client = Client(merchant_id=shop.id, name="Rina")
        db.session.add(client)
        db.session.flush()
        wallet = db.session.scalars(select(Wallet).where(Wallet.merchant_id == shop.id)).one()
        issued = [
            invoices.create(
                merchant=db.session.get_one(Merchant, shop.id),
                network=NETWORK,
                draft=make_draft(amount=amount, asset=ASSET),
                client=client,
                terms=IssueTerms(wallet),
                now=NOON,
            ).invoice.id
            for amount in amounts
        ]
        return client.id, issued

    client_id, ids = run_transaction(work)
    return client_id, *(db.session.get_one(Invoice, each) for each in ids)


class TestSpentExcess:
    """An excess that was refunded or spent cannot pay the gap that a clawback opens."""

    def pay_twice_and_lose_the_first(self, shop, invoice, between):
        for amount, ledger in (("90", 51_200_000), ("95", 51_200_001)):
            record(shop, make_transfer(invoice, amount=amount, ledger=ledger))
        between()
        record(shop, clawback(shop, invoice))

    def test_that_was_spent_on_another_invoice_leaves_the_first_one_open(self, shop):
        client_id, first, second = for_a_client(shop, "90", "95")
        self.pay_twice_and_lose_the_first(
            shop, first, lambda: decide(shop, credit.apply_credit, invoice_id=second.id)
        )

        assert (first.status, first.amount_received, first.flags) == (
            "PAID", 0, ["duplicate", "overpaid", "reversed"],
        )  # fmt: skip
        assert (second.status, second.amount_received) == ("PAID", 95)
        held = credit.credit_of(merchant_id=shop.id, network=NETWORK, debtor_id=client_id, asset=ASSET)
        assert held == 0
        assert [each for step in verify_ledger() for each in step.differences] == []

        record(shop, make_transfer(first, ledger=51_400_000))
        assert (first.status, first.amount_received) == ("PAID", 90)
        assert "reversed" not in first.flags

    def test_that_is_still_the_client_s_pays_the_gap(self, shop):
        _, first = for_a_client(shop, "90")
        self.pay_twice_and_lose_the_first(shop, first, lambda: None)
        assert (first.status, first.amount_received, first.flags) == ("PAID", 90, ["overpaid"])

    def test_that_was_spent_in_part_pays_a_part_of_the_gap(self, shop):
        _, first, second = for_a_client(shop, "90", "35")
        self.pay_twice_and_lose_the_first(
            shop, first, lambda: decide(shop, credit.apply_credit, invoice_id=second.id)
        )
        assert (first.amount_received, first.overpaid_by, first.withheld) == (60, 35, 35)


def test_money_in_cash_after_money_on_the_chain_is_when_the_invoice_was_paid(shop):
    invoice = make_invoice(shop)
    record(shop, make_transfer(invoice, amount="60"))
    later = NOON + timedelta(days=3)

    decide(
        shop,
        external.record_external,
        invoice_id=invoice.id,
        amount=Decimal(30),
        method="cash",
        reason="at the counter",
        received_on=later.date(),
        desk=make_desk(shop, later),
    )

    assert (invoice.status, invoice.paid_at) == ("PAID", later)
