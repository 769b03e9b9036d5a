"""Create the ledger: insert-only journals and entries that must balance."""

import guards
import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BALANCE = """
BEGIN
    IF EXISTS (
        SELECT FROM ledger_entries e
        WHERE e.journal_id = NEW.journal_id
        GROUP BY e.asset
        HAVING sum(CASE e.side WHEN 'DEBIT' THEN e.amount ELSE -e.amount END) <> 0
    ) THEN
        RAISE EXCEPTION 'journal % does not balance', NEW.journal_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_balances';
    END IF;
    IF EXISTS (
        SELECT FROM ledger_entries e
        JOIN ledger_accounts a ON a.id = e.account_id
        JOIN ledger_journals j ON j.id = e.journal_id
        WHERE e.id = NEW.id AND (a.asset <> e.asset OR a.network <> j.network)
    ) THEN
        RAISE EXCEPTION 'entry % is booked on an account of another asset or network', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_fits_account';
    END IF;
    RETURN NULL;
END
"""

_HAS_ENTRIES = """
BEGIN
    IF NOT EXISTS (SELECT FROM ledger_entries e WHERE e.journal_id = NEW.id) THEN
        RAISE EXCEPTION 'journal % has no entries', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_has_entries';
    END IF;
    RETURN NULL;
END
"""


def upgrade() -> None:
    op.create_table(
        "ledger_accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "asset ~ '^(native|[A-Za-z0-9]{1,12}\\:G[A-Z2-7]{55})$'",
            name=op.f("ck_ledger_accounts_asset_shape"),
        ),
        sa.CheckConstraint(
            "kind IN ('wallet', 'receivable', 'client_credit', 'income', 'tax_payable', 'discount', 'write_off', 'rounding', 'suspense', 'refunds', 'external')",
            name=op.f("ck_ledger_accounts_kind_known"),
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_ledger_accounts_network_known")),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_ledger_accounts_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_accounts")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_ledger_accounts_merchant_id_id")),
        sa.UniqueConstraint(
            "merchant_id",
            "network",
            "kind",
            "asset",
            "owner_id",
            name="uq_ledger_accounts_key",
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "ledger_journals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.Uuid(), nullable=False),
        sa.Column("reverses_id", sa.Uuid(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(kind = 'reversal') = (reverses_id IS NOT NULL)",
            name=op.f("ck_ledger_journals_reversal_names_journal"),
        ),
        sa.CheckConstraint(
            "kind IN ('issue', 'allocation', 'unmatched', 'short', 'close', 'reversal')",
            name=op.f("ck_ledger_journals_kind_known"),
        ),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_ledger_journals_network_known")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "reverses_id"],
            ["ledger_journals.merchant_id", "ledger_journals.id"],
            name=op.f("fk_ledger_journals_merchant_id_reverses_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_ledger_journals_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_journals")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_ledger_journals_merchant_id_id")),
        sa.UniqueConstraint("reverses_id", name=op.f("uq_ledger_journals_reverses_id")),
    )
    op.create_index(
        "ix_ledger_journals_merchant_id_reference_id",
        "ledger_journals",
        ["merchant_id", "reference_id"],
        unique=False,
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("journal_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=7), nullable=False),
        sa.CheckConstraint("side IN ('DEBIT', 'CREDIT')", name=op.f("ck_ledger_entries_side_known")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_ledger_entries_amount_positive")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"],
            ["ledger_accounts.merchant_id", "ledger_accounts.id"],
            name=op.f("fk_ledger_entries_merchant_id_account_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "journal_id"],
            ["ledger_journals.merchant_id", "ledger_journals.id"],
            name=op.f("fk_ledger_entries_merchant_id_journal_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
    )
    op.create_index("ix_ledger_entries_account_id_id", "ledger_entries", ["account_id", "id"], unique=False)
    op.create_index("ix_ledger_entries_journal_id", "ledger_entries", ["journal_id"], unique=False)
    op.create_table(
        "account_balances",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("balance", sa.Numeric(precision=38, scale=7), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_account_balances_version_positive")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"],
            ["ledger_accounts.merchant_id", "ledger_accounts.id"],
            name=op.f("fk_account_balances_merchant_id_account_id"),
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_balances")),
    )
    op.create_index(
        op.f("ix_account_balances_merchant_id"), "account_balances", ["merchant_id"], unique=False
    )
    _guard()


def _guard() -> None:

    for table in ("ledger_accounts", "ledger_journals", "ledger_entries"):
        guards.protect(table, web=guards.APPEND_ONLY)
    guards.protect("account_balances", web=guards.MUTABLE)
    # Deferred: a journal's entries arrive one by one and balance only at the end of the transaction.
    guards.trigger_function("check_journal_balances", _BALANCE, definer=True)
    guards.deferred_trigger("ledger_entries_balance", "ledger_entries", "INSERT", "check_journal_balances")
    guards.trigger_function("check_journal_has_entries", _HAS_ENTRIES, definer=True)
    guards.deferred_trigger(
        "ledger_journals_entries", "ledger_journals", "INSERT", "check_journal_has_entries"
    )


def downgrade() -> None:
    for function in ("check_journal_balances", "check_journal_has_entries"):
        op.execute(f"DROP FUNCTION {function} CASCADE")
    op.drop_table("account_balances")
    op.drop_table("ledger_entries")
    op.drop_table("ledger_journals")
    op.drop_table("ledger_accounts")
