"""Chain facts, the credits they brought, where each credit went, and the hashes people submitted."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Numeric,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Amount, CreatedAt, Identity, Moment, UpdatedAt, UtcDateTime, asset_check, network_check
from portal.extensions import Base

_HASH = "{} ~ '^[0-9a-f]{{64}}$'".format


class ChainTransaction(Base):
    """One transaction as the network closed it: public facts, no merchant; insert-only."""

    __tablename__ = "chain_transactions"
    __table_args__ = (
        UniqueConstraint("network", "canonical_hash"),
        network_check(),
        CheckConstraint(_HASH("canonical_hash"), "hash_shape"),
    )

    id: Mapped[Identity]
    network: Mapped[str]
    canonical_hash: Mapped[str]
    ledger: Mapped[int] = mapped_column(BigInteger)
    closed_at: Mapped[Moment]
    source_account: Mapped[str]
    memo_type: Mapped[str]
    memo: Mapped[str | None]
    memo_bytes: Mapped[bytes | None] = mapped_column(LargeBinary)
    envelope_xdr: Mapped[str]
    raw: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[CreatedAt]


class ChainTransactionHash(Base):
    """Every name of a transaction: the outer hash of a fee-bump and the inner one lead to the same row."""

    __tablename__ = "chain_transaction_hashes"
    __table_args__ = (CheckConstraint(_HASH("hash"), "hash_shape"),)

    network: Mapped[str] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[UUID] = mapped_column(ForeignKey("chain_transactions.id"))


class Payment(Base):
    """One credit seen on the chain; its unique key alone decides whether it was recorded before."""

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("transaction_id", "operation_index", "credit_index"),
        UniqueConstraint("merchant_id", "id"),
        network_check(),
        asset_check(),
        CheckConstraint("amount > 0", "amount_positive"),
        CheckConstraint("operation_index >= 0 AND credit_index >= 0", "indexes_not_negative"),
        CheckConstraint("status IN ('CONFIRMED', 'UNMATCHED', 'IGNORED', 'REVERSED')", "status_known"),
        CheckConstraint("status <> 'CONFIRMED' OR invoice_id IS NOT NULL", "confirmed_has_invoice"),
        CheckConstraint("status <> 'UNMATCHED' OR reason IS NOT NULL", "unmatched_has_reason"),
        CheckConstraint("(decided_at IS NULL) = (decision IS NULL)", "decision_has_time"),
        CheckConstraint(
            "refunded >= 0 AND refund_reserved >= 0 AND refunded + refund_reserved <= amount",
            "refunds_within_amount",
        ),
        ForeignKeyConstraint(["merchant_id", "wallet_id"], ["wallets.merchant_id", "wallets.id"]),
        ForeignKeyConstraint(["merchant_id", "invoice_id"], ["invoices.merchant_id", "invoices.id"]),
        ForeignKeyConstraint(["merchant_id", "client_id"], ["clients.merchant_id", "clients.id"]),
        Index("ix_payments_list", "merchant_id", "network", text("created_at DESC"), text("id DESC")),
        Index("ix_payments_invoice_id", "merchant_id", "invoice_id"),
        Index("ix_payments_decided", "merchant_id", postgresql_where=text("decision IS NOT NULL")),
        Index(
            "ix_payments_unmatched", "merchant_id", "network", text("created_at DESC"),
            postgresql_where=text("status = 'UNMATCHED'"),
        ),
        Index(
            "ix_payments_ignored", "merchant_id", "network", text("created_at DESC"), text("id DESC"),
            postgresql_where=text("status = 'IGNORED'"),
        ),
    )  # fmt: skip

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    transaction_id: Mapped[UUID] = mapped_column(ForeignKey("chain_transactions.id"))
    operation_index: Mapped[int]
    credit_index: Mapped[int]
    wallet_id: Mapped[UUID]
    invoice_id: Mapped[UUID | None]
    client_id: Mapped[UUID | None]
    asset: Mapped[str]
    amount: Mapped[Amount]
    sender: Mapped[str]
    destination: Mapped[str]
    # An id of a muxed account is unsigned 64 bits, one more than bigint holds.
    muxed_id: Mapped[Decimal | None] = mapped_column(Numeric(20, 0))
    status: Mapped[str]
    reason: Mapped[str | None]
    flags: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    evidence: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    # What a person decided about it: action, note, parts (see `decisions`); such a payment is never shared out anew.
    decision: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Sent back, and promised to be by refunds under way; in units of the asset.
    refunded: Mapped[Amount] = mapped_column(server_default="0")
    refund_reserved: Mapped[Amount] = mapped_column(server_default="0")
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class ExternalPayment(Base):
    """Money that a person says was paid outside the network, with the reason; insert-only."""

    __tablename__ = "external_payments"
    __table_args__ = (
        UniqueConstraint("merchant_id", "id"),
        network_check(),
        asset_check(),
        CheckConstraint("amount > 0", "amount_positive"),
        CheckConstraint("method IN ('cash', 'bank', 'other')", "method_known"),
        CheckConstraint("reason <> ''", "reason_given"),
        ForeignKeyConstraint(["merchant_id", "invoice_id"], ["invoices.merchant_id", "invoices.id"]),
        Index("ix_external_payments_invoice_id", "merchant_id", "invoice_id"),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    invoice_id: Mapped[UUID]
    asset: Mapped[str]
    amount: Mapped[Amount]
    method: Mapped[str]
    reason: Mapped[str]
    received_on: Mapped[date]
    created_at: Mapped[CreatedAt]


class Clawback(Base):
    """An issuer took its asset back from a wallet; names the payment it undid, if one can be told.

    A contract call may take back several times: `debit_index` is the debit's place in the transaction.
    """

    __tablename__ = "clawbacks"
    __table_args__ = (
        UniqueConstraint("transaction_id", "debit_index"),
        UniqueConstraint("merchant_id", "id"),
        network_check(),
        asset_check(),
        CheckConstraint("amount > 0", "amount_positive"),
        CheckConstraint("debit_index >= 0", "index_not_negative"),
        ForeignKeyConstraint(["merchant_id", "wallet_id"], ["wallets.merchant_id", "wallets.id"]),
        ForeignKeyConstraint(["merchant_id", "payment_id"], ["payments.merchant_id", "payments.id"]),
        Index("ix_clawbacks_payment_id", "payment_id"),
        Index(
            "ix_clawbacks_unexplained",
            "wallet_id",
            "asset",
            "amount",
            postgresql_where=text("payment_id IS NULL"),
        ),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    transaction_id: Mapped[UUID] = mapped_column(ForeignKey("chain_transactions.id"))
    debit_index: Mapped[int]
    wallet_id: Mapped[UUID]
    payment_id: Mapped[UUID | None]
    asset: Mapped[str]
    amount: Mapped[Amount]
    created_at: Mapped[CreatedAt]


class Allocation(Base):
    """Money given to an invoice; `amount_received` is the sum of these rows and never anything else."""

    __tablename__ = "allocations"
    __table_args__ = (
        UniqueConstraint("merchant_id", "id"),
        UniqueConstraint("reverses_id"),
        network_check(),
        CheckConstraint("source IN ('payment', 'client_credit', 'external', 'rounding')", "source_known"),
        CheckConstraint("(reverses_id IS NULL) = (amount > 0) AND amount <> 0", "only_reversals_take_away"),
        ForeignKeyConstraint(["merchant_id", "invoice_id"], ["invoices.merchant_id", "invoices.id"]),
        ForeignKeyConstraint(
            ["merchant_id", "journal_id"], ["ledger_journals.merchant_id", "ledger_journals.id"]
        ),
        ForeignKeyConstraint(["merchant_id", "reverses_id"], ["allocations.merchant_id", "allocations.id"]),
        Index("ix_allocations_invoice_id", "invoice_id"),
        Index("ix_allocations_source_id", "source_id"),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    invoice_id: Mapped[UUID]
    source: Mapped[str]
    source_id: Mapped[UUID]
    amount: Mapped[Amount]
    journal_id: Mapped[UUID]
    reverses_id: Mapped[UUID | None]
    created_at: Mapped[CreatedAt]


class Submission(Base):
    """A hash that somebody says pays an invoice; one row per invoice and hash, followed until it is settled."""

    __tablename__ = "submissions"
    __table_args__ = (
        UniqueConstraint("invoice_id", "transaction_hash"),
        network_check(),
        CheckConstraint(_HASH("transaction_hash"), "hash_shape"),
        CheckConstraint("state IN ('CHECKING', 'ACCEPTED', 'REJECTED', 'NOT_FOUND')", "state_known"),
        CheckConstraint("(state = 'REJECTED') = (code IS NOT NULL)", "rejected_has_code"),
        CheckConstraint("attempts >= 0", "attempts_not_negative"),
        ForeignKeyConstraint(["merchant_id", "invoice_id"], ["invoices.merchant_id", "invoices.id"]),
        ForeignKeyConstraint(["merchant_id", "payment_id"], ["payments.merchant_id", "payments.id"]),
        Index("ix_submissions_due", "next_attempt_at", postgresql_where=text("state = 'CHECKING'")),
        Index("ix_submissions_merchant_id_created_at", "merchant_id", "created_at"),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    invoice_id: Mapped[UUID]
    transaction_hash: Mapped[str]
    origin: Mapped[str]
    state: Mapped[str]
    code: Mapped[str | None]
    rules: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    payment_id: Mapped[UUID | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    started_at: Mapped[Moment]
    next_attempt_at: Mapped[Moment]
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_token: Mapped[UUID | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class WatchCursor(Base):
    """How far the watcher has read: one row per wallet address, or one called `network`."""

    __tablename__ = "watch_cursors"

    network: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[str]
    checked_at: Mapped[Moment]
    updated_at: Mapped[UpdatedAt]


class WatchFailure(Base):
    """A record that could not be recorded, parked so that it stops nobody behind it."""

    __tablename__ = "watch_failures"
    __table_args__ = (
        UniqueConstraint("network", "transaction_hash", "scope"),
        Index("ix_watch_failures_open", "id", postgresql_where=text("resolved_at IS NULL")),
    )

    id: Mapped[Identity]
    network: Mapped[str]
    scope: Mapped[str]
    paging_token: Mapped[str]
    transaction_hash: Mapped[str]
    error: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="1")
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
