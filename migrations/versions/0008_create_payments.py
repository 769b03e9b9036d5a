"""Create chain facts, payments, allocations, submissions and the watcher's cursors."""

import guards
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ALLOCATION_SUM = """
DECLARE
    wanted uuid := CASE TG_TABLE_NAME WHEN 'invoices' THEN NEW.id ELSE NULL END;
BEGIN
    IF TG_TABLE_NAME = 'allocations' THEN
        wanted := NEW.invoice_id;
    END IF;
    IF EXISTS (
        SELECT FROM invoices i
        WHERE i.id = wanted
            AND i.amount_received <> (SELECT coalesce(sum(a.amount), 0) FROM allocations a WHERE a.invoice_id = i.id)
    ) THEN
        RAISE EXCEPTION 'amount_received of invoice % is not the sum of its allocations', wanted
            USING ERRCODE = 'check_violation', CONSTRAINT = 'received_is_allocated';
    END IF;
    RETURN NULL;
END
"""


def upgrade() -> None:
    op.create_table(
        "chain_transactions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("canonical_hash", sa.Text(), nullable=False),
        sa.Column("ledger", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source_account", sa.Text(), nullable=False),
        sa.Column("memo_type", sa.Text(), nullable=False),
        sa.Column("memo", sa.Text(), nullable=True),
        sa.Column("memo_bytes", sa.LargeBinary(), nullable=True),
        sa.Column("envelope_xdr", sa.Text(), nullable=False),
        sa.Column("raw", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "canonical_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_chain_transactions_hash_shape")
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_chain_transactions_network_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain_transactions")),
        sa.UniqueConstraint(
            "network", "canonical_hash", name=op.f("uq_chain_transactions_network_canonical_hash")
        ),
    )
    op.create_table(
        "chain_transaction_hashes",
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_chain_transaction_hashes_hash_shape")),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["chain_transactions.id"],
            name=op.f("fk_chain_transaction_hashes_transaction_id"),
        ),
        sa.PrimaryKeyConstraint("network", "hash", name=op.f("pk_chain_transaction_hashes")),
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("operation_index", sa.Integer(), nullable=False),
        sa.Column("credit_index", sa.Integer(), nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("muxed_id", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("flags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "asset ~ '^(native|[A-Za-z0-9]{1,12}\\:G[A-Z2-7]{55})$'", name=op.f("ck_payments_asset_shape")
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_payments_network_known")),
        sa.CheckConstraint(
            "status <> 'CONFIRMED' OR invoice_id IS NOT NULL", name=op.f("ck_payments_confirmed_has_invoice")
        ),
        sa.CheckConstraint(
            "status <> 'UNMATCHED' OR reason IS NOT NULL", name=op.f("ck_payments_unmatched_has_reason")
        ),
        sa.CheckConstraint(
            "status IN ('CONFIRMED', 'UNMATCHED', 'IGNORED', 'REVERSED')",
            name=op.f("ck_payments_status_known"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_payments_amount_positive")),
        sa.CheckConstraint(
            "operation_index >= 0 AND credit_index >= 0", name=op.f("ck_payments_indexes_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "client_id"],
            ["clients.merchant_id", "clients.id"],
            name=op.f("fk_payments_merchant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "invoice_id"],
            ["invoices.merchant_id", "invoices.id"],
            name=op.f("fk_payments_merchant_id_invoice_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "wallet_id"],
            ["wallets.merchant_id", "wallets.id"],
            name=op.f("fk_payments_merchant_id_wallet_id"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_payments_merchant_id")),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["chain_transactions.id"], name=op.f("fk_payments_transaction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_payments_merchant_id_id")),
        sa.UniqueConstraint(
            "transaction_id",
            "operation_index",
            "credit_index",
            name=op.f("uq_payments_transaction_id_operation_index_credit_index"),
        ),
    )
    op.create_index("ix_payments_invoice_id", "payments", ["merchant_id", "invoice_id"], unique=False)
    op.create_index(
        "ix_payments_list",
        "payments",
        ["merchant_id", "network", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_payments_unmatched",
        "payments",
        ["merchant_id", "network", sa.literal_column("created_at DESC")],
        unique=False,
        postgresql_where=sa.text("status = 'UNMATCHED'"),
    )
    op.create_table(
        "allocations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("journal_id", sa.Uuid(), nullable=False),
        sa.Column("reverses_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_allocations_network_known")),
        sa.CheckConstraint(
            "source IN ('payment', 'client_credit', 'external', 'rounding')",
            name=op.f("ck_allocations_source_known"),
        ),
        sa.CheckConstraint(
            "(reverses_id IS NULL) = (amount > 0) AND amount <> 0",
            name=op.f("ck_allocations_only_reversals_take_away"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "invoice_id"],
            ["invoices.merchant_id", "invoices.id"],
            name=op.f("fk_allocations_merchant_id_invoice_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "journal_id"],
            ["ledger_journals.merchant_id", "ledger_journals.id"],
            name=op.f("fk_allocations_merchant_id_journal_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "reverses_id"],
            ["allocations.merchant_id", "allocations.id"],
            name=op.f("fk_allocations_merchant_id_reverses_id"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_allocations_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocations")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_allocations_merchant_id_id")),
        sa.UniqueConstraint("reverses_id", name=op.f("uq_allocations_reverses_id")),
    )
    op.create_index("ix_allocations_invoice_id", "allocations", ["invoice_id"], unique=False)
    op.create_index("ix_allocations_source_id", "allocations", ["source_id"], unique=False)
    op.create_table(
        "submissions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_hash", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("rules", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(state = 'REJECTED') = (code IS NOT NULL)", name=op.f("ck_submissions_rejected_has_code")
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_submissions_network_known")),
        sa.CheckConstraint(
            "state IN ('CHECKING', 'ACCEPTED', 'REJECTED', 'NOT_FOUND')",
            name=op.f("ck_submissions_state_known"),
        ),
        sa.CheckConstraint("transaction_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_submissions_hash_shape")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_submissions_attempts_not_negative")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "invoice_id"],
            ["invoices.merchant_id", "invoices.id"],
            name=op.f("fk_submissions_merchant_id_invoice_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "payment_id"],
            ["payments.merchant_id", "payments.id"],
            name=op.f("fk_submissions_merchant_id_payment_id"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_submissions_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint(
            "invoice_id", "transaction_hash", name=op.f("uq_submissions_invoice_id_transaction_hash")
        ),
    )
    op.create_index(
        "ix_submissions_due",
        "submissions",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'CHECKING'"),
    )
    op.create_index(
        "ix_submissions_merchant_id_created_at", "submissions", ["merchant_id", "created_at"], unique=False
    )
    op.create_table(
        "watch_cursors",
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("network", "scope", name=op.f("pk_watch_cursors")),
    )
    op.create_table(
        "watch_failures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("paging_token", sa.Text(), nullable=False),
        sa.Column("transaction_hash", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watch_failures")),
        sa.UniqueConstraint(
            "network",
            "transaction_hash",
            "scope",
            name=op.f("uq_watch_failures_network_transaction_hash_scope"),
        ),
    )
    op.create_index(
        "ix_watch_failures_open",
        "watch_failures",
        ["id"],
        unique=False,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    _guard()


def _guard() -> None:

    for table in ("chain_transactions", "chain_transaction_hashes"):
        # Public facts of the network, the same for every merchant: insert-only, no tenant.
        guards.grant(table, web=guards.APPEND_ONLY, worker=guards.APPEND_ONLY)
    guards.protect(
        "payments",
        web="SELECT, INSERT, UPDATE (status, reason, flags, invoice_id, client_id, evidence, version, updated_at)",
    )
    guards.protect("allocations", web=guards.APPEND_ONLY)
    guards.protect("submissions", web=guards.MUTABLE)
    for table in ("watch_cursors", "watch_failures"):
        guards.grant(table, web="SELECT", worker=guards.REMOVABLE)
    guards.trigger_function("check_allocation_sum", _ALLOCATION_SUM, definer=True)
    guards.deferred_trigger("allocations_sum", "allocations", "INSERT", "check_allocation_sum")
    guards.deferred_trigger(
        "invoices_received", "invoices", "UPDATE OF amount_received", "check_allocation_sum"
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION check_allocation_sum CASCADE")
    op.drop_table("watch_failures")
    op.drop_table("watch_cursors")
    op.drop_table("submissions")
    op.drop_table("allocations")
    op.drop_table("payments")
    op.drop_table("chain_transaction_hashes")
    op.drop_table("chain_transactions")
