"""Who did what: append-only, written in the change's own transaction."""

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import CreatedAt, Identity
from portal.extensions import Base


class AuditEntry(Base):
    """One row; `merchant_id` is null where no merchant is known yet, as in a failed sign-in."""

    __tablename__ = "audit_log"
    __table_args__ = (
        ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        Index("ix_audit_log_merchant_id_created_at", "merchant_id", "created_at"),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID | None]
    actor: Mapped[str]
    action: Mapped[str]
    object_ref: Mapped[str | None]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]
    created_at: Mapped[CreatedAt]
