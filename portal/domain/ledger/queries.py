"""Reads of the books; every amount is in units of the account's asset."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select, text

from portal.db import tenant
from portal.domain.ledger.models import LedgerAccount, LedgerEntry, LedgerJournal
from portal.domain.ledger.rules import Posting, Side
from portal.extensions import db
from portal.kernel.errors import NotFound


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


def find_open_close_journal(*, merchant_id: UUID, invoice_id: UUID) -> UUID | None:
    """Return the write-off journal of a closed invoice that has not been reversed, if there is one."""
    reversal = LedgerJournal.__table__.alias("reversal")
    return db.session.scalar(
        select(LedgerJournal.id)
        .outerjoin(reversal, reversal.c.reverses_id == LedgerJournal.id)
        .where(
            LedgerJournal.merchant_id == merchant_id,
            LedgerJournal.reference_id == invoice_id,
            LedgerJournal.kind == "close",
            reversal.c.id.is_(None),
        )
    )


def list_trial_balance(*, merchant_id: UUID, network: str) -> list[AccountLine]:
    """Return one line per asset and kind of account, assets in order of their text; bounded by the chart."""
    rows = db.session.execute(
        text(
            """
            SELECT a.asset, a.kind, sum(b.balance) AS balance
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
    return [AccountLine(row.asset, row.kind, row.balance) for row in rows]
