"""Create API keys and the answers kept for idempotency keys."""

import guards
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("last_four", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_ip", sa.Text(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_api_keys_network_known")),
        sa.CheckConstraint("prefix ~ '^[a-z0-9]{8}$'", name=op.f("ck_api_keys_prefix_shape")),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_api_keys_created_by")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_api_keys_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_api_keys_merchant_id_id")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_index(
        "ix_api_keys_merchant_id_created_at", "api_keys", ["merchant_id", "created_at"], unique=False
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("response_status", sa.Integer(), nullable=False),
        sa.Column("response_headers", postgresql.JSONB(), nullable=False),
        sa.Column("response_body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_idempotency_keys_network_known")),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 255", name=op.f("ck_idempotency_keys_key_length")),
        sa.CheckConstraint(
            "response_status BETWEEN 200 AND 499", name=op.f("ck_idempotency_keys_status_is_final")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_idempotency_keys_merchant_id")
        ),
        sa.PrimaryKeyConstraint("merchant_id", "network", "route", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    _guard()


def _guard() -> None:

    guards.protect("api_keys", web=guards.MUTABLE)
    guards.protect("idempotency_keys", web=guards.APPEND_ONLY, worker="SELECT, INSERT, DELETE")
    guards.definer_function(
        "resolve_api_key(of_prefix text)",
        "TABLE (merchant_id uuid, key_id uuid)",
        "SELECT k.merchant_id, k.id FROM api_keys k WHERE k.prefix = of_prefix",
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION resolve_api_key")
    op.drop_table("idempotency_keys")
    op.drop_table("api_keys")
