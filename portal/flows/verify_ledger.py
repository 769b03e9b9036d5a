"""Derives the books once more from their first facts and tells where the rows say something else.

What an invoice received is added up twice, from its allocations and from the entries that its payments'
journals booked; its status and settlement follow from that sum. Every account's balance is added up from
its entries.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from portal.db import release
from portal.extensions import db
from portal.kernel.money import format_units, settlement_for
from portal.kernel.refs import to_ref

BATCH = 1000

# Raw SQL: one statement a batch, whatever happened to the invoices; the ORM would read them row by row.
_INVOICES = text(
    """
    SELECT i.id, i.status, i.amount, i.amount_received, i.flags, i.issued_at, i.closed_at,
        (SELECT coalesce(sum(g.amount), 0) FROM allocations g WHERE g.invoice_id = i.id) AS allocated,
        (
            SELECT coalesce(sum(CASE e.side WHEN 'CREDIT' THEN e.amount ELSE -e.amount END), 0)
            FROM (SELECT DISTINCT journal_id FROM allocations WHERE invoice_id = i.id) AS g
            JOIN ledger_entries e ON e.journal_id = g.journal_id
            JOIN ledger_accounts a ON a.id = e.account_id AND a.kind = 'receivable'
        ) AS booked,
        (
            SELECT e.payload ->> 'settlement' FROM events e WHERE e.aggregate_id = i.id ORDER BY e.version DESC LIMIT 1
        ) AS announced
    FROM invoices i
    WHERE i.id > :after
    ORDER BY i.id
    LIMIT :limit
    """
)
_ACCOUNTS = text(
    """
    SELECT a.id, a.kind, coalesce(b.balance, 0) AS balance, (
        SELECT coalesce(sum(CASE e.side WHEN 'DEBIT' THEN e.amount ELSE -e.amount END), 0)
        FROM ledger_entries e
        WHERE e.account_id = a.id
    ) AS derived
    FROM ledger_accounts a
    LEFT JOIN account_balances b ON b.account_id = a.id
    WHERE a.id > :after
    ORDER BY a.id
    LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not what the facts say; `derived` is right."""

    ref: str
    figure: str
    stored: str
    derived: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A batch that was verified."""

    what: str
    rows: int
    differences: tuple[Difference, ...]


def verify_ledger() -> Iterator[Progress]:
    """Yield the differences batch by batch, invoices first, then accounts; nothing is changed."""
    for rows in _batches(_INVOICES):
        yield Progress("invoices", len(rows), tuple(found for row in rows for found in _check_invoice(row)))
    for rows in _batches(_ACCOUNTS):
        yield Progress("accounts", len(rows), tuple(found for row in rows for found in _check_account(row)))


def _batches(statement: Any) -> Iterator[list[Any]]:
    after = UUID(int=0)
    while True:
        rows = list(db.session.execute(statement, {"after": after, "limit": BATCH}).all())
        release()
        if not rows:
            return
        yield rows
        after = rows[-1].id


def _check_invoice(row: Any) -> Iterator[Difference]:
    ref = to_ref("inv", row.id)
    if row.amount_received != row.allocated:
        yield Difference(ref, "amount_received", _units(row.amount_received), _units(row.allocated))
    if row.booked != row.allocated:
        yield Difference(ref, "allocated", _units(row.allocated), _units(row.booked))
    status = _status(row)
    if row.status != status:
        yield Difference(ref, "status", row.status, status)
    derived = _settlement(row)
    if row.announced != derived:
        yield Difference(ref, "settlement", str(row.announced), derived)


def _check_account(row: Any) -> Iterator[Difference]:
    if row.balance != row.derived:
        yield Difference(
            to_ref("acc", row.id), f"{row.kind} balance", _units(row.balance), _units(row.derived)
        )


def _status(row: Any) -> str:
    """Return the status that follows from money and times alone; who closed it only its row knows."""
    if row.issued_at is None:
        return "DRAFT"
    if row.allocated >= row.amount or "reversed" in row.flags:
        return "PAID"
    if row.closed_at is None:
        return "PENDING"
    return row.status if row.status in {"EXPIRED", "CANCELLED"} else "EXPIRED"


def _settlement(row: Any) -> str:
    is_overpaid = "overpaid" in row.flags
    return settlement_for(due=row.amount, received=max(row.allocated, Decimal(0)), overpaid=is_overpaid).value


def _units(amount: Decimal) -> str:
    return format_units(amount)
