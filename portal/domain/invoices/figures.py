"""Sums and short lists over invoices for pages; every sum is of one asset, in units of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select

from portal.db import tenant
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.queries import IS_REVERSED, awaited, is_awaited
from portal.extensions import db

ASSETS_MAX = 100


@dataclass(frozen=True, slots=True)
class Label:
    """What other pages call an invoice by."""

    number: str | None
    client_name: str | None
    description: str


@dataclass(frozen=True, slots=True)
class Dues:
    asset: str
    invoices: int
    due: Decimal


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """What a client owes on open invoices and what all of his invoices have received."""

    asset: str
    open_invoices: int
    due: Decimal
    received: Decimal


def labels_of(*, merchant_id: UUID, invoice_ids: Sequence[UUID]) -> dict[UUID, Label]:
    if not invoice_ids:
        return {}
    statement = select(
        Invoice.id, Invoice.number, Invoice.client_snapshot["name"].astext, Invoice.description
    ).where(Invoice.merchant_id == merchant_id, Invoice.id.in_(invoice_ids))
    return {row[0]: Label(row[1], row[2], row[3]) for row in db.session.execute(statement)}


def list_partly_paid(*, merchant_id: UUID, network: str, limit: int) -> Sequence[Invoice]:
    """Return pending invoices that hold some money, newest first."""
    statement = (
        tenant(Invoice, merchant_id)
        .where(Invoice.network == network, Invoice.status == "PENDING", Invoice.amount_received > 0)
        .order_by(Invoice.created_at.desc(), Invoice.id.desc())
        .limit(limit)
    )
    return db.session.scalars(statement).all()


def list_reversed(*, merchant_id: UUID, network: str, limit: int) -> Sequence[Invoice]:
    """Return paid invoices whose money was taken back since, newest first."""
    statement = (
        tenant(Invoice, merchant_id)
        .where(Invoice.network == network, IS_REVERSED)
        .order_by(Invoice.created_at.desc(), Invoice.id.desc())
        .limit(limit)
    )
    return db.session.scalars(statement).all()


def overdue(*, merchant_id: UUID, network: str, now: datetime) -> list[Dues]:
    """Return by asset what is awaited on invoices whose due date is over."""
    rows = awaited(merchant_id=merchant_id, network=network)
    statement = (
        select(rows.c.asset, func.count(), func.sum(rows.c.due))
        .where(rows.c.due_at < now)
        .group_by(rows.c.asset)
        .order_by(rows.c.asset)
        .limit(ASSETS_MAX)
    )
    return [Dues(*row) for row in db.session.execute(statement)]


def client_figures(*, merchant_id: UUID, network: str, client_id: UUID) -> list[ClientFigures]:
    is_open = is_awaited()
    statement = (
        select(
            Invoice.asset,
            func.count().filter(is_open),
            func.coalesce(func.sum(Invoice.amount - Invoice.amount_received).filter(is_open), 0),
            func.sum(Invoice.amount_received),
        )
        .where(
            Invoice.merchant_id == merchant_id,
            Invoice.network == network,
            Invoice.client_id == client_id,
            Invoice.status != "DRAFT",
        )
        .group_by(Invoice.asset)
        .order_by(Invoice.asset)
        .limit(ASSETS_MAX)
    )
    return [ClientFigures(*row) for row in db.session.execute(statement)]
