"""The merchant's customers, shared by both networks."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import CreatedAt, Identity, UpdatedAt, UtcDateTime
from portal.extensions import Base


class Client(Base):
    __tablename__ = "clients"
    __table_args__ = (
        UniqueConstraint("merchant_id", "id"),
        UniqueConstraint("merchant_id", "email_lower"),
        CheckConstraint("email_lower = lower(email_lower)", "email_lower_is_lower"),
        CheckConstraint("length(name) BETWEEN 1 AND 200", "name_length"),
        CheckConstraint("terms_days IS NULL OR terms_days BETWEEN 0 AND 365", "terms_within_a_year"),
        Index("ix_clients_merchant_id_created_at_id", "merchant_id", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_clients_search_text", "search_text", postgresql_using="gin",
            postgresql_ops={"search_text": "gin_trgm_ops"},
        ),
    )  # fmt: skip

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    name: Mapped[str]
    email: Mapped[str | None]
    email_lower: Mapped[str | None]
    company: Mapped[str | None]
    tax_id: Mapped[str | None]
    wallet_addresses: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    billing_address: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    shipping_address: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    locale: Mapped[str | None]
    terms_days: Mapped[int | None]
    notes: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=text("'{}'::jsonb"))
    search_text: Mapped[str] = mapped_column(server_default="")
    archived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
