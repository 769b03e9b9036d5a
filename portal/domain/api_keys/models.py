"""API keys: shown once, stored as a keyed hash of their 256-bit secret."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import CreatedAt, Identity, UpdatedAt, UtcDateTime, network_check
from portal.extensions import Base


class ApiKey(Base):
    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("prefix"),
        UniqueConstraint("merchant_id", "id"),
        network_check(),
        CheckConstraint("prefix ~ '^[a-z0-9]{8}$'", "prefix_shape"),
        Index("ix_api_keys_merchant_id_created_at", "merchant_id", "created_at"),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    name: Mapped[str]
    prefix: Mapped[str]
    last_four: Mapped[str]
    secret_hash: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"))
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_ip: Mapped[str | None]
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
