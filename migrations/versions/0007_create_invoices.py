"""Create invoices with their lines, counters, state machine and search."""

import guards
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# The one transition table (design, section 5), here a second time because the database is the last reviewer.
_GUARD_UPDATE = """
BEGIN
    IF OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
        ('DRAFT', 'PENDING'), ('PENDING', 'PAID'), ('PENDING', 'EXPIRED'), ('PENDING', 'CANCELLED'),
        ('EXPIRED', 'PAID')
    ) THEN
        RAISE EXCEPTION 'invoice % cannot go from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_transition';
    END IF;
    IF (OLD.merchant_id, OLD.network, OLD.token) IS DISTINCT FROM (NEW.merchant_id, NEW.network, NEW.token)
        OR OLD.status <> 'DRAFT' AND (
            OLD.number, OLD.asset, OLD.subtotal, OLD.discount_total, OLD.tax_total, OLD.amount, OLD.pay_ref,
            OLD.wallet_id, OLD.destination, OLD.issued_at, OLD.client_id, OLD.client_snapshot
        ) IS DISTINCT FROM (
            NEW.number, NEW.asset, NEW.subtotal, NEW.discount_total, NEW.tax_total, NEW.amount, NEW.pay_ref,
            NEW.wallet_id, NEW.destination, NEW.issued_at, NEW.client_id, NEW.client_snapshot
        )
    THEN
        RAISE EXCEPTION 'invoice % was issued: what was agreed is frozen', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_frozen';
    END IF;
    RETURN NEW;
END
"""

_GUARD_DELETE = """
BEGIN
    IF OLD.status <> 'DRAFT' THEN
        RAISE EXCEPTION 'invoice % was issued and stays', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_stays';
    END IF;
    RETURN OLD;
END
"""

_GUARD_LINE = """
BEGIN
    IF EXISTS (SELECT FROM invoices i WHERE i.id = OLD.invoice_id AND i.status <> 'DRAFT') THEN
        RAISE EXCEPTION 'the lines of issued invoice % are frozen', OLD.invoice_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_lines_frozen';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
"""

_CHECK_LINES = """
DECLARE
    wanted uuid;
BEGIN
    -- One function for the invoice and its three kinds of line: the key is named differently.
    IF TG_TABLE_NAME = 'invoices' THEN
        wanted := NEW.id;
    ELSIF TG_OP = 'DELETE' THEN
        wanted := OLD.invoice_id;
    ELSE
        wanted := NEW.invoice_id;
    END IF;
    IF EXISTS (
        SELECT FROM invoices i
        WHERE i.id = wanted AND (
            i.subtotal <> (SELECT coalesce(sum(t.total), 0) FROM invoice_items t WHERE t.invoice_id = i.id)
            OR i.discount_total <> (SELECT coalesce(sum(t.total), 0) FROM discount_lines t WHERE t.invoice_id = i.id)
            OR i.tax_total <> (SELECT coalesce(sum(t.total), 0) FROM tax_lines t WHERE t.invoice_id = i.id)
        )
    ) THEN
        RAISE EXCEPTION 'the lines of invoice % do not add up to its totals', wanted
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_lines_add_up';
    END IF;
    RETURN NULL;
END
"""


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_counters_network_known")),
        sa.CheckConstraint("value > 0", name=op.f("ck_counters_value_positive")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_counters_merchant_id")),
        sa.PrimaryKeyConstraint("merchant_id", "network", "kind", "period", name=op.f("pk_counters")),
    )
    op.create_table(
        "invoices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("subtotal", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("discount_total", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("tax_total", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("amount_received", sa.Numeric(precision=20, scale=7), server_default="0", nullable=False),
        sa.Column("overpaid_by", sa.Numeric(precision=20, scale=7), server_default="0", nullable=False),
        sa.Column("flags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("pay_ref", sa.BigInteger(), nullable=True),
        sa.Column("wallet_id", sa.Uuid(), nullable=True),
        sa.Column("destination", sa.Text(), nullable=True),
        sa.Column("expires_in_seconds", sa.Integer(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "client_snapshot", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("search_text", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'DRAFT') = (issued_at IS NULL AND number IS NULL AND pay_ref IS NULL AND destination IS NULL AND wallet_id IS NULL AND expires_at IS NULL) AND (status = 'DRAFT' OR (issued_at IS NOT NULL AND number IS NOT NULL AND pay_ref IS NOT NULL AND destination IS NOT NULL AND wallet_id IS NOT NULL AND expires_at IS NOT NULL))",
            name=op.f("ck_invoices_issued_is_whole"),
        ),
        sa.CheckConstraint(
            "(status = 'PAID') = (paid_at IS NOT NULL)", name=op.f("ck_invoices_paid_has_time")
        ),
        sa.CheckConstraint(
            "(status IN ('EXPIRED', 'CANCELLED')) = (closed_at IS NOT NULL)",
            name=op.f("ck_invoices_closed_has_time"),
        ),
        sa.CheckConstraint(
            "asset ~ '^(native|[A-Za-z0-9]{1,12}\\:G[A-Z2-7]{55})$'", name=op.f("ck_invoices_asset_shape")
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_invoices_network_known")),
        sa.CheckConstraint(
            "status <> 'PAID' OR amount_received = amount OR 'reversed' = ANY(flags)",
            name=op.f("ck_invoices_paid_is_fully_received"),
        ),
        sa.CheckConstraint(
            "status IN ('DRAFT', 'PENDING', 'PAID', 'EXPIRED', 'CANCELLED')",
            name=op.f("ck_invoices_status_known"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_invoices_amount_positive")),
        sa.CheckConstraint(
            "amount_received >= 0 AND amount_received <= amount",
            name=op.f("ck_invoices_received_within_amount"),
        ),
        sa.CheckConstraint(
            "discount_total >= 0 AND tax_total >= 0", name=op.f("ck_invoices_lines_not_negative")
        ),
        sa.CheckConstraint("expires_at > issued_at", name=op.f("ck_invoices_expires_after_issue")),
        sa.CheckConstraint(
            "expires_in_seconds BETWEEN 60 AND 31622400", name=op.f("ck_invoices_expires_within_a_year")
        ),
        sa.CheckConstraint(
            "pay_ref BETWEEN 100000000000 AND 999999999999999", name=op.f("ck_invoices_pay_ref_range")
        ),
        sa.CheckConstraint(
            "subtotal - discount_total + tax_total = amount", name=op.f("ck_invoices_totals_add_up")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "client_id"],
            ["clients.merchant_id", "clients.id"],
            name=op.f("fk_invoices_merchant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "wallet_id"],
            ["wallets.merchant_id", "wallets.id"],
            name=op.f("fk_invoices_merchant_id_wallet_id"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_invoices_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_invoices_merchant_id_id")),
        sa.UniqueConstraint(
            "merchant_id", "network", "external_id", name=op.f("uq_invoices_merchant_id_network_external_id")
        ),
        sa.UniqueConstraint(
            "merchant_id", "network", "number", name=op.f("uq_invoices_merchant_id_network_number")
        ),
        sa.UniqueConstraint("network", "pay_ref", name=op.f("uq_invoices_network_pay_ref")),
        sa.UniqueConstraint("token", name=op.f("uq_invoices_token")),
    )
    op.create_index("ix_invoices_client_id", "invoices", ["merchant_id", "client_id"], unique=False)
    op.create_index(
        "ix_invoices_expiring",
        "invoices",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'PENDING'"),
    )
    op.create_index(
        "ix_invoices_list",
        "invoices",
        ["merchant_id", "network", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_invoices_list_by_status",
        "invoices",
        [
            "merchant_id",
            "network",
            "status",
            sa.literal_column("created_at DESC"),
            sa.literal_column("id DESC"),
        ],
        unique=False,
    )
    op.create_table(
        "invoice_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("unit_price", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("total", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_invoice_items_quantity_positive")),
        sa.CheckConstraint(
            "unit_price >= 0 AND total >= 0", name=op.f("ck_invoice_items_price_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "invoice_id"],
            ["invoices.merchant_id", "invoices.id"],
            name=op.f("fk_invoice_items_merchant_id_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_items")),
        sa.UniqueConstraint("invoice_id", "position", name=op.f("uq_invoice_items_invoice_id_position")),
    )
    op.create_table(
        "discount_lines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("percent", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("total", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.CheckConstraint(
            "percent IS NULL OR (percent > 0 AND percent <= 100)",
            name=op.f("ck_discount_lines_percent_range"),
        ),
        sa.CheckConstraint("total >= 0", name=op.f("ck_discount_lines_total_not_negative")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "invoice_id"],
            ["invoices.merchant_id", "invoices.id"],
            name=op.f("fk_discount_lines_merchant_id_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discount_lines")),
        sa.UniqueConstraint("invoice_id", "position", name=op.f("uq_discount_lines_invoice_id_position")),
    )
    op.create_table(
        "tax_lines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("percent", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("total", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.CheckConstraint(
            "percent IS NOT NULL AND percent >= 0 AND percent <= 100", name=op.f("ck_tax_lines_percent_range")
        ),
        sa.CheckConstraint("total >= 0", name=op.f("ck_tax_lines_total_not_negative")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "invoice_id"],
            ["invoices.merchant_id", "invoices.id"],
            name=op.f("fk_tax_lines_merchant_id_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_lines")),
        sa.UniqueConstraint("invoice_id", "position", name=op.f("uq_tax_lines_invoice_id_position")),
    )
    _guard()


def _guard() -> None:

    guards.protect("counters", web=guards.MUTABLE)
    guards.protect("invoices", web=guards.REMOVABLE)
    for table in ("invoice_items", "discount_lines", "tax_lines"):
        guards.protect(table, web=guards.REMOVABLE)
    guards.trigger_function("guard_invoice_update", _GUARD_UPDATE)
    op.execute(
        "CREATE TRIGGER invoices_guard_update BEFORE UPDATE ON invoices"
        " FOR EACH ROW EXECUTE FUNCTION guard_invoice_update()"
    )
    guards.trigger_function("guard_invoice_delete", _GUARD_DELETE)
    op.execute(
        "CREATE TRIGGER invoices_guard_delete BEFORE DELETE ON invoices"
        " FOR EACH ROW EXECUTE FUNCTION guard_invoice_delete()"
    )
    guards.trigger_function("guard_invoice_line", _GUARD_LINE, definer=True)
    guards.trigger_function("check_invoice_lines", _CHECK_LINES, definer=True)
    guards.deferred_trigger(
        "invoices_lines", "invoices", "INSERT OR UPDATE OF subtotal, amount", "check_invoice_lines"
    )
    for table in ("invoice_items", "discount_lines", "tax_lines"):
        op.execute(
            f"CREATE TRIGGER {table}_guard BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION guard_invoice_line()"
        )
        guards.deferred_trigger(f"{table}_sum", table, "INSERT OR UPDATE OR DELETE", "check_invoice_lines")
    op.execute("CREATE INDEX ix_invoices_search_text ON invoices USING gin (search_text gin_trgm_ops)")
    guards.definer_function(
        "resolve_checkout(of_token text)",
        "TABLE (merchant_id uuid, invoice_id uuid)",
        "SELECT i.merchant_id, i.id FROM invoices i WHERE i.token = of_token",
    )
    guards.definer_function(
        "search_invoices(of_network text, needle text, most integer)",
        "SETOF uuid",
        f"""
        SELECT i.id FROM invoices i
        WHERE i.{guards.OF_TENANT} AND i.network = of_network AND i.search_text LIKE '%' || needle || '%'
        ORDER BY i.created_at DESC, i.id DESC
        LIMIT least(most, 1001)
        """,
    )


def downgrade() -> None:
    for function in ("resolve_checkout", "search_invoices"):
        op.execute(f"DROP FUNCTION {function}")
    for function in (
        "guard_invoice_update",
        "guard_invoice_delete",
        "guard_invoice_line",
        "check_invoice_lines",
    ):
        op.execute(f"DROP FUNCTION {function} CASCADE")
    op.drop_table("tax_lines")
    op.drop_table("discount_lines")
    op.drop_table("invoice_items")
    op.drop_table("invoices")
    op.drop_table("counters")
