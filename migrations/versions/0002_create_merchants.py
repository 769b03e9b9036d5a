"""Create merchants, users, their wallets and sign-ins, and the audit log."""

import guards
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "merchants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("tax_id", sa.Text(), nullable=True),
        sa.Column("address", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("locale", sa.Text(), server_default="en", nullable=False),
        sa.Column("invoice_prefix", sa.Text(), server_default="INV", nullable=False),
        sa.Column("default_asset", sa.Text(), server_default="native", nullable=False),
        sa.Column("expiry_hours", sa.Integer(), server_default="168", nullable=False),
        sa.Column("late_policy", sa.Text(), server_default="accept", nullable=False),
        sa.Column("tolerance", sa.Numeric(precision=20, scale=7), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default="ACTIVE", nullable=False),
        sa.Column("close_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "default_asset ~ '^(native|[A-Za-z0-9]{1,12}\\:G[A-Z2-7]{55})$'",
            name=op.f("ck_merchants_default_asset_shape"),
        ),
        sa.CheckConstraint(
            "invoice_prefix ~ '^[A-Z0-9]{1,8}$'", name=op.f("ck_merchants_invoice_prefix_shape")
        ),
        sa.CheckConstraint(
            "late_policy IN ('accept', 'unmatched')", name=op.f("ck_merchants_late_policy_known")
        ),
        sa.CheckConstraint(
            "status IN ('PENDING', 'ACTIVE', 'SUSPENDED', 'CLOSED')", name=op.f("ck_merchants_status_known")
        ),
        sa.CheckConstraint("expiry_hours BETWEEN 1 AND 8760", name=op.f("ck_merchants_expiry_within_a_year")),
        sa.CheckConstraint("tolerance >= 0", name=op.f("ck_merchants_tolerance_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchants")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("email_lower", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("locale", sa.Text(), server_default="en", nullable=False),
        sa.Column("theme", sa.Text(), server_default="auto", nullable=False),
        sa.Column("status", sa.Text(), server_default="ACTIVE", nullable=False),
        sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('ACTIVE', 'DEACTIVATED')", name=op.f("ck_users_status_known")),
        sa.CheckConstraint("theme IN ('auto', 'light', 'dark')", name=op.f("ck_users_theme_known")),
        sa.CheckConstraint("email_lower = lower(email_lower)", name=op.f("ck_users_email_lower_is_lower")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_lower", name=op.f("uq_users_email_lower")),
    )
    op.create_table(
        "memberships",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "role IN ('owner', 'admin', 'accountant', 'seller', 'viewer')",
            name=op.f("ck_memberships_role_known"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_memberships_merchant_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_memberships_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memberships")),
        sa.UniqueConstraint("user_id", "merchant_id", name=op.f("uq_memberships_user_id_merchant_id")),
    )
    op.create_index(op.f("ix_memberships_merchant_id"), "memberships", ["merchant_id"], unique=False)
    op.create_table(
        "wallets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("proven_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("watched_from", sa.Text(), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("address ~ '^G[A-Z2-7]{55}$'", name=op.f("ck_wallets_address_shape")),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_wallets_network_known")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_wallets_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallets")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_wallets_merchant_id_id")),
        sa.UniqueConstraint("network", "address", name=op.f("uq_wallets_network_address")),
    )
    op.create_index(
        "uq_wallets_default",
        "wallets",
        ["merchant_id", "network"],
        unique=True,
        postgresql_where=sa.text("is_default AND retired_at IS NULL"),
    )
    op.create_table(
        "wallet_assets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("trust_limit", sa.Numeric(precision=20, scale=7), nullable=True),
        sa.Column("balance", sa.Numeric(precision=20, scale=7), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "asset ~ '^(native|[A-Za-z0-9]{1,12}\\:G[A-Z2-7]{55})$'",
            name=op.f("ck_wallet_assets_asset_shape"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "wallet_id"],
            ["wallets.merchant_id", "wallets.id"],
            name=op.f("fk_wallet_assets_merchant_id_wallet_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallet_assets")),
        sa.UniqueConstraint("wallet_id", "asset", name=op.f("uq_wallet_assets_wallet_id_asset")),
    )
    op.create_table(
        "user_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("id_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=True),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_user_sessions_network_known")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_user_sessions_merchant_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_sessions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_sessions")),
        sa.UniqueConstraint("id_hash", name=op.f("uq_user_sessions_id_hash")),
    )
    op.create_index("ix_user_sessions_user_id", "user_sessions", ["user_id"], unique=False)
    op.create_table(
        "one_time_codes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('verify_email', 'reset_password', 'step_up')",
            name=op.f("ck_one_time_codes_purpose_known"),
        ),
        sa.CheckConstraint(
            "attempts >= 0 AND attempts <= 5", name=op.f("ck_one_time_codes_attempts_bounded")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_one_time_codes_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_one_time_codes")),
    )
    op.create_index("ix_one_time_codes_code_hash", "one_time_codes", ["code_hash"], unique=False)
    op.create_index(
        "ix_one_time_codes_user_id_purpose", "one_time_codes", ["user_id", "purpose"], unique=False
    )
    op.create_table(
        "wallet_challenges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("nonce_hash", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("network IN ('test', 'live')", name=op.f("ck_wallet_challenges_network_known")),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("fk_wallet_challenges_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallet_challenges")),
        sa.UniqueConstraint("nonce_hash", name=op.f("uq_wallet_challenges_nonce_hash")),
    )
    op.create_index(
        op.f("ix_wallet_challenges_merchant_id"), "wallet_challenges", ["merchant_id"], unique=False
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_ref", sa.Text(), nullable=True),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_audit_log_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(
        "ix_audit_log_merchant_id_created_at", "audit_log", ["merchant_id", "created_at"], unique=False
    )
    _guard()


def _guard() -> None:

    own_merchant = (
        f"id = {guards.MERCHANT} OR id IN (SELECT merchant_id FROM memberships WHERE {guards.OF_USER})"
    )
    guards.protect("merchants", web=guards.MUTABLE, using=own_merchant, check=f"id = {guards.MERCHANT}")
    colleagues = (
        f"id = {guards.USER} OR id IN (SELECT user_id FROM memberships WHERE merchant_id = {guards.MERCHANT})"
    )
    guards.protect("users", web=guards.MUTABLE, using=colleagues, check=f"id = {guards.USER}")
    guards.protect(
        "memberships",
        web=guards.REMOVABLE,
        using=f"{guards.OF_TENANT} OR {guards.OF_USER}",
        check=guards.OF_TENANT,
    )
    for table in ("wallets", "wallet_assets", "wallet_challenges"):
        guards.protect(table, web=guards.MUTABLE)
    for table in ("user_sessions", "one_time_codes"):
        guards.protect(table, web=guards.MUTABLE, worker=guards.REMOVABLE, using=guards.OF_USER)
    # A refused sign-in has no merchant yet: web may write such a row, only the worker reads it.
    guards.protect(
        "audit_log",
        web=guards.APPEND_ONLY,
        using=guards.OF_TENANT,
        check=f"merchant_id IS NULL OR {guards.OF_TENANT}",
    )
    guards.definer_function(
        "resolve_session(hash text)",
        "TABLE (user_id uuid, merchant_id uuid)",
        "SELECT s.user_id, s.merchant_id FROM user_sessions s WHERE s.id_hash = hash",
    )
    guards.definer_function(
        # Not called `name`: inside the function a column of that name would stand before the argument.
        "resolve_sign_in(of_name text)",
        "uuid",
        "SELECT u.id FROM users u WHERE u.email_lower = of_name",
    )
    guards.definer_function(
        "resolve_one_time_code(wanted text, hash text)",
        "uuid",
        "SELECT c.user_id FROM one_time_codes c WHERE c.purpose = wanted AND c.code_hash = hash",
    )
    guards.definer_function(
        "wallet_is_taken(of_network text, of_address text)",
        "boolean",
        "SELECT EXISTS (SELECT FROM wallets w WHERE w.network = of_network AND w.address = of_address)",
    )


def downgrade() -> None:
    for function in ("resolve_session", "resolve_sign_in", "resolve_one_time_code", "wallet_is_taken"):
        op.execute(f"DROP FUNCTION {function}")
    for table in ("merchants", "users"):
        op.execute(f"DROP POLICY {table}_web ON {table}")
    op.drop_table("audit_log")
    op.drop_table("wallet_challenges")
    op.drop_table("one_time_codes")
    op.drop_table("user_sessions")
    op.drop_table("wallet_assets")
    op.drop_table("wallets")
    op.drop_table("memberships")
    op.drop_table("users")
    op.drop_table("merchants")
