"""Reads of the books; every amount is in units of the account's asset."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import aliased

from portal.db import tenant
from portal.domain.ledger.models import AccountBalance, LedgerAccount, LedgerEntry, LedgerJournal
from portal.domain.ledger.rules import Posting, Side, account_id
from portal.extensions import db
from portal.kernel.errors import NotFound
from portal.kernel.money import ZERO

ASSETS_MAX = 100


class JournalNotFound(NotFound):
    code = "journal_not_found"


@dataclass(frozen=True, slots=True)
class Journal:
    id: UUID
    network: str
    asset: str
    kind: str
    reference_id: UUID
    occurred_at: datetime
    postings: tuple[Posting, ...]


@dataclass(frozen=True, slots=True)
class AccountLine:
    """A line of the trial balance: debits minus credits of all accounts of one kind, in one asset."""

    asset: str
    kind: str
    balance: Decimal
    accounts: int = 1
    account_id: UUID | None = None
    """The account itself, when there is only one."""


def get_journal(*, merchant_id: UUID, journal_id: UUID) -> Journal:
    journal = db.session.scalars(
        tenant(LedgerJournal, merchant_id).where(LedgerJournal.id == journal_id)
    ).one_or_none()
    if journal is None:
        raise JournalNotFound("No such journal.")
    rows = db.session.execute(
        select(
            LedgerAccount.kind,
            LedgerAccount.owner_id,
            LedgerEntry.side,
            LedgerEntry.amount,
            LedgerEntry.asset,
        )
        .join(LedgerAccount, LedgerAccount.id == LedgerEntry.account_id)
        .where(LedgerEntry.merchant_id == merchant_id, LedgerEntry.journal_id == journal_id)
        .order_by(LedgerEntry.id)
    ).all()
    postings = tuple(Posting(row.kind, row.owner_id, Side(row.side), row.amount) for row in rows)
    return Journal(
        journal.id,
        journal.network,
        rows[0].asset,
        journal.kind,
        journal.reference_id,
        journal.occurred_at,
        postings,
    )


def list_standing(*, merchant_id: UUID, reference_id: UUID, kinds: Sequence[str]) -> list[UUID]:
    """Return the journals of these kinds about one fact that have not been reversed, oldest first."""
    reversal = aliased(LedgerJournal)
    statement = (
        select(LedgerJournal.id)
        .where(
            LedgerJournal.merchant_id == merchant_id,
            LedgerJournal.reference_id == reference_id,
            LedgerJournal.kind.in_(kinds),
            ~select(reversal.id).where(reversal.reverses_id == LedgerJournal.id).exists(),
        )
        .order_by(LedgerJournal.id)
    )
    return list(db.session.scalars(statement))


def balance_for_update(
    *, merchant_id: UUID, network: str, kind: str, asset: str, owner_id: UUID | None
) -> Decimal:
    """Return debits minus credits of one account and hold it until the transaction ends; zero if unused."""
    wanted = account_id(merchant_id=merchant_id, network=network, kind=kind, asset=asset, owner_id=owner_id)
    statement = select(AccountBalance.balance).where(
        AccountBalance.merchant_id == merchant_id, AccountBalance.account_id == wanted
    )
    return db.session.scalar(statement.with_for_update()) or ZERO


def balance(*, merchant_id: UUID, network: str, kind: str, asset: str, owner_id: UUID | None) -> Decimal:
    """Return debits minus credits of one account, for display."""
    wanted = account_id(merchant_id=merchant_id, network=network, kind=kind, asset=asset, owner_id=owner_id)
    statement = select(AccountBalance.balance).where(
        AccountBalance.merchant_id == merchant_id, AccountBalance.account_id == wanted
    )
    return db.session.scalar(statement) or ZERO


def balances_of_owner(*, merchant_id: UUID, network: str, kind: str, owner_id: UUID) -> dict[str, Decimal]:
    """Return debits minus credits of one owner's accounts of a kind, by asset, those at zero left out."""
    statement = (
        select(LedgerAccount.asset, AccountBalance.balance)
        .join(AccountBalance, AccountBalance.account_id == LedgerAccount.id)
        .where(
            LedgerAccount.merchant_id == merchant_id,
            LedgerAccount.network == network,
            LedgerAccount.kind == kind,
            LedgerAccount.owner_id == owner_id,
            AccountBalance.merchant_id == merchant_id,
            AccountBalance.balance != 0,
        )
        .order_by(LedgerAccount.asset)
        .limit(ASSETS_MAX)
    )
    return {row[0]: row[1] for row in db.session.execute(statement)}


def list_trial_balance(*, merchant_id: UUID, network: str) -> list[AccountLine]:
    """Return one line per asset and kind of account, assets in order of their text; bounded by the chart."""
    rows = db.session.execute(
        text(
            """
            SELECT a.asset, a.kind, sum(b.balance) AS balance, count(*) AS accounts,
                (array_agg(a.id ORDER BY a.id))[1] AS account_id
            FROM account_balances b
            JOIN ledger_accounts a ON a.id = b.account_id
            WHERE b.merchant_id = :merchant_id AND a.network = :network
            GROUP BY a.asset, a.kind
            ORDER BY a.asset, a.kind
            LIMIT 2000
            """
        ),
        {"merchant_id": merchant_id, "network": network},
    )
    return [
        AccountLine(
            row.asset, row.kind, row.balance, row.accounts, row.account_id if row.accounts == 1 else None
        )
        for row in rows
    ]


def wallet_balances(
    *, merchant_id: UUID, network: str
) -> dict[tuple[UUID | None, str], tuple[Decimal, datetime]]:
    """Return what the books say each wallet holds and when that last changed, by wallet and asset."""
    statement = (
        select(LedgerAccount.owner_id, LedgerAccount.asset, AccountBalance.balance, AccountBalance.updated_at)
        .join(AccountBalance, AccountBalance.account_id == LedgerAccount.id)
        .where(
            LedgerAccount.merchant_id == merchant_id,
            LedgerAccount.network == network,
            LedgerAccount.kind == "wallet",
        )
        .limit(2000)
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in db.session.execute(statement)}
