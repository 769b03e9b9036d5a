"""Reads of invoices, always limited to one merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    union_all,
)

from portal.db import tenant
from portal.domain.events.models import Event
from portal.domain.invoices.models import DiscountLine, Invoice, InvoiceItem, TaxLine
from portal.extensions import db
from portal.kernel.errors import NotFound

PAGE_MAX = 100
# Counting stops here: beyond it a list says "1000+" instead of reading millions of rows.
COUNT_MAX = 1000
SEARCH_MIN_CHARACTERS = 3
TIMELINE_MAX = 200
# Written out and not bound, so that a prepared statement finds the partial index of these few.
IS_REVERSED: ColumnElement[bool] = literal_column("'reversed' = ANY (invoices.flags)", Boolean)


class InvoiceNotFound(NotFound):
    code = "invoice_not_found"


@dataclass(frozen=True, slots=True)
class Lines:
    items: Sequence[InvoiceItem]
    discounts: Sequence[DiscountLine]
    taxes: Sequence[TaxLine]


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; `text` of under 3 characters finds nothing."""

    status: str | None = None
    is_reversed: bool = False
    client_id: UUID | None = None
    text: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `next_after` is the place of its last row when more follow."""

    invoices: Sequence[Invoice]
    next_after: tuple[datetime, UUID] | None
    has_newer: bool


def get(*, merchant_id: UUID, invoice_id: UUID) -> Invoice:
    invoice = db.session.scalars(tenant(Invoice, merchant_id).where(Invoice.id == invoice_id)).one_or_none()
    if invoice is None:
        raise InvoiceNotFound("No such invoice.")
    return invoice


def get_for_update(*, merchant_id: UUID, invoice_id: UUID) -> Invoice:
    """Lock the invoice's row until the transaction ends; every change of an invoice begins here."""
    statement = (
        tenant(Invoice, merchant_id)
        .where(Invoice.id == invoice_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    invoice = db.session.scalars(statement).one_or_none()
    if invoice is None:
        raise InvoiceNotFound("No such invoice.")
    return invoice


def list_for_update_by_pay_ref(
    *, merchant_id: UUID, network: str, pay_refs: Sequence[int], also: UUID | None = None
) -> Sequence[Invoice]:
    """Lock the merchant's invoices with these references (and invoice `also`), in the order of their ids."""
    wanted: ColumnElement[bool] = Invoice.pay_ref.in_(pay_refs)
    if also is not None:
        wanted = wanted | (Invoice.id == also)
    statement = (
        tenant(Invoice, merchant_id)
        .where(Invoice.network == network, wanted)
        .order_by(Invoice.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return db.session.scalars(statement).all()


def list_for_update(*, merchant_id: UUID, network: str, invoice_ids: Sequence[UUID]) -> Sequence[Invoice]:
    """Lock the merchant's invoices with these ids, in the order of their ids; unknown ones are left out."""
    statement = (
        tenant(Invoice, merchant_id)
        .where(Invoice.network == network, Invoice.id.in_(invoice_ids))
        .order_by(Invoice.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return db.session.scalars(statement).all()


def resolve_checkout(token: str) -> tuple[UUID, UUID] | None:
    """Return (merchant id, invoice id) of a checkout token, before any tenant is known."""
    row = db.session.execute(
        text("SELECT merchant_id, invoice_id FROM resolve_checkout(:token)"), {"token": token}
    ).one_or_none()
    return None if row is None else (row.merchant_id, row.invoice_id)


def lines_of(*, merchant_id: UUID, invoice_id: UUID) -> Lines:
    def read(model: Any) -> Sequence[Any]:
        statement = tenant(model, merchant_id).where(model.invoice_id == invoice_id).order_by(model.position)
        return db.session.scalars(statement).all()

    return Lines(read(InvoiceItem), read(DiscountLine), read(TaxLine))


def list_page(
    *,
    merchant_id: UUID,
    network: str,
    filters: Filters,
    after: tuple[datetime, UUID] | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 25,
) -> Page:
    """Return invoices newest first, `after` a place in the list or, going back, `before` it."""
    assert 1 <= limit <= PAGE_MAX, limit
    statement = _narrowed(tenant(Invoice, merchant_id).where(Invoice.network == network), network, filters)
    place = tuple_(Invoice.created_at, Invoice.id)
    if before is not None:
        newer = statement.where(place > before).order_by(Invoice.created_at, Invoice.id).limit(limit + 1)
        found = list(db.session.scalars(newer).all())
        has_newer, rows = len(found) > limit, found[:limit][::-1]
        return Page(rows, _place(rows[-1]) if rows else None, has_newer)
    if after is not None:
        statement = statement.where(place < after)
    older = statement.order_by(Invoice.created_at.desc(), Invoice.id.desc()).limit(limit + 1)
    found = list(db.session.scalars(older).all())
    rows = found[:limit]
    return Page(rows, _place(rows[-1]) if len(found) > limit else None, after is not None)


def count_by_status(*, merchant_id: UUID, network: str) -> dict[str, int]:
    """Return how many invoices have each status, each count capped at 1000."""
    counts = db.session.execute(
        text(
            """
            SELECT s.status, (
                SELECT count(*) FROM (
                    SELECT 1 FROM invoices i
                    WHERE i.merchant_id = :merchant_id AND i.network = :network AND i.status = s.status
                    LIMIT :most
                ) AS counted
            ) AS number
            FROM unnest(ARRAY['DRAFT', 'PENDING', 'PAID', 'EXPIRED', 'CANCELLED']) AS s (status)
            """
        ),
        {"merchant_id": merchant_id, "network": network, "most": COUNT_MAX},
    )
    return {row.status: row[1] for row in counts}


def has_reversed(*, merchant_id: UUID, network: str) -> bool:
    mine = select(Invoice.id).where(Invoice.merchant_id == merchant_id, Invoice.network == network)
    return bool(db.session.scalar(select(mine.where(IS_REVERSED).exists())))


def timeline(*, merchant_id: UUID, aggregate_ids: Sequence[UUID]) -> Sequence[Event]:
    """Return what happened to an invoice and to what else is named, newest first."""
    statement = (
        tenant(Event, merchant_id)
        .where(Event.aggregate_id.in_(aggregate_ids))
        .order_by(Event.occurred_at.desc(), Event.version.desc(), Event.id.desc())
        .limit(TIMELINE_MAX)
    )
    return db.session.scalars(statement).all()


def is_awaited() -> ColumnElement[bool]:
    """Say which invoices money is still awaited on: pending ones, and paid ones whose money was taken back."""
    return or_(Invoice.status == "PENDING", IS_REVERSED)


def awaited(*, merchant_id: UUID, network: str) -> Any:
    """Return asset, due and due date of every invoice that money is awaited on, as a subquery.

    Two branches instead of one condition, so that each finds its own index whatever the planner expects.
    """
    columns = select(Invoice.asset, (Invoice.amount - Invoice.amount_received).label("due"), Invoice.due_at)
    mine = columns.where(Invoice.merchant_id == merchant_id, Invoice.network == network)
    return union_all(mine.where(Invoice.status == "PENDING"), mine.where(IS_REVERSED)).subquery("awaited")


def open_dues(*, merchant_id: UUID, network: str) -> list[Any]:
    """Return (asset, invoices, due) over the invoices that money is awaited on."""
    rows = awaited(merchant_id=merchant_id, network=network)
    statement = (
        select(rows.c.asset, func.count().label("invoices"), func.sum(rows.c.due).label("due"))
        .group_by(rows.c.asset)
        .order_by(rows.c.asset)
    )
    return list(db.session.execute(statement).all())


def open_dues_to(*, merchant_id: UUID, network: str, address: str) -> dict[str, Decimal]:
    """Return what is still awaited at one wallet, by asset in its units."""
    statement = (
        select(Invoice.asset, func.sum(Invoice.amount - Invoice.amount_received))
        .where(Invoice.merchant_id == merchant_id, Invoice.network == network, is_awaited())
        .where(Invoice.destination == address)
        .group_by(Invoice.asset)
    )
    return {row[0]: row[1] for row in db.session.execute(statement)}


def _place(invoice: Invoice) -> tuple[datetime, UUID]:
    return invoice.created_at, invoice.id


def _narrowed(statement: Select[Invoice], network: str, filters: Filters) -> Select[Invoice]:
    if filters.status is not None:
        statement = statement.where(Invoice.status == filters.status)
    if filters.is_reversed:
        statement = statement.where(IS_REVERSED)
    if filters.client_id is not None:
        statement = statement.where(Invoice.client_id == filters.client_id)
    if filters.created_after is not None:
        statement = statement.where(Invoice.created_at > filters.created_after)
    if filters.created_before is not None:
        statement = statement.where(Invoice.created_at < filters.created_before)
    if filters.text:
        statement = statement.where(Invoice.id.in_(_search(network, filters.text)))
    return statement


def _search(network: str, needle: str) -> list[UUID]:
    """Return ids of at most 1,001 matches; the function filters on the tenant of this session by itself."""
    words = " ".join(needle.lower().split())
    if len(words) < SEARCH_MIN_CHARACTERS:
        return []
    # LIKE's own wildcards are looked for as the characters they are.
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = db.session.execute(
        text("SELECT search_invoices(:network, :needle, 1001)"), {"network": network, "needle": escaped}
    )
    return list(rows.scalars())
