"""Invoices as CSV: the list's own filters, read page by page so that memory stays small."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from portal.db import enter_tenant
from portal.domain.invoices import queries
from portal.domain.invoices.documents import checkout_url, settlement_of
from portal.domain.invoices.models import Invoice
from portal.kernel.assets import asset_code, asset_issuer
from portal.kernel.clock import iso_or_none
from portal.kernel.money import format_units
from portal.kernel.refs import to_ref
from portal.web.csv_files import line, safe_cell

# More than a spreadsheet is pleasant with; whoever needs more narrows the dates.
ROWS_MAX = 50_000
COLUMNS = (
    "id", "number", "status", "settlement", "client", "client_email", "description", "asset_code", "asset_issuer",
    "amount", "amount_received", "amount_due", "overpaid_by", "flags", "created_at", "issued_at", "due_at",
    "expires_at", "paid_at", "reference", "payment_page",
)  # fmt: skip


def rows(*, merchant_id: UUID, network: str, filters: queries.Filters) -> Iterator[str]:
    """Yield the file in pieces, newest invoice first; the last line says when the limit cut it."""
    # The file is made while it is sent, when the session that the request had is closed already.
    enter_tenant(merchant_id=merchant_id)
    yield line(COLUMNS)
    after, written = None, 0
    while written < ROWS_MAX:
        page = queries.list_page(
            merchant_id=merchant_id, network=network, filters=filters, after=after, limit=queries.PAGE_MAX
        )
        yield "".join(line(_cells(invoice)) for invoice in page.invoices)
        written += len(page.invoices)
        after = page.next_after
        if after is None:
            return
    yield line((f"Only the newest {ROWS_MAX} invoices are here; narrow the dates for the rest.",))


def _cells(invoice: Invoice) -> tuple[str, ...]:
    snapshot = invoice.client_snapshot
    return (
        to_ref("inv", invoice.id),
        safe_cell(invoice.number),
        invoice.status,
        settlement_of(invoice).value,
        safe_cell(snapshot.get("name")),
        safe_cell(snapshot.get("email")),
        safe_cell(invoice.description),
        asset_code(invoice.asset),
        asset_issuer(invoice.asset) or "",
        format_units(invoice.amount),
        format_units(invoice.amount_received),
        format_units(invoice.amount - invoice.amount_received),
        format_units(invoice.overpaid_by),
        " ".join(sorted(invoice.flags)),
        *(iso_or_none(moment) or "" for moment in _moments(invoice)),
        str(invoice.pay_ref or ""),
        checkout_url(invoice.token),
    )


def _moments(invoice: Invoice) -> tuple[datetime | None, ...]:
    return (invoice.created_at, invoice.issued_at, invoice.due_at, invoice.expires_at, invoice.paid_at)
