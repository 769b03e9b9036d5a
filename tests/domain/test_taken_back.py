"""Money that is taken back never leaves a client in debt by itself, nor an invoice below nothing."""

from decimal import Decimal

import pytest

from portal.db import run_transaction
from portal.domain.clients.models import Client
from portal.domain.invoices import service as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.payments import credit, decisions, external
from portal.domain.payments.decisions import BookedElsewhere, Part
from portal.extensions import db
from portal.kernel.chain import CLAWBACK, Debit
from tests.support.builders import ISSUER, NETWORK, NOON, make_draft, make_invoice, make_shop, make_transfer
from tests.support.money import balances, broken_invariants, decide, record

NAMELESS = {"memo_type": "none", "memo": None}
CASH = {"method": "cash", "reason": "at the counter", "received_on": NOON.date()}


@pytest.fixture
def shop(desk):
    yield make_shop()
    assert broken_invariants() == []


def invoice_pair(shop, asset="native"):
    """Return two invoices of 90 to one client."""

    def work():
        shop.enter()
        client = Client(merchant_id=shop.id, name="Rina")
        db.session.add(client)
        db.session.flush()
        merchant = db.session.get_one(Merchant, shop.id)
        wallet = db.session.scalars(db.select(Wallet).where(Wallet.merchant_id == shop.id)).one()
        return [
            invoices.create(
                merchant=merchant, network=NETWORK, draft=make_draft(asset=asset), client=client, terms=IssueTerms(wallet),
                now=NOON,
            ).invoice.id
            for _ in range(2)
        ]  # fmt: skip

    return [db.session.get_one(Invoice, each) for each in run_transaction(work)]


def claw_back(shop, invoice, stroops):
    debit = Debit(0, shop.wallet, ISSUER, invoice.asset, stroops, CLAWBACK)
    record(shop, make_transfer(invoice, ledger=51_300_000, credits=(), debits=(debit,), **NAMELESS))


def match(shop, invoice, amount):
    transfer = make_transfer(invoice, amount=amount, **NAMELESS)
    payment_id = record(shop, transfer).payments[0].id
    parts = [Part(invoice.id, Decimal(amount))]
    decide(shop, decisions.match, payment_id=payment_id, parts=parts)
    return payment_id


class TestSpentCredit:
    """Another payment's excess would fill the gap, but it paid the other invoice meanwhile."""

    def test_keeps_a_match(self, shop):
        first, second = invoice_pair(shop)
        payment_id = match(shop, first, "50")
        record(shop, make_transfer(first))
        decide(shop, credit.apply_credit, invoice_id=second.id)

        with pytest.raises(BookedElsewhere):
            decide(shop, decisions.unmatch, payment_id=payment_id)

    def test_keeps_a_payment_in_cash(self, shop):
        first, second = invoice_pair(shop)
        given = {"invoice_id": first.id, "amount": Decimal(50), **CASH}
        row_id = decide(shop, external.record_external, **given).id
        record(shop, make_transfer(first))
        decide(shop, credit.apply_credit, invoice_id=second.id)

        with pytest.raises(BookedElsewhere):
            decide(shop, external.undo_external, external_id=row_id, reason="counted twice")

    def test_taken_back_by_the_issuer_stops_nothing_that_leaves_the_debt_as_it_is(self, shop):
        first, second = invoice_pair(shop, asset=f"USDC:{ISSUER}")
        record(shop, make_transfer(first, amount="100"))
        decide(shop, credit.apply_credit, invoice_id=second.id)
        claw_back(shop, first, 1_000_000_000)
        given = {"invoice_id": second.id, "amount": Decimal(50), **CASH}
        row_id = decide(shop, external.record_external, **given).id

        decide(shop, external.undo_external, external_id=row_id, reason="counted twice")

        assert balances(shop, first.asset) == {"client_credit": 10, "receivable": 170, "income": -180}


def test_a_clawback_of_a_match_that_was_moved_to_credit_takes_the_credit_alone(shop):
    invoice = make_invoice(shop, amount="90", asset=f"USDC:{ISSUER}")
    match(shop, invoice, "13")
    decide(shop, credit.move_to_credit, invoice_id=invoice.id)

    claw_back(shop, invoice, 130_000_000)

    assert (invoice.amount_received, balances(shop, invoice.asset)) == (0, {"receivable": 90, "income": -90})
