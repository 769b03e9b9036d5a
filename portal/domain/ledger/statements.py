"""Statements of account: entries with the balance after each, newest first for pages, oldest first for files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from portal.domain.ledger.models import AccountBalance, LedgerAccount
from portal.extensions import db
from portal.kernel.errors import NotFound
from portal.kernel.money import ZERO

PAGE_MAX = 1000
_PLACE = tuple[datetime, UUID]

_SIGNED = "CASE e.side WHEN 'DEBIT' THEN e.amount ELSE -e.amount END"
_ENTRIES = """
    SELECT e.id, e.side, e.amount, j.id AS journal_id, j.reference_id, j.occurred_at,
        coalesce(o.kind, j.kind) AS kind, o.id IS NOT NULL AS is_reversal
    FROM ledger_entries e
    JOIN ledger_journals j ON j.id = e.journal_id
    LEFT JOIN ledger_journals o ON o.id = j.reverses_id
    WHERE e.merchant_id = :merchant_id AND e.account_id = :account_id
        AND (CAST(:since AS timestamptz) IS NULL OR j.occurred_at >= :since)
        AND (CAST(:until AS timestamptz) IS NULL OR j.occurred_at < :until)
"""
# Raw SQL, for the windows. The balance is kept for the present, so that after an entry is the present one less
# everything newer: the newest page, which people read, costs a page and not the account's whole life. What the
# dates leave out counts in the balance all the same.
_PAGE = """
    WITH page AS MATERIALIZED ({entries} {place} LIMIT :limit),
    walk AS (
        SELECT e.id, coalesce(
            sum({signed}) OVER (ORDER BY e.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0
        ) AS newer
        FROM ledger_entries e
        WHERE e.merchant_id = :merchant_id AND e.account_id = :account_id
            AND e.id >= (SELECT id FROM page ORDER BY id LIMIT 1)
    )
    SELECT page.*, b.balance - walk.newer AS balance
    FROM page
    JOIN walk ON walk.id = page.id
    JOIN account_balances b ON b.account_id = :account_id
    ORDER BY page.id DESC
"""
_OLDER = text(
    _PAGE.format(
        entries=_ENTRIES,
        place="AND (CAST(:place AS uuid) IS NULL OR e.id < :place) ORDER BY e.id DESC",
        signed=_SIGNED,
    )
)
_NEWER = text(_PAGE.format(entries=_ENTRIES, place="AND e.id > :place ORDER BY e.id", signed=_SIGNED))
_FROM_THE_BEGINNING = text(
    f"""
    WITH page AS MATERIALIZED ({_ENTRIES} AND e.id > :place ORDER BY e.id LIMIT :limit),
    walk AS (
        SELECT e.id, :opening + sum({_SIGNED}) OVER (ORDER BY e.id) AS balance
        FROM ledger_entries e
        WHERE e.merchant_id = :merchant_id AND e.account_id = :account_id AND e.id > :place
            AND e.id <= (SELECT id FROM page ORDER BY id DESC LIMIT 1)
    )
    SELECT page.*, walk.balance
    FROM page
    JOIN walk ON walk.id = page.id
    ORDER BY page.id
    """  # noqa: S608  every part is written here
)


class AccountNotFound(NotFound):
    code = "account_not_found"


@dataclass(frozen=True, slots=True)
class Account:
    """An account with debits minus credits, in units of its asset."""

    id: UUID
    kind: str
    asset: str
    owner_id: UUID | None
    balance: Decimal


@dataclass(frozen=True, slots=True)
class AccountPage:
    accounts: Sequence[Account]
    next_after: UUID | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a statement; `kind` is that of the journal, or of the one that a reversal undoes."""

    id: UUID
    reference_id: UUID
    kind: str
    is_reversal: bool
    occurred_at: datetime
    debit: Decimal
    credit: Decimal
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Page:
    entries: Sequence[Entry]
    next_after: _PLACE | None
    has_newer: bool = False


def get_account(*, merchant_id: UUID, network: str, account_id: UUID) -> Account:
    statement = _accounts(merchant_id, network).where(LedgerAccount.id == account_id)
    row = db.session.execute(statement).one_or_none()
    if row is None:
        raise AccountNotFound("No such account.")
    return Account(*row)


def list_accounts(
    *,
    merchant_id: UUID,
    network: str,
    kind: str,
    asset: str,
    with_settled: bool = False,
    after: UUID | None = None,
    limit: int = 50,
) -> AccountPage:
    """Return the accounts of one kind and asset, newest first; settled ones, at zero, only when asked."""
    assert 1 <= limit <= PAGE_MAX, limit
    statement = _accounts(merchant_id, network).where(
        LedgerAccount.kind == kind, LedgerAccount.asset == asset
    )
    if not with_settled:
        statement = statement.where(AccountBalance.balance != 0)
    if after is not None:
        statement = statement.where(LedgerAccount.id < after)
    rows = db.session.execute(statement.order_by(LedgerAccount.id.desc()).limit(limit + 1)).all()
    accounts = [Account(*row) for row in rows[:limit]]
    return AccountPage(accounts, accounts[-1].id if len(rows) > limit else None)


def list_entries(
    *,
    merchant_id: UUID,
    account_id: UUID,
    since: datetime | None = None,
    until: datetime | None = None,
    after: _PLACE | None = None,
    before: _PLACE | None = None,
    limit: int = 25,
) -> Page:
    """Return a page of a statement, newest first: older than `after` or, going back, newer than `before`."""
    assert 1 <= limit <= PAGE_MAX, limit
    scope = {"merchant_id": merchant_id, "account_id": account_id, "since": since, "until": until}
    if before is not None:
        rows = db.session.execute(_NEWER, {**scope, "place": before[1], "limit": limit + 1}).all()
        entries = [_entry(row) for row in rows[-limit:]]
        return Page(entries, _place(entries[-1]) if entries else None, len(rows) > limit)
    place = None if after is None else after[1]
    rows = db.session.execute(_OLDER, {**scope, "place": place, "limit": limit + 1}).all()
    entries = [_entry(row) for row in rows[:limit]]
    return Page(entries, _place(entries[-1]) if len(rows) > limit else None, after is not None)


def entries_from_the_beginning(
    *, merchant_id: UUID, account_id: UUID, since: datetime | None, until: datetime | None
) -> Iterator[Sequence[Entry]]:
    """Yield a whole statement in pages, oldest first."""
    scope = {"merchant_id": merchant_id, "account_id": account_id, "since": since, "until": until}
    place, opening = UUID(int=0), ZERO
    while True:
        given = {**scope, "place": place, "opening": opening, "limit": PAGE_MAX}
        entries = [_entry(row) for row in db.session.execute(_FROM_THE_BEGINNING, given)]
        if not entries:
            return
        yield entries
        place, opening = entries[-1].id, entries[-1].balance


def _accounts(merchant_id: UUID, network: str) -> Any:
    return (
        select(
            LedgerAccount.id,
            LedgerAccount.kind,
            LedgerAccount.asset,
            LedgerAccount.owner_id,
            AccountBalance.balance,
        )
        .join(AccountBalance, AccountBalance.account_id == LedgerAccount.id)
        .where(LedgerAccount.merchant_id == merchant_id, LedgerAccount.network == network)
    )


def _entry(row: Any) -> Entry:
    is_debit = row.side == "DEBIT"
    return Entry(
        id=row.id,
        reference_id=row.reference_id,
        kind=row.kind,
        is_reversal=row.is_reversal,
        occurred_at=row.occurred_at,
        debit=row.amount if is_debit else ZERO,
        credit=ZERO if is_debit else row.amount,
        balance=row.balance,
    )


def _place(entry: Entry) -> _PLACE:
    return entry.occurred_at, entry.id
