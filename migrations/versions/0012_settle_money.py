"""Let people settle money: decisions, external payments, clawbacks, refunds and the nightly look at the books."""

import guards
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_KINDS_BEFORE = ("issue", "allocation", "unmatched", "short", "close", "reversal")
_KINDS_ADDED = ("match", "credit", "credit_back", "external", "refund", "clawback")
_AGGREGATES_BEFORE = ("invoice", "payment", "client", "api_key", "wallet")
_DECIDED = "decision, decided_at, refunded, refund_reserved"
# What was promised to whom stays as it was promised.
_FOLLOWED = (
    "status, code, envelope_xdr, expected_hashes, transaction_hash, transaction_id, operation_index, from_suspense,"
    " from_credit, from_revenue, attempts, next_attempt_at, lease_until, lease_token, completed_at, version, updated_at"
)


def upgrade() -> None:
    _check("ledger_journals", "kind_known", "kind", (*_KINDS_BEFORE, *_KINDS_ADDED))
    _check("events", "aggregate_known", "aggregate_type", (*_AGGREGATES_BEFORE, "refund"))
    op.add_column("payments", sa.Column("decision", postgresql.JSONB(), nullable=True))
    op.add_column("payments", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True))
    for name in ("refunded", "refund_reserved"):
        column = sa.Column(name, sa.Numeric(precision=20, scale=7), server_default="0", nullable=False)
        op.add_column("payments", column)
    op.create_check_constraint(
        op.f("ck_payments_decision_has_time"), "payments", "(decided_at IS NULL) = (decision IS NULL)"
    )
    op.create_check_constraint(
        op.f("ck_payments_refunds_within_amount"),
        "payments",
        "refunded >= 0 AND refund_reserved >= 0 AND refunded + refund_reserved <= amount",
    )
    for role in ("portal_web", "portal_worker"):
        op.execute(f"GRANT UPDATE ({_DECIDED}) ON payments TO {role}")
    op.create_table(
        "external_payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("received_on", sa.Date(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "asset ~ '^(native|[A-Za-z0-9]{1,12}\\:G[A-Z2-7]{55})$'",
            name=op.f("ck_external_payments_asset_shape"),
        ),
        sa.CheckConstraint(
            "method IN ('cash', 'bank', 'other')", name=op.f("ck_external_payments_method_known")
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_external_payments_network_known")),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_external_payments_reason_given")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_external_payments_amount_positive")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "invoice_id"],
            ["invoices.merchant_id", "invoices.id"],
            name=op.f("fk_external_payments_merchant_id_invoice_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_external_payments_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external_payments")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_external_payments_merchant_id_id")),
    )
    op.create_index(
        "ix_external_payments_invoice_id", "external_payments", ["merchant_id", "invoice_id"], unique=False
    )
    op.create_table(
        "clawbacks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("debit_index", sa.Integer(), nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "asset ~ '^(native|[A-Za-z0-9]{1,12}\\:G[A-Z2-7]{55})$'", name=op.f("ck_clawbacks_asset_shape")
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_clawbacks_network_known")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_clawbacks_amount_positive")),
        sa.CheckConstraint("debit_index >= 0", name=op.f("ck_clawbacks_index_not_negative")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "payment_id"],
            ["payments.merchant_id", "payments.id"],
            name=op.f("fk_clawbacks_merchant_id_payment_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "wallet_id"],
            ["wallets.merchant_id", "wallets.id"],
            name=op.f("fk_clawbacks_merchant_id_wallet_id"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_clawbacks_merchant_id")),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["chain_transactions.id"], name=op.f("fk_clawbacks_transaction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clawbacks")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_clawbacks_merchant_id_id")),
        sa.UniqueConstraint(
            "transaction_id", "debit_index", name=op.f("uq_clawbacks_transaction_id_debit_index")
        ),
    )
    op.create_index("ix_clawbacks_payment_id", "clawbacks", ["payment_id"], unique=False)
    op.create_index(
        "ix_clawbacks_unexplained",
        "clawbacks",
        ["wallet_id", "asset", "amount"],
        unique=False,
        postgresql_where=sa.text("payment_id IS NULL"),
    )
    op.create_table(
        "book_checks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("invoices", sa.Integer(), nullable=False),
        sa.Column("payments", sa.Integer(), nullable=False),
        sa.Column("accounts", sa.Integer(), nullable=False),
        sa.Column("differences", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.CheckConstraint(
            "jsonb_typeof(differences) = 'array'", name=op.f("ck_book_checks_differences_are_a_list")
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_book_checks_network_known")),
        sa.CheckConstraint(
            "invoices >= 0 AND payments >= 0 AND accounts >= 0",
            name=op.f("ck_book_checks_counts_not_negative"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_book_checks_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_book_checks")),
    )
    op.create_index(
        "ix_book_checks_latest",
        "book_checks",
        ["merchant_id", "network", sa.literal_column("checked_at DESC")],
        unique=False,
    )
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.Column("memo_type", sa.Text(), server_default="none", nullable=False),
        sa.Column("memo", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("envelope_xdr", sa.Text(), nullable=True),
        sa.Column(
            "expected_hashes", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("transaction_hash", sa.Text(), nullable=True),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("operation_index", sa.Integer(), nullable=True),
        sa.Column("from_suspense", sa.Numeric(precision=20, scale=7), server_default="0", nullable=False),
        sa.Column("from_credit", sa.Numeric(precision=20, scale=7), server_default="0", nullable=False),
        sa.Column("from_revenue", sa.Numeric(precision=20, scale=7), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(memo_type = 'none') = (memo IS NULL)", name=op.f("ck_refunds_memo_has_type")),
        sa.CheckConstraint(
            "(status = 'COMPLETED') = (completed_at IS NOT NULL AND transaction_id IS NOT NULL AND operation_index IS NOT NULL)",
            name=op.f("ck_refunds_completed_is_whole"),
        ),
        sa.CheckConstraint(
            "asset ~ '^(native|[A-Za-z0-9]{1,12}\\:G[A-Z2-7]{55})$'", name=op.f("ck_refunds_asset_shape")
        ),
        sa.CheckConstraint(
            "from_suspense >= 0 AND from_credit >= 0 AND from_revenue >= 0 AND from_suspense + from_credit + from_revenue = CASE WHEN status = 'COMPLETED' THEN amount ELSE 0 END",
            name=op.f("ck_refunds_borne_when_completed"),
        ),
        sa.CheckConstraint(
            "memo_type IN ('none', 'text', 'id', 'hash')", name=op.f("ck_refunds_memo_type_known")
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_refunds_network_known")),
        sa.CheckConstraint(
            "status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED')",
            name=op.f("ck_refunds_status_known"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_refunds_amount_positive")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_refunds_attempts_not_negative")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "payment_id"],
            ["payments.merchant_id", "payments.id"],
            name=op.f("fk_refunds_merchant_id_payment_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "wallet_id"],
            ["wallets.merchant_id", "wallets.id"],
            name=op.f("fk_refunds_merchant_id_wallet_id"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_refunds_merchant_id")),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["chain_transactions.id"], name=op.f("fk_refunds_transaction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_refunds_merchant_id_id")),
        sa.UniqueConstraint(
            "transaction_id", "operation_index", name=op.f("uq_refunds_transaction_id_operation_index")
        ),
    )
    op.create_index(
        "ix_refunds_due",
        "refunds",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('PENDING', 'PROCESSING')"),
    )
    op.create_index(
        "ix_refunds_list",
        "refunds",
        ["merchant_id", "network", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("ix_refunds_payment_id", "refunds", ["merchant_id", "payment_id"], unique=False)
    _guard()


def _check(table: str, name: str, column: str, values: tuple[str, ...]) -> None:
    constraint = op.f(f"ck_{table}_{name}")
    op.drop_constraint(constraint, table, type_="check")
    listed = ", ".join(f"'{value}'" for value in values)
    op.create_check_constraint(constraint, table, f"{column} IN ({listed})")


def _guard() -> None:

    guards.protect("external_payments", web=guards.APPEND_ONLY)
    # A payment may be seen after the clawback that undid it.
    guards.protect("clawbacks", web="SELECT, INSERT, UPDATE (payment_id)")
    guards.protect("refunds", web=f"SELECT, INSERT, UPDATE ({_FOLLOWED})")
    guards.protect("book_checks", web="SELECT", worker=guards.REMOVABLE)


def downgrade() -> None:
    for table in ("refunds", "book_checks", "clawbacks", "external_payments"):
        op.drop_table(table)
    for name in ("refund_reserved", "refunded", "decided_at", "decision"):
        op.drop_column("payments", name)
    _check("events", "aggregate_known", "aggregate_type", _AGGREGATES_BEFORE)
    _check("ledger_journals", "kind_known", "kind", _KINDS_BEFORE)
