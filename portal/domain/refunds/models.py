"""Money sent back to its payer by the merchant's own wallet: the portal prepares, follows and verifies."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    TEXT,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Numeric,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Amount, CreatedAt, Identity, Moment, UpdatedAt, UtcDateTime, asset_check, network_check
from portal.extensions import Base


class Refund(Base):
    """A refund of one payment; `from_*` say which accounts bore it, set when the network confirmed it.

    `expected_hashes` are those of the envelopes we built, that of `envelope_xdr` last: signatures do not change
    them, so the worker can look for them without being told. `transaction_hash` is one that a person submitted.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("merchant_id", "id"),
        UniqueConstraint("transaction_id", "operation_index"),
        network_check(),
        asset_check(),
        CheckConstraint("amount > 0", "amount_positive"),
        CheckConstraint(
            "status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED')", "status_known"
        ),
        CheckConstraint("memo_type IN ('none', 'text', 'id', 'hash')", "memo_type_known"),
        CheckConstraint("(memo_type = 'none') = (memo IS NULL)", "memo_has_type"),
        CheckConstraint(
            "(status = 'COMPLETED') = (completed_at IS NOT NULL AND transaction_id IS NOT NULL"
            " AND operation_index IS NOT NULL)",
            "completed_is_whole",
        ),
        CheckConstraint(
            "from_suspense >= 0 AND from_credit >= 0 AND from_revenue >= 0"
            " AND from_suspense + from_credit + from_revenue ="
            " CASE WHEN status = 'COMPLETED' THEN amount ELSE 0 END",
            "borne_when_completed",
        ),
        CheckConstraint("attempts >= 0", "attempts_not_negative"),
        ForeignKeyConstraint(["merchant_id", "payment_id"], ["payments.merchant_id", "payments.id"]),
        ForeignKeyConstraint(["merchant_id", "wallet_id"], ["wallets.merchant_id", "wallets.id"]),
        Index("ix_refunds_payment_id", "merchant_id", "payment_id"),
        Index("ix_refunds_list", "merchant_id", "network", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_refunds_due", "next_attempt_at", postgresql_where=text("status IN ('PENDING', 'PROCESSING')")
        ),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    payment_id: Mapped[UUID]
    wallet_id: Mapped[UUID]
    source: Mapped[str]
    destination: Mapped[str]
    asset: Mapped[str]
    amount: Mapped[Amount]
    memo_type: Mapped[str] = mapped_column(server_default="none")
    memo: Mapped[str | None]
    reason: Mapped[str]
    status: Mapped[str]
    code: Mapped[str | None]
    envelope_xdr: Mapped[str | None]
    expected_hashes: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    transaction_hash: Mapped[str | None]
    transaction_id: Mapped[UUID | None] = mapped_column(ForeignKey("chain_transactions.id"))
    operation_index: Mapped[int | None]
    from_suspense: Mapped[Decimal] = mapped_column(Numeric(20, 7), server_default="0")
    from_credit: Mapped[Decimal] = mapped_column(Numeric(20, 7), server_default="0")
    from_revenue: Mapped[Decimal] = mapped_column(Numeric(20, 7), server_default="0")
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[Moment]
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_token: Mapped[UUID | None]
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
