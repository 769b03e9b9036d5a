"""Writes of invoices: create, edit, issue, cancel, expire, duplicate, and money arriving."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, delete, insert, text

from portal.domain.clients.models import Client
from portal.domain.invoices import queries
from portal.domain.invoices.announcements import WrittenInvoice, announce, changed
from portal.domain.invoices.documents import invoice_document
from portal.domain.invoices.models import DiscountLine, Invoice, InvoiceItem, TaxLine
from portal.domain.invoices.queries import Lines
from portal.domain.invoices.receipts import debtor_of, write_off
from portal.domain.invoices.rules import (
    Discount,
    Draft,
    InvoiceStatus,
    Item,
    Tax,
    Totals,
    check_transition,
    number_of,
    period_of,
    search_text_of,
    totals,
)
from portal.domain.ledger import rules as postings
from portal.domain.ledger import service as ledger
from portal.domain.merchants.models import Merchant, Wallet
from portal.extensions import db
from portal.kernel.errors import Conflict
from portal.kernel.money import ZERO
from portal.kernel.refs import new_id
from portal.kernel.tokens import CHECKOUT_TOKEN_BITS, new_pay_ref, new_token

SECONDS_PER_HOUR = 3600
# By the table and not the class: the unit of work costs more than the row on this path.
_INSERT = insert(cast(Table, Invoice.__table__))


class InvoiceNotDraft(Conflict):
    code = "invoice_not_draft"


class InvoiceHasPayments(Conflict):
    code = "invoice_has_payments"


@dataclass(frozen=True, slots=True)
class IssueTerms:
    """Where an invoice is paid to, settled before it is issued; `flags` carries `readiness_unknown`."""

    wallet: Wallet
    flags: tuple[str, ...] = ()


def create(
    *,
    merchant: Merchant,
    network: str,
    draft: Draft,
    client: Client | None,
    terms: IssueTerms | None,
    now: datetime,
) -> WrittenInvoice:
    """Write a draft, or with `terms` an issued invoice, and announce it; the caller commits.

    :raises TotalsInvalid: when the lines do not make an amount.
    """
    sums = totals(draft.items, draft.discounts, draft.taxes)
    invoice = Invoice(
        id=new_id(),
        merchant_id=merchant.id,
        network=network,
        status=InvoiceStatus.DRAFT.value,
        token=new_token(CHECKOUT_TOKEN_BITS),
        amount_received=ZERO,
        overpaid_by=ZERO,
        withheld=ZERO,
        flags=[],
        external_id=draft.external_id,
        version=1,
        created_at=now,
        **_agreed(merchant, draft, sums, client, now),
    )
    if terms is not None:
        _open(invoice, merchant=merchant, terms=terms, now=now)
    db.session.execute(_INSERT, _values(invoice))
    lines = _write_lines(invoice, draft, sums)
    document = invoice_document(invoice, lines.items, lines.discounts, lines.taxes)
    announce("invoice.created" if terms is None else "invoice.issued", invoice, document, now)
    return WrittenInvoice(invoice, lines, document)


def update_draft(
    *, merchant: Merchant, invoice_id: UUID, draft: Draft, client: Client | None, now: datetime
) -> WrittenInvoice:
    """Replace everything a draft says.

    :raises InvoiceNotDraft: once it was issued.
    """
    invoice = _get_draft(merchant.id, invoice_id)
    sums = totals(draft.items, draft.discounts, draft.taxes)
    for name, value in _agreed(merchant, draft, sums, client, now).items():
        setattr(invoice, name, value)
    _delete_lines(merchant.id, invoice_id)
    lines = _write_lines(invoice, draft, sums)
    return changed("invoice.updated", invoice, lines, now)


def delete_draft(*, merchant_id: UUID, invoice_id: UUID, now: datetime) -> None:
    """Remove a draft, which has no number and so leaves no gap."""
    invoice = _get_draft(merchant_id, invoice_id)
    lines = queries.lines_of(merchant_id=merchant_id, invoice_id=invoice_id)
    changed("invoice.deleted", invoice, lines, now)
    db.session.flush()
    _delete_lines(merchant_id, invoice_id)
    db.session.delete(invoice)


def issue(*, merchant: Merchant, invoice_id: UUID, terms: IssueTerms, now: datetime) -> WrittenInvoice:
    """Open a draft for payment: number, pay_ref, destination and client are frozen, the receivable is booked.

    :raises InvoiceNotDraft: if it was issued before.
    """
    invoice = _get_draft(merchant.id, invoice_id)
    lines = queries.lines_of(merchant_id=merchant.id, invoice_id=invoice_id)
    _open(invoice, merchant=merchant, terms=terms, now=now)
    return changed("invoice.issued", invoice, lines, now)


def cancel(*, merchant_id: UUID, invoice_id: UUID, now: datetime) -> WrittenInvoice:
    """Close a pending invoice for good; it keeps its number.

    :raises TransitionRefused: unless it is pending.
    :raises InvoiceHasPayments: while it holds money: refund it or move it to client credit first.
    """
    invoice = queries.get_for_update(merchant_id=merchant_id, invoice_id=invoice_id)
    check_transition(invoice.status, InvoiceStatus.CANCELLED)
    if invoice.amount_received > 0:
        raise InvoiceHasPayments("This invoice has received money, so it cannot be cancelled.")
    return _close(invoice, InvoiceStatus.CANCELLED, now)


def expire(*, merchant_id: UUID, invoice_id: UUID, now: datetime) -> bool:
    """Close a pending invoice whose time is over and say whether this call did it."""
    invoice = queries.get_for_update(merchant_id=merchant_id, invoice_id=invoice_id)
    if invoice.status != InvoiceStatus.PENDING or invoice.expires_at is None or invoice.expires_at >= now:
        return False
    _close(invoice, InvoiceStatus.EXPIRED, now)
    return True


def draft_of(*, merchant_id: UUID, invoice_id: UUID) -> Draft:
    """Return what an invoice says as a draft, to prefill a form or to duplicate it."""
    invoice = queries.get(merchant_id=merchant_id, invoice_id=invoice_id)
    lines = queries.lines_of(merchant_id=merchant_id, invoice_id=invoice_id)
    return Draft(
        asset=invoice.asset,
        items=tuple(Item(line.description, line.quantity, line.unit_price) for line in lines.items),
        discounts=tuple(
            Discount(
                line.label, percent=line.percent, amount=None if line.percent is not None else line.total
            )
            for line in lines.discounts
        ),
        taxes=tuple(Tax(line.label, line.percent or Decimal(0)) for line in lines.taxes),
        description=invoice.description,
        client_id=invoice.client_id,
        due_at=invoice.due_at,
        expires_in_seconds=invoice.expires_in_seconds,
        metadata=invoice.metadata_,
        external_id=invoice.external_id,
    )


def duplicate(
    *, merchant: Merchant, network: str, invoice_id: UUID, client: Client | None, now: datetime
) -> WrittenInvoice:
    """Write a new draft that says the same; due date and external id belong to the original alone."""
    original = draft_of(merchant_id=merchant.id, invoice_id=invoice_id)
    draft = replace(original, due_at=None, external_id=None)
    return create(merchant=merchant, network=network, draft=draft, client=client, terms=None, now=now)


def _get_draft(merchant_id: UUID, invoice_id: UUID) -> Invoice:
    invoice = queries.get_for_update(merchant_id=merchant_id, invoice_id=invoice_id)
    if invoice.status != InvoiceStatus.DRAFT:
        raise InvoiceNotDraft("This invoice was issued and can no longer be changed.")
    return invoice


def _agreed(
    merchant: Merchant, draft: Draft, sums: Totals, client: Client | None, now: datetime
) -> dict[str, Any]:
    snapshot = client_snapshot(client)
    return {
        "client_id": None if client is None else client.id,
        "client_snapshot": snapshot,
        "asset": draft.asset,
        "subtotal": sums.subtotal,
        "discount_total": sums.discount_total,
        "tax_total": sums.tax_total,
        "amount": sums.total,
        "description": draft.description,
        "due_at": draft.due_at,
        "expires_in_seconds": draft.expires_in_seconds or merchant.expiry_hours * SECONDS_PER_HOUR,
        "metadata_": draft.metadata or {},
        "search_text": search_text_of(draft.description, snapshot.get("name"), snapshot.get("email")),
        "updated_at": now,
    }


def client_snapshot(client: Client | None) -> dict[str, Any]:
    """Return what the invoice's paper says of the client, frozen with it."""
    if client is None:
        return {}
    return {
        "name": client.name,
        "email": client.email,
        "company": client.company,
        "tax_id": client.tax_id,
        "billing_address": client.billing_address,
    }


def _open(invoice: Invoice, *, merchant: Merchant, terms: IssueTerms, now: datetime) -> None:
    ledger.post(
        merchant_id=invoice.merchant_id,
        network=invoice.network,
        asset=invoice.asset,
        kind="issue",
        reference_id=invoice.id,
        postings=postings.issue_postings(
            debtor_id=debtor_of(invoice),
            total=invoice.amount,
            subtotal=invoice.subtotal,
            discount=invoice.discount_total,
            tax=invoice.tax_total,
        ),
        at=now,
    )
    # The counter is the last lock taken; the invoice changes after it, in one step, because half an issued
    # invoice is refused by the database.
    period = period_of(now, merchant.time_zone)
    value = _next_number(invoice.merchant_id, invoice.network, period)
    invoice.status = InvoiceStatus.PENDING.value
    invoice.number = number_of(merchant.invoice_prefix, period, value)
    invoice.pay_ref = new_pay_ref()
    invoice.wallet_id = terms.wallet.id
    invoice.destination = terms.wallet.address
    invoice.issued_at = now
    invoice.expires_at = now + timedelta(seconds=invoice.expires_in_seconds)
    invoice.flags = sorted({*invoice.flags, *terms.flags})
    invoice.search_text = search_text_of(invoice.number, str(invoice.pay_ref), invoice.search_text)


_NEXT_NUMBER = text(
    """
    INSERT INTO counters (merchant_id, network, kind, period, value)
    VALUES (:merchant_id, :network, 'invoice', :period, 1)
    ON CONFLICT (merchant_id, network, kind, period) DO UPDATE SET value = counters.value + 1
    RETURNING value
    """
)


def _next_number(merchant_id: UUID, network: str, period: str) -> int:
    row = db.session.execute(
        _NEXT_NUMBER, {"merchant_id": merchant_id, "network": network, "period": period}
    ).scalar_one()
    return int(row)


def _close(invoice: Invoice, status: InvoiceStatus, now: datetime) -> WrittenInvoice:
    write_off(invoice, now)
    invoice.status = status.value
    invoice.closed_at = now
    lines = queries.lines_of(merchant_id=invoice.merchant_id, invoice_id=invoice.id)
    return changed(f"invoice.{status.lower()}", invoice, lines, now)


def _values(invoice: Invoice) -> dict[str, Any]:
    return {each.columns[0].name: getattr(invoice, each.key) for each in Invoice.__mapper__.column_attrs}


def _write_lines(invoice: Invoice, draft: Draft, sums: Totals) -> Lines:
    def write(model: Any, rows: list[dict[str, Any]]) -> list[Any]:
        common = {"merchant_id": invoice.merchant_id, "invoice_id": invoice.id}
        values = [{"id": new_id(), "position": place, **common, **row} for place, row in enumerate(rows)]
        if values:
            db.session.execute(insert(model.__table__), values)
        return [model(**value) for value in values]

    items = [
        {
            "description": item.description,
            "quantity": item.quantity,
            "unit_price": item.unit_price,
            "total": total,
        }
        for item, total in zip(draft.items, sums.items, strict=True)
    ]
    discounts = [
        {"label": each.label, "percent": each.percent, "total": total}
        for each, total in zip(draft.discounts, sums.discounts, strict=True)
    ]
    taxes = [
        {"label": each.label, "percent": each.percent, "total": total}
        for each, total in zip(draft.taxes, sums.taxes, strict=True)
    ]
    return Lines(write(InvoiceItem, items), write(DiscountLine, discounts), write(TaxLine, taxes))


def _delete_lines(merchant_id: UUID, invoice_id: UUID) -> None:
    for model in (InvoiceItem, DiscountLine, TaxLine):
        db.session.execute(
            delete(model).where(model.merchant_id == merchant_id, model.invoice_id == invoice_id)
        )
