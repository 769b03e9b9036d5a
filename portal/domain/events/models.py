"""Events, the merchant's feed of them, and the outbox that carries each one to its consumers."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import CreatedAt, Identity, Moment, UpdatedAt, UtcDateTime, network_check
from portal.extensions import Base


class Event(Base):
    """A fact about one aggregate; `payload` is its whole public JSON at that version (refs and strings only)."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("aggregate_id", "version"),
        UniqueConstraint("merchant_id", "id"),
        CheckConstraint("version > 0", "version_positive"),
        network_check(),
        CheckConstraint(
            "aggregate_type IN ('invoice', 'payment', 'client', 'api_key', 'wallet', 'refund')",
            "aggregate_known",
        ),
        ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        Index("ix_events_merchant_id_network_type_id", "merchant_id", "network", "type", "id"),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID]
    network: Mapped[str]
    aggregate_type: Mapped[str]
    aggregate_id: Mapped[UUID]
    version: Mapped[int]
    type: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    occurred_at: Mapped[Moment]
    created_at: Mapped[CreatedAt]


class FeedEntry(Base):
    """The place of an event in its merchant's feed: gapless per merchant and network, given by the relay."""

    __tablename__ = "event_feed"
    __table_args__ = (
        CheckConstraint("seq > 0", "seq_positive"),
        ForeignKeyConstraint(["merchant_id", "event_id"], ["events.merchant_id", "events.id"]),
        UniqueConstraint("event_id"),
    )

    merchant_id: Mapped[UUID] = mapped_column(primary_key=True)
    network: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[UUID]
    created_at: Mapped[CreatedAt]


class OutboxEntry(Base):
    """One event on its way to one consumer; the row is the job."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("event_id", "consumer"),
        CheckConstraint("consumer IN ('feed', 'mirror', 'mail', 'cache', 'totals')", "consumer_known"),
        CheckConstraint("state IN ('PENDING', 'DONE', 'DEAD', 'DISCARDED')", "state_known"),
        CheckConstraint("attempts >= 0", "attempts_not_negative"),
        CheckConstraint("(state = 'DEAD') = (dead_at IS NOT NULL)", "dead_has_time"),
        ForeignKeyConstraint(["merchant_id", "event_id"], ["events.merchant_id", "events.id"]),
        Index(
            "ix_outbox_due", "consumer", "next_attempt_at", "id", postgresql_where=text("state = 'PENDING'")
        ),
        Index("ix_outbox_dead", "consumer", "id", postgresql_where=text("state = 'DEAD'")),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID]
    event_id: Mapped[UUID]
    consumer: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="PENDING")
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[Moment]
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_token: Mapped[UUID | None]
    last_error: Mapped[str | None]
    discard_reason: Mapped[str | None]
    dead_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class WorkerHeartbeat(Base):
    """When each worker job last finished a round; `/readyz` and the banners read it."""

    __tablename__ = "worker_heartbeats"

    job: Mapped[str] = mapped_column(primary_key=True)
    beat_at: Mapped[Moment]
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
