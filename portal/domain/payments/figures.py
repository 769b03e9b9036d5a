"""Sums over payments for pages; every sum is of one asset, in units of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select, text

from portal.db import tenant
from portal.domain.payments.models import Allocation, Payment, Submission
from portal.extensions import db
from portal.kernel.money import ZERO, from_stroops

# A credit is recorded after its ledger closed, so reading by the indexed `created_at` from a little earlier
# misses none; the validators' clocks may run ahead of ours by less than this.
CLOCK_SLACK = timedelta(minutes=10)
ROWS_MAX = 5_000
SUBMISSIONS_SHOWN_MAX = 20
COUNT_MAX = 100


@dataclass(frozen=True, slots=True)
class Received:
    """What one day in the merchant's time zone brought in one asset."""

    asset: str
    day: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class PaidInvoices:
    """How many invoices became paid by payments of a period, and how long the middle one took."""

    count: int
    median: timedelta | None


@dataclass(frozen=True, slots=True)
class AssetSum:
    asset: str
    payments: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a payment's money is, in units of its asset; every field but `forgiven` adds up to its amount.

    `forgiven` is what invoices lacked and a tolerance closed, so it is nothing of the payment.
    """

    invoices: dict[UUID, Decimal]
    credit: Decimal = ZERO
    unmatched: Decimal = ZERO
    sent_back: Decimal = ZERO
    taken_back: Decimal = ZERO
    unbooked: Decimal = ZERO
    forgiven: Decimal = ZERO

    @property
    def allocated(self) -> Decimal:
        return sum(self.invoices.values(), ZERO)


def whereabouts(payment: Payment, allocations: Sequence[Allocation]) -> Whereabouts:
    """Return where the money went by its `allocations`, those taken back included.

    What was sent back after it had gone to an invoice or to credit is not taken off here: such a refund is a
    fact of its own.
    """
    invoices: dict[UUID, Decimal] = {}
    for each in allocations:
        if each.source == "payment":
            invoices[each.invoice_id] = invoices.get(each.invoice_id, ZERO) + each.amount
    invoices = {invoice_id: amount for invoice_id, amount in invoices.items() if amount}
    forgiven = sum((each.amount for each in allocations if each.source == "rounding"), ZERO)
    if payment.status == "REVERSED":
        return Whereabouts({}, taken_back=payment.amount)
    if payment.reason == "self_payment":
        return Whereabouts({}, unbooked=payment.amount)
    if payment.status != "CONFIRMED":
        return Whereabouts({}, unmatched=payment.amount - payment.refunded, sent_back=payment.refunded)
    given = payment.amount
    parts = [] if payment.decision is None else payment.decision.get("parts", [])
    if parts:
        # A person gave away what a refund had left.
        given = from_stroops(sum(part["allocated_stroops"] + part["excess_stroops"] for part in parts))
    credit = given - sum(invoices.values(), ZERO)
    return Whereabouts(invoices, credit=credit, sent_back=payment.amount - given, forgiven=forgiven)


def received_per_day(
    *, merchant_id: UUID, network: str, since: datetime, until: datetime, time_zone: str
) -> list[Received]:
    """Return credited money by asset and day of its ledger; moves between own wallets are no revenue."""
    rows = db.session.execute(
        text(
            """
            SELECT p.asset, (t.closed_at AT TIME ZONE :time_zone)::date AS day, sum(p.amount) AS amount
            FROM payments p
            JOIN chain_transactions t ON t.id = p.transaction_id
            WHERE p.merchant_id = :merchant_id AND p.network = :network AND p.status = 'CONFIRMED'
              AND p.created_at >= :recorded_since AND t.closed_at >= :since AND t.closed_at < :until
              AND NOT p.flags @> ARRAY['own_wallet']
            GROUP BY p.asset, day
            ORDER BY p.asset, day
            LIMIT :most
            """
        ),
        {
            "merchant_id": merchant_id,
            "network": network,
            "time_zone": time_zone,
            "recorded_since": since - CLOCK_SLACK,
            "since": since,
            "until": until,
            "most": ROWS_MAX,
        },
    )
    return [Received(row.asset, row.day, row.amount) for row in rows]


def paid_invoices(*, merchant_id: UUID, network: str, since: datetime) -> PaidInvoices:
    row = db.session.execute(
        text(
            """
            SELECT count(*) AS paid, percentile_cont(0.5) WITHIN GROUP (ORDER BY taken) AS median
            FROM (
                SELECT DISTINCT i.id, i.paid_at - i.issued_at AS taken
                FROM payments p
                JOIN invoices i ON i.merchant_id = p.merchant_id AND i.id = p.invoice_id
                WHERE p.merchant_id = :merchant_id AND p.network = :network AND p.status = 'CONFIRMED'
                  AND p.created_at >= :recorded_since AND i.status = 'PAID' AND i.paid_at >= :since
                  AND NOT 'reversed' = ANY (i.flags)
            ) AS paid
            """
        ),
        {
            "merchant_id": merchant_id,
            "network": network,
            "recorded_since": since - CLOCK_SLACK,
            "since": since,
        },
    ).one()
    return PaidInvoices(row.paid, row.median)


def dust_sums(*, merchant_id: UUID, network: str) -> list[AssetSum]:
    """Return what the inbox folds into one line: credits too small to be worth a look."""
    statement = (
        select(Payment.asset, func.count().label("payments"), func.sum(Payment.amount).label("amount"))
        .where(
            Payment.merchant_id == merchant_id,
            Payment.network == network,
            Payment.status == "UNMATCHED",
            Payment.flags.contains(["dust"]),
        )
        .group_by(Payment.asset)
        .order_by(Payment.asset)
        .limit(100)
    )
    return [AssetSum(*row) for row in db.session.execute(statement)]


def count_waiting(*, merchant_id: UUID, network: str) -> tuple[int, int]:
    """Return how much unmatched money is to be looked at and how much to be refunded, each up to 100."""
    is_due = Payment.flags.contains(["refund_due"])
    waiting = (
        select(is_due.label("is_due"))
        .where(
            Payment.merchant_id == merchant_id,
            Payment.network == network,
            Payment.status == "UNMATCHED",
            ~Payment.flags.contains(["dust"]),
        )
        .order_by(Payment.created_at.desc())
        .limit(COUNT_MAX)
        .subquery()
    )
    row = db.session.execute(
        select(func.count().filter(~waiting.c.is_due), func.count().filter(waiting.c.is_due)).select_from(
            waiting
        )
    ).one()
    return row[0], row[1]


def list_submissions(
    *, merchant_id: UUID, invoice_id: UUID, limit: int = SUBMISSIONS_SHOWN_MAX
) -> Sequence[Submission]:
    """Return the hashes that people submitted for an invoice, newest first."""
    statement = tenant(Submission, merchant_id).where(Submission.invoice_id == invoice_id)
    return db.session.scalars(statement.order_by(Submission.id.desc()).limit(limit)).all()
