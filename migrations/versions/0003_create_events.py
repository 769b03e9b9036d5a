"""Create events, the merchant's feed, the outbox and the workers' heartbeats."""

import guards
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("aggregate_type", sa.Text(), nullable=False),
        sa.Column("aggregate_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "aggregate_type IN ('invoice', 'payment', 'client', 'api_key', 'wallet')",
            name=op.f("ck_events_aggregate_known"),
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_events_network_known")),
        sa.CheckConstraint("version > 0", name=op.f("ck_events_version_positive")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_events_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("aggregate_id", "version", name=op.f("uq_events_aggregate_id_version")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_events_merchant_id_id")),
    )
    op.create_index(
        "ix_events_merchant_id_network_type_id",
        "events",
        ["merchant_id", "network", "type", "id"],
        unique=False,
    )
    op.create_table(
        "event_feed",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("seq > 0", name=op.f("ck_event_feed_seq_positive")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "event_id"],
            ["events.merchant_id", "events.id"],
            name=op.f("fk_event_feed_merchant_id_event_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "network", "seq", name=op.f("pk_event_feed")),
        sa.UniqueConstraint("event_id", name=op.f("uq_event_feed_event_id")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("discard_reason", sa.Text(), nullable=True),
        sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(state = 'DEAD') = (dead_at IS NOT NULL)", name=op.f("ck_outbox_dead_has_time")),
        sa.CheckConstraint(
            "consumer IN ('feed', 'mirror', 'mail', 'cache', 'totals')", name=op.f("ck_outbox_consumer_known")
        ),
        sa.CheckConstraint(
            "state IN ('PENDING', 'DONE', 'DEAD', 'DISCARDED')", name=op.f("ck_outbox_state_known")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_outbox_attempts_not_negative")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "event_id"],
            ["events.merchant_id", "events.id"],
            name=op.f("fk_outbox_merchant_id_event_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("event_id", "consumer", name=op.f("uq_outbox_event_id_consumer")),
    )
    op.create_index(
        "ix_outbox_dead",
        "outbox",
        ["consumer", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'DEAD'"),
    )
    op.create_index(
        "ix_outbox_due",
        "outbox",
        ["consumer", "next_attempt_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'PENDING'"),
    )
    op.create_table(
        "worker_heartbeats",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("detail", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_worker_heartbeats")),
    )
    _guard()


def _guard() -> None:

    for table in ("events", "event_feed"):
        guards.protect(table, web=guards.APPEND_ONLY)
    guards.protect("outbox", web=guards.MUTABLE, worker=guards.REMOVABLE)
    guards.grant("worker_heartbeats", web="SELECT", worker=guards.MUTABLE)


def downgrade() -> None:
    op.drop_table("worker_heartbeats")
    op.drop_table("outbox")
    op.drop_table("event_feed")
    op.drop_table("events")
