"""Payments outside the network, recorded by a person with a reason, and undone the same way."""

from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import insert

from portal.db import tenant
from portal.domain.audit import service as audit
from portal.domain.invoices.receipts import debtor_of
from portal.domain.ledger import rules as postings
from portal.domain.merchants.models import Merchant
from portal.domain.payments.booking import Desk, live_allocations
from portal.domain.payments.credit import check_amount, rest_of
from portal.domain.payments.decisions import (
    BookedElsewhere,
    credit_held,
    lock_accounts,
    refuse_overdraft,
    required_note,
)
from portal.domain.payments.models import ExternalPayment
from portal.domain.payments.settlement import Change, policy_of, resettle
from portal.extensions import db
from portal.kernel.errors import Invalid, NotFound
from portal.kernel.money import format_units, to_stroops
from portal.kernel.refs import new_id, to_ref

METHODS = ("cash", "bank", "other")


class ExternalPaymentNotFound(NotFound):
    code = "external_payment_not_found"


class DateInFuture(Invalid):
    code = "date_in_future"


def record_external(
    *,
    merchant: Merchant,
    desk: Desk,
    invoice_id: UUID,
    amount: Decimal,
    method: str,
    reason: str,
    received_on: date,
) -> ExternalPayment:
    """Give an invoice money that came outside the network, at most what is due; Dr external, Cr receivable.

    :raises InvoiceNotPayable: unless money is due on it.
    :raises AmountTooLarge: for more than is due.
    :raises NoteMissing: without a reason.
    :raises DateInFuture: for a day that has not come anywhere on earth.
    """
    assert method in METHODS and amount > 0, (method, amount)
    if (received_on - desk.now.date()).days > 1:
        raise DateInFuture("This day has not come yet.", pointer="/received_on")
    account = lock_accounts(desk, [invoice_id])[invoice_id]
    check_amount(amount, rest_of(account))
    invoice = account.invoice
    row = ExternalPayment(
        id=new_id(),
        merchant_id=desk.merchant_id,
        network=desk.network,
        invoice_id=invoice_id,
        asset=invoice.asset,
        amount=amount,
        method=method,
        reason=required_note(reason, pointer="/reason"),
        received_on=received_on,
        created_at=desk.now,
    )
    values = {each.key: getattr(row, each.key) for each in ExternalPayment.__mapper__.column_attrs}
    db.session.execute(insert(ExternalPayment), values)
    lines = postings.external_postings(debtor_id=debtor_of(invoice), amount=amount)
    journal_id = desk.post("external", invoice.asset, row.id, lines)
    desk.allocate(invoice, source="external", source_id=row.id, amount=amount, journal_id=journal_id)
    resettle(desk, account, policy_of(merchant), Change(to_stroops(amount), 0, desk.now))
    _audit(desk, row, "external_payment.recorded", row.reason)
    return row


def undo_external(*, merchant: Merchant, desk: Desk, external_id: UUID, reason: str) -> ExternalPayment:
    """Take a payment recorded by hand back; the row stays, its journal is reversed.

    :raises BookedElsewhere: when it was taken back before, or the client's credit that would fill the gap was spent.
    """
    statement = tenant(ExternalPayment, desk.merchant_id).where(ExternalPayment.id == external_id)
    row = db.session.scalars(statement).one_or_none()
    if row is None:
        raise ExternalPaymentNotFound("No such payment.")
    note = required_note(reason, pointer="/reason")
    account = lock_accounts(desk, [row.invoice_id])[row.invoice_id]
    standing = live_allocations(desk.merchant_id, source_id=external_id)
    if not standing:
        raise BookedElsewhere("This payment was undone before.")
    held = credit_held(desk, [account])
    for allocation in standing:
        desk.take_back(allocation, desk.reverse(allocation.journal_id))
    resettle(desk, account, policy_of(merchant), Change(-to_stroops(row.amount)))
    refuse_overdraft(desk, [account], held)
    _audit(desk, row, "external_payment.undone", note)
    return row


def list_external(*, merchant_id: UUID, invoice_id: UUID) -> list[tuple[ExternalPayment, bool]]:
    """Return the payments recorded by hand for an invoice, newest first, and whether each still counts."""
    statement = tenant(ExternalPayment, merchant_id).where(ExternalPayment.invoice_id == invoice_id)
    rows = list(db.session.scalars(statement.order_by(ExternalPayment.id.desc()).limit(100)))
    if not rows:
        return []
    standing = {each.source_id for each in live_allocations(merchant_id, invoice_id=invoice_id)}
    return [(row, row.id in standing) for row in rows]


def _audit(desk: Desk, row: ExternalPayment, action: str, reason: str) -> None:
    audit.record(
        action,
        merchant_id=desk.merchant_id,
        object_ref=to_ref("ext", row.id),
        after={
            "invoice": to_ref("inv", row.invoice_id),
            "amount": format_units(row.amount),
            "method": row.method,
            "reason": reason,
        },
        at=desk.now,
    )
