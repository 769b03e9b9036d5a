"""Money arriving at an invoice, and what its books say when it will not arrive."""

from collections.abc import Iterable
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

# What an invoice's money says of it; other flags (readiness_unknown) are no business of a payment.
MONEY_FLAGS = frozenset({"late", "short", "duplicate", "overpaid", "reversed"})


def settle(
    invoice: Invoice,
    *,
    received: Decimal,
    overpaid_by: Decimal,
    flags: Iterable[str],
    paid_at: datetime | None,
    now: datetime,
) -> WrittenInvoice | None:
    """Write what a locked invoice has received and was overpaid by (units of its asset), and move its status.

    `flags` are those its money explains (late, short, duplicate). Allocation rows and journals are the
    caller's; returns None when nothing about the invoice changed. Money that is taken away again leaves a paid
    invoice PAID with the flag `reversed` (design, section 5).
    """
    assert 0 <= received <= invoice.amount and overpaid_by >= 0, (received, overpaid_by)
    gained, more_excess = received - invoice.amount_received, overpaid_by > invoice.overpaid_by
    was_whole = invoice.status == InvoiceStatus.PAID and invoice.amount_received == invoice.amount
    is_whole = received == invoice.amount
    changes = _money_flags(invoice, flags, overpaid_by, is_whole)
    paid_at = (paid_at or invoice.paid_at or now) if is_whole else invoice.paid_at
    after = (received, overpaid_by, changes, paid_at)
    if after == (invoice.amount_received, invoice.overpaid_by, invoice.flags, invoice.paid_at):
        return None
    was_expired = invoice.status == InvoiceStatus.EXPIRED
    if was_expired and gained != 0:
        _reopen_books(invoice, now)
    invoice.amount_received, invoice.overpaid_by, invoice.flags = received, overpaid_by, changes
    invoice.paid_at = paid_at
    if is_whole and invoice.status != InvoiceStatus.PAID:
        check_transition(invoice.status, InvoiceStatus.PAID)
        invoice.status = InvoiceStatus.PAID.value
        invoice.closed_at = None
    elif was_expired and gained != 0:
        write_off(invoice, now)
    return _announce(
        invoice, became_whole=is_whole and not was_whole, gained=gained, more=more_excess, now=now
    )


def _money_flags(invoice: Invoice, flags: Iterable[str], overpaid_by: Decimal, is_whole: bool) -> list[str]:
    found = {*flags} | {flag for flag in invoice.flags if flag not in MONEY_FLAGS}
    if overpaid_by > 0:
        found.add("overpaid")
    if invoice.status == InvoiceStatus.PAID and not is_whole:
        found.add("reversed")
    return sorted(found)


def _announce(
    invoice: Invoice, *, became_whole: bool, gained: Decimal, more: bool, now: datetime
) -> WrittenInvoice:
    lines = queries.lines_of(merchant_id=invoice.merchant_id, invoice_id=invoice.id)
    written = None
    if became_whole:
        written = changed("invoice.paid", invoice, lines, now)
    elif gained > 0:
        written = changed("invoice.partially_paid", invoice, lines, now)
    if more:
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
    merchant_id = invoice.merchant_id
    for journal_id in ledger_queries.list_standing(
        merchant_id=merchant_id, reference_id=invoice.id, kinds=("close",)
    ):
        ledger.reverse(merchant_id=merchant_id, journal_id=journal_id, at=now)
