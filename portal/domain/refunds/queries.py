"""Reads of refunds, always limited to one merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select, tuple_

from portal.db import tenant
from portal.domain.events.models import Event
from portal.domain.payments.models import ChainTransaction, Payment
from portal.domain.refunds.models import Refund
from portal.extensions import db
from portal.kernel.errors import NotFound

PAGE_MAX = 100
TIMELINE_MAX = 100
# Senders have no index of their own; a page may not read a large merchant's whole past.
LATELY = 10_000


class RefundNotFound(NotFound):
    code = "refund_not_found"


@dataclass(frozen=True, slots=True)
class Page:
    refunds: Sequence[Refund]
    next_after: tuple[datetime, UUID] | None
    has_newer: bool = False


def get(*, merchant_id: UUID, refund_id: UUID) -> Refund:
    refund = db.session.scalars(tenant(Refund, merchant_id).where(Refund.id == refund_id)).one_or_none()
    if refund is None:
        raise RefundNotFound("No such refund.")
    return refund


def get_for_update(*, merchant_id: UUID, refund_id: UUID) -> Refund:
    """Lock a refund; its payment is locked before it."""
    statement = (
        tenant(Refund, merchant_id)
        .where(Refund.id == refund_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    refund = db.session.scalars(statement).one_or_none()
    if refund is None:
        raise RefundNotFound("No such refund.")
    return refund


def list_page(
    *,
    merchant_id: UUID,
    network: str,
    statuses: Sequence[str] = (),
    after: tuple[datetime, UUID] | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 25,
) -> Page:
    """Return refunds newest first, `after` a place in the list or, going back, `before` it."""
    assert 1 <= limit <= PAGE_MAX, limit
    statement = tenant(Refund, merchant_id).where(Refund.network == network)
    if statuses:
        statement = statement.where(Refund.status.in_(statuses))
    place = tuple_(Refund.created_at, Refund.id)
    if before is not None:
        newer = statement.where(place > before).order_by(Refund.created_at, Refund.id).limit(limit + 1)
        back = list(db.session.scalars(newer))
        rows = back[:limit][::-1]
        return Page(rows, place_of(rows[-1]) if rows else None, len(back) > limit)
    if after is not None:
        statement = statement.where(place < after)
    statement = statement.order_by(Refund.created_at.desc(), Refund.id.desc()).limit(limit + 1)
    found = list(db.session.scalars(statement))
    rows = found[:limit]
    return Page(rows, place_of(rows[-1]) if len(found) > limit else None, after is not None)


def place_of(refund: Refund) -> tuple[datetime, UUID]:
    return refund.created_at, refund.id


def list_for_payment(*, merchant_id: UUID, payment_id: UUID) -> Sequence[Refund]:
    """Return the refunds of a payment, newest first."""
    statement = (
        tenant(Refund, merchant_id)
        .where(Refund.payment_id == payment_id)
        .order_by(Refund.created_at.desc(), Refund.id.desc())
        .limit(PAGE_MAX)
    )
    return db.session.scalars(statement).all()


def borne_before(*, merchant_id: UUID, payment_id: UUID) -> Decimal:
    """Return how much refunds of a payment took from client credit so far."""
    total = select(func.coalesce(func.sum(Refund.from_credit), 0)).where(
        Refund.merchant_id == merchant_id, Refund.payment_id == payment_id
    )
    return Decimal(db.session.scalar(total) or 0)


def used_operations(*, merchant_id: UUID, transaction_id: UUID) -> frozenset[int]:
    """Return the operations of a transaction that are refunds already."""
    statement = select(Refund.operation_index).where(
        Refund.merchant_id == merchant_id, Refund.transaction_id == transaction_id
    )
    return frozenset(index for index in db.session.scalars(statement) if index is not None)


def ledger_of(*, merchant_id: UUID, payment_id: UUID) -> int:
    """Return the ledger in which a payment came."""
    statement = (
        select(ChainTransaction.ledger)
        .join(Payment, Payment.transaction_id == ChainTransaction.id)
        .where(Payment.merchant_id == merchant_id, Payment.id == payment_id)
    )
    return db.session.scalars(statement).one()


def pays_for_several(*, merchant_id: UUID, network: str, sender: str) -> bool:
    """Say whether one account paid invoices of two or more clients lately: then it is nobody's own."""
    lately = (
        select(Payment.sender, Payment.client_id)
        .where(Payment.merchant_id == merchant_id, Payment.network == network, Payment.status == "CONFIRMED")
        .order_by(Payment.created_at.desc(), Payment.id.desc())
        .limit(LATELY)
        .subquery()
    )
    clients = select(func.count(func.distinct(lately.c.client_id))).where(lately.c.sender == sender)
    return (db.session.scalar(clients) or 0) > 1


def timeline(*, merchant_id: UUID, refund_id: UUID) -> Sequence[Event]:
    """Return what happened to a refund, newest first."""
    statement = (
        tenant(Event, merchant_id)
        .where(Event.aggregate_id == refund_id)
        .order_by(Event.version.desc())
        .limit(TIMELINE_MAX)
    )
    return db.session.scalars(statement).all()
