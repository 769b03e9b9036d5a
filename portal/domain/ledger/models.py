"""Double-entry books: journals and entries are insert-only, corrections are reversals."""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Amount, CreatedAt, Identity, Moment, UpdatedAt, WideAmount, asset_check, network_check
from portal.extensions import Base

ACCOUNT_KINDS = (
    "wallet", "receivable", "client_credit", "income", "tax_payable", "discount", "write_off", "rounding",
    "suspense", "refunds", "external",
)  # fmt: skip
JOURNAL_KINDS = (
    "issue", "allocation", "unmatched", "short", "close", "reversal", "match", "credit", "credit_back", "external",
    "refund", "clawback",
)  # fmt: skip
_IN_KINDS = "kind IN ({})".format


class LedgerAccount(Base):
    """One account per merchant, network, kind, asset and owner (wallet, client or invoice; null: the merchant).

    Its id is derived from those five (see `ledger.rules.account_id`), so that posting needs no look-up.
    """

    __tablename__ = "ledger_accounts"
    __table_args__ = (
        UniqueConstraint("merchant_id", "id"),
        UniqueConstraint(
            "merchant_id", "network", "kind", "asset", "owner_id", name="uq_ledger_accounts_key",
            postgresql_nulls_not_distinct=True,
        ),
        network_check(),
        CheckConstraint(_IN_KINDS(", ".join(f"'{kind}'" for kind in ACCOUNT_KINDS)), "kind_known"),
        asset_check(),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    kind: Mapped[str]
    asset: Mapped[str]
    owner_id: Mapped[UUID | None]
    created_at: Mapped[CreatedAt]


class LedgerJournal(Base):
    __tablename__ = "ledger_journals"
    __table_args__ = (
        UniqueConstraint("merchant_id", "id"),
        UniqueConstraint("reverses_id"),
        network_check(),
        CheckConstraint(_IN_KINDS(", ".join(f"'{kind}'" for kind in JOURNAL_KINDS)), "kind_known"),
        CheckConstraint("(kind = 'reversal') = (reverses_id IS NOT NULL)", "reversal_names_journal"),
        ForeignKeyConstraint(
            ["merchant_id", "reverses_id"], ["ledger_journals.merchant_id", "ledger_journals.id"]
        ),
        Index("ix_ledger_journals_merchant_id_reference_id", "merchant_id", "reference_id"),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    kind: Mapped[str]
    reference_id: Mapped[UUID]
    reverses_id: Mapped[UUID | None]
    occurred_at: Mapped[Moment]
    created_at: Mapped[CreatedAt]


class LedgerEntry(Base):
    """One side of a posting; amount in units of the account's asset, always positive."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        CheckConstraint("side IN ('DEBIT', 'CREDIT')", "side_known"),
        CheckConstraint("amount > 0", "amount_positive"),
        ForeignKeyConstraint(
            ["merchant_id", "journal_id"], ["ledger_journals.merchant_id", "ledger_journals.id"]
        ),
        ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["ledger_accounts.merchant_id", "ledger_accounts.id"]
        ),
        Index("ix_ledger_entries_journal_id", "journal_id"),
        Index("ix_ledger_entries_account_id_id", "account_id", "id"),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID]
    journal_id: Mapped[UUID]
    account_id: Mapped[UUID]
    asset: Mapped[str]
    side: Mapped[str]
    amount: Mapped[Amount]


class AccountBalance(Base):
    """Projection of the entries: debits minus credits of one account, in units of its asset."""

    __tablename__ = "account_balances"
    __table_args__ = (
        CheckConstraint("version > 0", "version_positive"),
        ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["ledger_accounts.merchant_id", "ledger_accounts.id"]
        ),
    )

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    merchant_id: Mapped[UUID] = mapped_column(index=True)
    balance: Mapped[WideAmount] = mapped_column(server_default=text("0"))
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")
    updated_at: Mapped[UpdatedAt]


class BookCheck(Base):
    """One nightly look at a merchant's books: what was derived anew and where the rows said something else."""

    __tablename__ = "book_checks"
    __table_args__ = (
        network_check(),
        CheckConstraint("invoices >= 0 AND payments >= 0 AND accounts >= 0", "counts_not_negative"),
        CheckConstraint("jsonb_typeof(differences) = 'array'", "differences_are_a_list"),
        Index("ix_book_checks_latest", "merchant_id", "network", text("checked_at DESC")),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    checked_at: Mapped[Moment]
    invoices: Mapped[int]
    payments: Mapped[int]
    accounts: Mapped[int]
    differences: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
