"""Create clients and their search."""

import guards
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clients",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("email_lower", sa.Text(), nullable=True),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("tax_id", sa.Text(), nullable=True),
        sa.Column(
            "wallet_addresses", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column(
            "billing_address", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "shipping_address", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("terms_days", sa.Integer(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("search_text", sa.Text(), server_default="", nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("email_lower = lower(email_lower)", name=op.f("ck_clients_email_lower_is_lower")),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name=op.f("ck_clients_name_length")),
        sa.CheckConstraint(
            "terms_days IS NULL OR terms_days BETWEEN 0 AND 365", name=op.f("ck_clients_terms_within_a_year")
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_clients_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
        sa.UniqueConstraint("merchant_id", "email_lower", name=op.f("uq_clients_merchant_id_email_lower")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_clients_merchant_id_id")),
    )
    op.create_index(
        "ix_clients_merchant_id_created_at_id",
        "clients",
        ["merchant_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    _guard()


def _guard() -> None:

    guards.protect("clients", web=guards.MUTABLE)
    op.execute("CREATE INDEX ix_clients_search_text ON clients USING gin (search_text gin_trgm_ops)")
    # Below a policy only leakproof operators become index conditions and LIKE is not one of them, so the
    # search runs as the owner and filters on the tenant itself.
    guards.definer_function(
        "search_clients(needle text, most integer)",
        "SETOF uuid",
        f"""
        SELECT c.id FROM clients c
        WHERE c.{guards.OF_TENANT} AND c.search_text LIKE '%' || needle || '%'
        ORDER BY c.created_at DESC, c.id DESC
        LIMIT least(most, 1001)
        """,
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION search_clients")
    op.drop_table("clients")
