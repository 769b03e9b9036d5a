"""Reads of payments, always limited to one merchant; chain rows are public facts and have none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CompoundSelect, select, tuple_

from portal.db import tenant
from portal.domain.payments.models import (
    Allocation,
    ChainTransaction,
    ChainTransactionHash,
    Payment,
    Submission,
)
from portal.extensions import db
from portal.kernel.errors import NotFound
from portal.kernel.refs import to_ref

PAGE_MAX = 100


class PaymentNotFound(NotFound):
    code = "payment_not_found"


class SubmissionNotFound(NotFound):
    code = "submission_not_found"


@dataclass(frozen=True, slots=True)
class SeenPayment:
    """A payment with the transaction that brought it."""

    payment: Payment
    transaction: ChainTransaction


@dataclass(frozen=True, slots=True)
class Page:
    payments: Sequence[SeenPayment]
    next_after: tuple[datetime, UUID] | None
    has_newer: bool = False


def get(*, merchant_id: UUID, payment_id: UUID) -> SeenPayment:
    row = db.session.execute(_seen(merchant_id).where(Payment.id == payment_id)).one_or_none()
    if row is None:
        raise PaymentNotFound("No such payment.")
    return SeenPayment(row[0], row[1])


def list_page(
    *,
    merchant_id: UUID,
    network: str,
    status: str | None = None,
    having: str | None = None,
    lacking: Sequence[str] = (),
    asset: str | None = None,
    decided: str | None = None,
    after: tuple[datetime, UUID] | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 25,
) -> Page:
    """Return payments newest first, `after` a place in the list or, going back, `before` it.

    `having` and `lacking` name flags that they bear or do not, `decided` what a person did with them.
    """
    assert 1 <= limit <= PAGE_MAX, limit
    statement = _seen(merchant_id).where(Payment.network == network)
    if status is not None:
        statement = statement.where(Payment.status == status)
    if having is not None:
        statement = statement.where(Payment.flags.contains([having]))
    for flag in lacking:
        statement = statement.where(~Payment.flags.contains([flag]))
    if asset is not None:
        statement = statement.where(Payment.asset == asset)
    if decided is not None:
        statement = statement.where(Payment.decision["action"].astext == decided)
    place = tuple_(Payment.created_at, Payment.id)
    if before is not None:
        newer = statement.where(place > before).order_by(Payment.created_at, Payment.id).limit(limit + 1)
        back = [SeenPayment(row[0], row[1]) for row in db.session.execute(newer)]
        rows = back[:limit][::-1]
        return Page(rows, _place(rows[-1]) if rows else None, len(back) > limit)
    if after is not None:
        statement = statement.where(place < after)
    statement = statement.order_by(Payment.created_at.desc(), Payment.id.desc()).limit(limit + 1)
    found = [SeenPayment(row[0], row[1]) for row in db.session.execute(statement)]
    rows = found[:limit]
    return Page(rows, _place(rows[-1]) if len(found) > limit else None, after is not None)


def list_for_invoice(*, merchant_id: UUID, invoice_id: UUID, limit: int = PAGE_MAX) -> Sequence[SeenPayment]:
    """Return what was paid for an invoice, newest first."""
    statement = (
        _seen(merchant_id)
        .where(Payment.id.in_(_paying(merchant_id, invoice_id)))
        .order_by(Payment.created_at.desc())
        .limit(limit)
    )
    return [SeenPayment(row[0], row[1]) for row in db.session.execute(statement)]


def allocations_of(*, merchant_id: UUID, payment_id: UUID) -> Sequence[Allocation]:
    """Return the newest allocations of a payment, oldest first.

    One that was matched and unmatched without end has more; what stands is always among the newest.
    """
    statement = tenant(Allocation, merchant_id).where(Allocation.source_id == payment_id)
    newest = db.session.scalars(statement.order_by(Allocation.id.desc()).limit(PAGE_MAX)).all()
    return newest[::-1]


def list_allocations(*, merchant_id: UUID, payment_ids: Sequence[UUID]) -> dict[UUID, list[Allocation]]:
    """Return the allocations of several payments, by payment."""
    found: dict[UUID, list[Allocation]] = {payment_id: [] for payment_id in payment_ids}
    statement = (
        tenant(Allocation, merchant_id).where(Allocation.source_id.in_(payment_ids)).order_by(Allocation.id)
    )
    for allocation in db.session.scalars(statement):
        found[allocation.source_id].append(allocation)
    return found


def find_transaction(*, network: str, transaction_hash: str) -> ChainTransaction | None:
    """Return the stored transaction that has this hash, outer or inner."""
    return db.session.scalars(
        select(ChainTransaction)
        .join(ChainTransactionHash, ChainTransactionHash.transaction_id == ChainTransaction.id)
        .where(ChainTransactionHash.network == network, ChainTransactionHash.hash == transaction_hash)
    ).one_or_none()


def find_credit(
    *, merchant_id: UUID, network: str, invoice_id: UUID, transaction_hash: str
) -> Payment | None:
    """Return the payment by which this transaction credited this invoice, if it did."""
    statement = (
        tenant(Payment, merchant_id)
        .join(ChainTransactionHash, ChainTransactionHash.transaction_id == Payment.transaction_id)
        .where(
            Payment.id.in_(_paying(merchant_id, invoice_id)),
            Payment.status == "CONFIRMED",
            ChainTransactionHash.network == network,
            ChainTransactionHash.hash == transaction_hash,
        )
        .order_by(Payment.operation_index, Payment.credit_index)
        .limit(1)
    )
    return db.session.scalars(statement).one_or_none()


def _paying(merchant_id: UUID, invoice_id: UUID) -> CompoundSelect[UUID]:
    """Return the ids of payments that name an invoice or were given to it by a person who did not undo that."""
    named = select(Payment.id).where(Payment.merchant_id == merchant_id, Payment.invoice_id == invoice_id)
    part = {"parts": [{"invoice": to_ref("inv", invoice_id)}]}
    given = (
        select(Allocation.source_id)
        .join(Payment, Payment.id == Allocation.source_id)
        .where(
            Allocation.merchant_id == merchant_id,
            Allocation.invoice_id == invoice_id,
            Allocation.source == "payment",
            Payment.merchant_id == merchant_id,
            Payment.decision.contains(part),
        )
    )
    return named.union(given)


def list_recorded(*, merchant_id: UUID, transaction_id: UUID) -> Sequence[Payment]:
    """Return every credit of one transaction that this merchant has recorded; bounded by its operations."""
    statement = tenant(Payment, merchant_id).where(Payment.transaction_id == transaction_id)
    return db.session.scalars(statement.execution_options(populate_existing=True)).all()


def get_submission(*, merchant_id: UUID, submission_id: UUID) -> Submission:
    statement = tenant(Submission, merchant_id).where(Submission.id == submission_id)
    submission = db.session.scalars(statement).one_or_none()
    if submission is None:
        raise SubmissionNotFound("No such submission.")
    return submission


def count_unmatched(*, merchant_id: UUID, network: str, most: int = PAGE_MAX) -> int:
    """Return how much unmatched money waits for a person, dust left out, counted up to `most`."""
    statement = (
        select(Payment.id)
        .where(
            Payment.merchant_id == merchant_id,
            Payment.network == network,
            Payment.status == "UNMATCHED",
            ~Payment.flags.contains(["dust"]),
        )
        .limit(most)
    )
    return len(db.session.scalars(statement).all())


def _place(seen: SeenPayment) -> tuple[datetime, UUID]:
    return seen.payment.created_at, seen.payment.id


def _seen(merchant_id: UUID) -> Any:
    return (
        select(Payment, ChainTransaction)
        .join(ChainTransaction, ChainTransaction.id == Payment.transaction_id)
        .where(Payment.merchant_id == merchant_id)
    )
