"""Raises an invoice's version and announces it: one event and one audit row a change."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portal.domain.audit import service as audit
from portal.domain.events import service as events
from portal.domain.invoices.documents import invoice_document
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.queries import Lines
from portal.extensions import db
from portal.kernel.refs import to_ref


@dataclass(frozen=True, slots=True)
class WrittenInvoice:
    """An invoice with its lines and its public JSON, as it will be after the commit."""

    invoice: Invoice
    lines: Lines
    document: dict[str, Any]


def changed(event_type: str, invoice: Invoice, lines: Lines, now: datetime) -> WrittenInvoice:
    """Write a locked invoice's new state under its next version and announce it."""
    invoice.version += 1
    invoice.updated_at = now
    document = invoice_document(invoice, lines.items, lines.discounts, lines.taxes)
    db.session.flush()
    announce(event_type, invoice, document, now)
    return WrittenInvoice(invoice, lines, document)


def mark_checkout(token: str) -> None:
    """Note that the payer's page of this invoice is out of date: kept copies are dropped after the commit."""
    db.session().info.setdefault("changed_checkouts", set()).add(token)


def announce(event_type: str, invoice: Invoice, document: dict[str, Any], now: datetime) -> None:
    mark_checkout(invoice.token)
    events.record(
        event_type,
        merchant_id=invoice.merchant_id,
        network=invoice.network,
        aggregate_id=invoice.id,
        version=invoice.version,
        payload=document,
        at=now,
    )
    audit.record(
        event_type,
        merchant_id=invoice.merchant_id,
        object_ref=to_ref("inv", invoice.id),
        after={"status": invoice.status, "number": invoice.number, "amount": document["amount"]},
        at=now,
    )
