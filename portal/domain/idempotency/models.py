"""Answers kept for callers who repeat a request with the same Idempotency-Key."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import CreatedAt, network_check
from portal.extensions import Base


class IdempotencyKey(Base):
    """The first answer to (merchant, network, route, key), byte for byte; inserted with the effect itself."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        network_check(),
        CheckConstraint("length(key) BETWEEN 1 AND 255", "key_length"),
        CheckConstraint("response_status BETWEEN 200 AND 499", "status_is_final"),
        Index("ix_idempotency_keys_created_at", "created_at"),
    )

    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"), primary_key=True)
    network: Mapped[str] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_hash: Mapped[str]
    response_status: Mapped[int]
    response_headers: Mapped[dict[str, Any]] = mapped_column(JSONB)
    response_body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[CreatedAt]
