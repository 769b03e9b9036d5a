"""A shop in which people decided about money in every way there is, by the real services."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select
from stellar_sdk import AccountMerge, Asset, IdMemo, Keypair
from stellar_sdk import Payment as StellarPayment

from config import SANDBOX_PASSPHRASE
from portal.adapters.horizon_records import observe, read_transaction
from portal.db import run_transaction
from portal.domain.clients import rules as client_rules
from portal.domain.clients import service
from portal.domain.clients.models import Client
from portal.domain.invoices import service as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.payments import credit, decisions, external
from portal.domain.payments.decisions import Part
from portal.domain.payments.models import Payment
from portal.extensions import db
from portal.kernel.chain import CLAWBACK, Debit, ObservedTransaction
from tests.cases.signing import Signed, sign
from tests.support.builders import (
    ISSUER,
    NETWORK,
    NOON,
    Shop,
    make_draft,
    make_invoice,
    make_shop,
    make_transfer,
)
from tests.support.money import decide, record
from tests.support.refunding import again, promise, sending, settle

DOLLARS = f"USDC:{ISSUER}"
NAMELESS = {"memo_type": "none", "memo": None}
LATER = NOON + timedelta(days=30)


def make_decided_shop() -> dict[str, Any]:
    """Return the ids of what the cases name; money of each kind of decision, undone ones too, is in the books."""
    shop = make_shop(tolerance=Decimal("0.5"))
    client = run_transaction(lambda: _client(shop))
    ids: dict[str, Any] = {"desk": shop.id, "desk_client": client}
    ids |= _matched(shop)
    ids |= _credited(shop, client)
    ids |= _paid_elsewhere(shop)
    _clawed_back(shop)
    _out_of_order(shop)
    return ids | _really_signed(shop)


def arrive(shop: Shop, amount: str, *, asset: str = "native", ledger: int = 51_203_904) -> UUID:
    """Let money without a reference reach the shop and return its payment's id."""
    named = make_invoice(shop, amount=amount, asset=asset)
    run_transaction(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=named.id, now=NOON))
    transfer = make_transfer(named, ledger=ledger, **NAMELESS)
    return record(shop, transfer).payments[0].id


def match(shop: Shop, payment_id: UUID, *parts: tuple[Invoice, str]) -> Payment:
    chosen = [Part(invoice.id, Decimal(amount)) for invoice, amount in parts]
    return decide(shop, decisions.match, payment_id=payment_id, parts=chosen)


def invoice_of(shop: Shop, client_id: UUID, amount: str = "90") -> Invoice:
    """Issue an invoice to a client of the shop."""

    def work() -> UUID:
        shop.enter()
        merchant = db.session.get_one(Merchant, shop.id)
        wallet = db.session.scalars(select(Wallet).where(Wallet.merchant_id == shop.id)).one()
        client = db.session.get_one(Client, client_id)
        draft = make_draft(amount=amount)
        terms = IssueTerms(wallet)
        return invoices.create(
            merchant=merchant, network=NETWORK, draft=draft, client=client, terms=terms, now=NOON
        ).invoice.id

    return db.session.get_one(Invoice, run_transaction(work))


def make_refund(
    shop: Shop,
    payment_id: UUID,
    amount: str,
    *,
    credit: str = "0",
    revenue: str = "0",
    status: str = "COMPLETED",
) -> UUID:
    """Send `amount` of a payment back, borne by credit and revenue as told and by suspense for the rest."""
    refund = promise(shop, db.session.get_one(Payment, payment_id), amount)
    if status == "COMPLETED":
        settle(shop, refund.id, sending(refund))
        borne = again(refund)
        assert (borne.from_credit, borne.from_revenue) == (Decimal(credit), Decimal(revenue))
    return refund.id


def _client(shop: Shop) -> UUID:
    shop.enter()
    details = client_rules.details(name="Rina", email="rina@example.com")
    return service.create(merchant_id=shop.id, details=details, now=NOON).id


def _matched(shop: Shop) -> dict[str, Any]:
    first, second, third = (make_invoice(shop, amount=amount) for amount in ("90", "30", "40"))
    matched = arrive(shop, "60")
    match(shop, matched, (first, "60"))
    record(shop, make_transfer(first, amount="50"))
    split = arrive(shop, "100")
    make_refund(shop, split, "10")
    match(shop, split, (second, "45"), (third, "45"))
    undone = arrive(shop, "33")
    match(shop, undone, (make_invoice(shop, amount="33"), "33"))
    decide(shop, decisions.unmatch, payment_id=undone)
    decide(shop, decisions.ignore, payment_id=arrive(shop, "5"), note="a gift")
    restored = arrive(shop, "6")
    decide(shop, decisions.ignore, payment_id=restored, note="a gift")
    decide(shop, decisions.restore, payment_id=restored)
    return {"matched_payment": matched, "split_payment": split, "matched_invoice": first.id}


def _credited(shop: Shop, client: UUID) -> dict[str, Any]:
    over, next_one, moved = (invoice_of(shop, client) for _ in range(3))
    overpaid = record(shop, make_transfer(over, amount="150")).payments[0].id
    decide(shop, credit.apply_credit, invoice_id=next_one.id, amount=Decimal(25))
    record(shop, make_transfer(moved, amount="20"))
    match(shop, arrive(shop, "10"), (moved, "10"))
    decide(shop, credit.move_to_credit, invoice_id=moved.id)
    run_transaction(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=moved.id, now=NOON))
    refund = make_refund(shop, overpaid, "70", credit="60", revenue="10")
    make_refund(shop, overpaid, "7", status="PENDING")
    return {"refund": refund, "overpaid_payment": overpaid, "credited": next_one.id}


def _paid_elsewhere(shop: Shop) -> dict[str, Any]:
    def pay(amount: str) -> UUID:
        given = {"method": "cash", "reason": "at the counter", "received_on": NOON.date()}
        return decide(
            shop, external.record_external, invoice_id=invoice.id, amount=Decimal(amount), **given
        ).id

    invoice = make_invoice(shop)
    kept, undone = pay("30"), pay("20")
    decide(shop, external.undo_external, external_id=undone, reason="counted twice")
    return {"external": kept, "cash_invoice": invoice.id}


def _clawed_back(shop: Shop) -> None:
    """Lose a payment of each kind, one whose money was moved to credit, and a sum that no payment brought."""
    auto, matched, moved = (make_invoice(shop, amount=amount, asset=DOLLARS) for amount in ("11", "12", "13"))
    record(shop, make_transfer(auto))
    match(shop, arrive(shop, "12", asset=DOLLARS), (matched, "12"))
    arrive(shop, "14", asset=DOLLARS)
    record(shop, make_transfer(moved, amount="9"))
    decide(shop, credit.move_to_credit, invoice_id=moved.id)
    kept = make_invoice(shop, amount="100", asset=DOLLARS)
    record(shop, make_transfer(kept))
    for place, amount in enumerate(("11", "12", "14", "9", "1")):
        debit = Debit(0, shop.wallet, ISSUER, DOLLARS, int(amount) * 10_000_000, CLAWBACK)
        transfer = make_transfer(auto, ledger=51_300_000 + place, credits=(), debits=(debit,), **NAMELESS)
        record(shop, replace(transfer, closed_at=NOON + timedelta(hours=1)))


def _really_signed(shop: Shop) -> dict[str, Any]:
    """Record two transactions as a Horizon gave them: a payment by its memo, and an account merged into the wallet."""
    invoice = make_invoice(shop)
    assert invoice.pay_ref is not None
    paid = _observed(
        sign(
            [StellarPayment(shop.wallet, Asset.native(), "90")],
            payer=Keypair.random(),
            memo=IdMemo(invoice.pay_ref),
            passphrase=SANDBOX_PASSPHRASE,
            closed_at=NOON,
        )
    )
    merged = _observed(
        sign(
            [AccountMerge(shop.wallet)], payer=Keypair.random(), passphrase=SANDBOX_PASSPHRASE, closed_at=NOON
        )
    )
    record(shop, merged)
    payment_id = record(shop, paid).payments[0].id
    return {"signed_payment": payment_id, "signed_invoice": invoice.id, "signed_hash": paid.canonical_hash}


def _observed(signed: Signed) -> ObservedTransaction:
    checked, envelope = read_transaction(signed.record, SANDBOX_PASSPHRASE)
    return observe(checked, envelope, signed.operations, lambda operation_id, address: 410_000_000)


def _out_of_order(shop: Shop) -> None:
    """Top a payment within the tolerance up, be paid late, and see the first of two payments last."""
    short, late, twice = make_invoice(shop), make_invoice(shop), make_invoice(shop)
    record(shop, make_transfer(short, amount="89.6"))
    record(shop, make_transfer(short, amount="0.4", ledger=51_203_905))
    run_transaction(lambda: invoices.expire(merchant_id=shop.id, invoice_id=late.id, now=LATER))
    record(shop, make_transfer(late, closed_at=LATER))
    for ledger in (51_203_906, 51_203_904):
        record(shop, make_transfer(twice, amount="60", ledger=ledger))
