"""Which accounts bear a refund, read and held in the transaction that books it."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import select

from portal.domain.invoices.models import Invoice
from portal.domain.ledger import queries as ledger
from portal.domain.payments.booking import Desk, live_allocations
from portal.domain.payments.decisions import invoice_of, parts_of
from portal.domain.payments.models import Payment
from portal.domain.refunds import queries
from portal.domain.refunds.rules import Borne, share_burden
from portal.extensions import db
from portal.kernel.money import ZERO, from_stroops


def bearers_of(desk: Desk, payment: Payment, amount: Decimal, debtor: UUID | None) -> Borne:
    """Return who bears a refund; the client's credit is held until the transaction ends."""
    if payment.status in {"UNMATCHED", "IGNORED"}:
        return share_burden(amount, is_suspense=True, excess=ZERO, credit=ZERO)
    # What an issuer took back is neither in suspense nor anybody's credit any more.
    if payment.status != "CONFIRMED" or debtor is None:
        return share_burden(amount, is_suspense=False, excess=ZERO, credit=ZERO)
    before = queries.borne_before(merchant_id=desk.merchant_id, payment_id=payment.id)
    balance = ledger.balance_for_update(
        merchant_id=desk.merchant_id,
        network=desk.network,
        kind="client_credit",
        asset=payment.asset,
        owner_id=debtor,
    )
    excess = _excess_of(desk, payment, debtor) - before
    return share_burden(amount, is_suspense=False, excess=excess, credit=-balance)


def _excess_of(desk: Desk, payment: Payment, debtor: UUID) -> Decimal:
    """Return how much of a payment became credit of `debtor`: what it was given less what invoices still hold.

    A person may have split the payment over invoices of several clients; each has its own part.
    """
    live = [
        each for each in live_allocations(desk.merchant_id, source_id=payment.id) if each.source == "payment"
    ]
    parts = parts_of(payment)
    if not parts:
        return payment.amount - sum((each.amount for each in live), ZERO)
    owners = select(Invoice.id, Invoice.client_id).where(
        Invoice.merchant_id == desk.merchant_id, Invoice.id.in_([invoice_of(part) for part in parts])
    )
    debtors = {row.id: row.client_id or row.id for row in db.session.execute(owners)}
    given = sum(
        part["allocated_stroops"] + part["excess_stroops"]
        for part in parts
        if debtors[invoice_of(part)] == debtor
    )
    held = sum((each.amount for each in live if debtors.get(each.invoice_id) == debtor), ZERO)
    return from_stroops(given) - held
