"""Invoices with their lines; numbers are gapless per merchant, network and month."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Numeric,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import (
    Amount,
    CreatedAt,
    Identity,
    UpdatedAt,
    UtcDateTime,
    WideAmount,
    asset_check,
    network_check,
)
from portal.extensions import Base

EMPTY_OBJECT = text("'{}'::jsonb")


class Counter(Base):
    """The last number given in one series; its row is the last lock an issuing transaction takes."""

    __tablename__ = "counters"
    __table_args__ = (
        CheckConstraint("value > 0", "value_positive"),
        network_check(),
    )

    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"), primary_key=True)
    network: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Invoice(Base):
    """A demand for `amount` units of `asset`; what was agreed is frozen when it is issued."""

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("merchant_id", "id"),
        UniqueConstraint("merchant_id", "network", "number"),
        UniqueConstraint("merchant_id", "network", "external_id"),
        UniqueConstraint("network", "pay_ref"),
        UniqueConstraint("token"),
        network_check(),
        CheckConstraint("status IN ('DRAFT', 'PENDING', 'PAID', 'EXPIRED', 'CANCELLED')", "status_known"),
        asset_check(),
        CheckConstraint("amount > 0", "amount_positive"),
        CheckConstraint("amount_received >= 0 AND amount_received <= amount", "received_within_amount"),
        CheckConstraint("withheld >= 0", "withheld_not_negative"),
        CheckConstraint("subtotal - discount_total + tax_total = amount", "totals_add_up"),
        CheckConstraint("discount_total >= 0 AND tax_total >= 0", "lines_not_negative"),
        CheckConstraint(
            "(status = 'DRAFT') = (issued_at IS NULL AND number IS NULL AND pay_ref IS NULL AND destination IS NULL"
            " AND wallet_id IS NULL AND expires_at IS NULL)"
            " AND (status = 'DRAFT' OR (issued_at IS NOT NULL AND number IS NOT NULL AND pay_ref IS NOT NULL"
            " AND destination IS NOT NULL AND wallet_id IS NOT NULL AND expires_at IS NOT NULL))",
            "issued_is_whole",
        ),
        CheckConstraint("(status = 'PAID') = (paid_at IS NOT NULL)", "paid_has_time"),
        CheckConstraint("(status IN ('EXPIRED', 'CANCELLED')) = (closed_at IS NOT NULL)", "closed_has_time"),
        CheckConstraint(
            "status <> 'PAID' OR amount_received = amount OR 'reversed' = ANY(flags)", "paid_is_fully_received"
        ),
        CheckConstraint("pay_ref BETWEEN 100000000000 AND 999999999999999", "pay_ref_range"),
        CheckConstraint("expires_at > issued_at", "expires_after_issue"),
        CheckConstraint("expires_in_seconds BETWEEN 60 AND 31622400", "expires_within_a_year"),
        ForeignKeyConstraint(["merchant_id", "client_id"], ["clients.merchant_id", "clients.id"]),
        ForeignKeyConstraint(["merchant_id", "wallet_id"], ["wallets.merchant_id", "wallets.id"]),
        Index(
            "ix_invoices_list", "merchant_id", "network", text("created_at DESC"), text("id DESC")
        ),
        Index(
            "ix_invoices_list_by_status",
            "merchant_id", "network", "status", text("created_at DESC"), text("id DESC"),
        ),
        Index("ix_invoices_expiring", "expires_at", postgresql_where=text("status = 'PENDING'")),
        Index(
            "ix_invoices_search_text", "search_text", postgresql_using="gin",
            postgresql_ops={"search_text": "gin_trgm_ops"},
        ),
        Index("ix_invoices_client_id", "merchant_id", "client_id"),
        Index(
            "ix_invoices_reversed", "merchant_id", "network", postgresql_where=text("'reversed' = ANY (flags)")
        ),
    )  # fmt: skip

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    number: Mapped[str | None]
    client_id: Mapped[UUID | None]
    status: Mapped[str]
    asset: Mapped[str]
    subtotal: Mapped[Amount]
    discount_total: Mapped[Amount]
    tax_total: Mapped[Amount]
    amount: Mapped[Amount]
    amount_received: Mapped[Amount] = mapped_column(server_default="0")
    overpaid_by: Mapped[WideAmount] = mapped_column(server_default="0")
    # Of that, what was spent elsewhere before a clawback opened a gap that it could have paid.
    withheld: Mapped[WideAmount] = mapped_column(server_default="0")
    flags: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    description: Mapped[str] = mapped_column(server_default="")
    token: Mapped[str]
    pay_ref: Mapped[int | None] = mapped_column(BigInteger)
    wallet_id: Mapped[UUID | None]
    destination: Mapped[str | None]
    expires_in_seconds: Mapped[int]
    issued_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paid_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    client_snapshot: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=EMPTY_OBJECT)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=EMPTY_OBJECT)
    external_id: Mapped[str | None]
    search_text: Mapped[str] = mapped_column(server_default="")
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class InvoiceItem(Base):
    """One line: quantity (6 places at most) x unit price, rounded half up to 7 places."""

    __tablename__ = "invoice_items"
    __table_args__ = (
        UniqueConstraint("invoice_id", "position"),
        CheckConstraint("quantity > 0", "quantity_positive"),
        CheckConstraint("unit_price >= 0 AND total >= 0", "price_not_negative"),
        ForeignKeyConstraint(["merchant_id", "invoice_id"], ["invoices.merchant_id", "invoices.id"]),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID]
    invoice_id: Mapped[UUID]
    position: Mapped[int]
    description: Mapped[str]
    quantity: Mapped[Decimal] = mapped_column(Numeric(18, 6))
    unit_price: Mapped[Amount]
    total: Mapped[Amount]


class _Adjustment:
    """What discount and tax lines share: a label and either a percent or, for discounts, an amount."""

    id: Mapped[Identity]
    merchant_id: Mapped[UUID]
    invoice_id: Mapped[UUID]
    position: Mapped[int]
    label: Mapped[str]
    percent: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    total: Mapped[Amount]


def _adjustment_args(percent: str) -> tuple[Any, ...]:
    return (
        UniqueConstraint("invoice_id", "position"),
        CheckConstraint(percent, "percent_range"),
        CheckConstraint("total >= 0", "total_not_negative"),
        ForeignKeyConstraint(["merchant_id", "invoice_id"], ["invoices.merchant_id", "invoices.id"]),
    )


class DiscountLine(_Adjustment, Base):
    __tablename__ = "discount_lines"
    __table_args__ = _adjustment_args("percent IS NULL OR (percent > 0 AND percent <= 100)")


class TaxLine(_Adjustment, Base):
    __tablename__ = "tax_lines"
    __table_args__ = _adjustment_args("percent IS NOT NULL AND percent >= 0 AND percent <= 100")
