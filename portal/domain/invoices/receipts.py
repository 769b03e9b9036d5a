"""Money arriving at an invoice, and what its books say when it will not arrive."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from portal.domain.invoices import queries
from portal.domain.invoices.announcements import WrittenInvoice, changed
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.rules import InvoiceStatus, check_transition
from portal.domain.ledger import queries as ledger_queries
from portal.domain.ledger import rules as postings
from portal.domain.ledger import service as ledger


def receive(
    invoice: Invoice,
    *,
    amount: Decimal,
    excess: Decimal,
    flags: tuple[str, ...],
    paid_at: datetime,
    now: datetime,
) -> WrittenInvoice | None:
    """Add allocated money (units of the invoice's asset) to a locked invoice and move its status.

    Allocation rows and their journals are the caller's; returns None when nothing about the invoice changed.
    """
    assert amount >= 0 and excess >= 0, (amount, excess)
    new_flags = sorted({*invoice.flags, *flags})
    if amount == 0 and excess == 0 and new_flags == sorted(invoice.flags):
        return None
    invoice.amount_received += amount
    invoice.overpaid_by += excess
    assert invoice.amount_received <= invoice.amount, invoice.id
    invoice.flags = new_flags
    was_expired = invoice.status == InvoiceStatus.EXPIRED
    if was_expired and amount > 0:
        _reopen_books(invoice, now)
    became_paid = invoice.amount_received == invoice.amount and invoice.status != InvoiceStatus.PAID
    if became_paid:
        check_transition(invoice.status, InvoiceStatus.PAID)
        invoice.status = InvoiceStatus.PAID.value
        invoice.paid_at = paid_at
        invoice.closed_at = None
    elif was_expired and amount > 0:
        write_off(invoice, now)
    lines = queries.lines_of(merchant_id=invoice.merchant_id, invoice_id=invoice.id)
    written = None
    if became_paid:
        written = changed("invoice.paid", invoice, lines, now)
    elif amount > 0:
        written = changed("invoice.partially_paid", invoice, lines, now)
    if excess > 0:
        written = changed("invoice.overpaid", invoice, lines, now)
    return written or changed("invoice.updated", invoice, lines, now)


def debtor_of(invoice: Invoice) -> UUID:
    """Receivable and credit belong to the client, or to the invoice when it has none (design, section 6)."""
    return invoice.client_id or invoice.id


def write_off(invoice: Invoice, now: datetime) -> None:
    """Book what a closed invoice will not bring: Dr write-off, Cr receivable, for the unpaid rest."""
    ledger.post(
        merchant_id=invoice.merchant_id,
        network=invoice.network,
        asset=invoice.asset,
        kind="close",
        reference_id=invoice.id,
        postings=postings.close_postings(
            debtor_id=debtor_of(invoice), rest=invoice.amount - invoice.amount_received
        ),
        at=now,
    )


def _reopen_books(invoice: Invoice, now: datetime) -> None:
    """Late money is accepted: what was written off at expiry is owed again before it is paid."""
    written_off = ledger_queries.find_open_close_journal(
        merchant_id=invoice.merchant_id, invoice_id=invoice.id
    )
    if written_off is not None:
        ledger.reverse(merchant_id=invoice.merchant_id, journal_id=written_off, at=now)
