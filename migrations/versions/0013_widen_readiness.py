"""Widen what is known of a wallet's readiness: open dues, headroom, what the issuer may do; check it by itself."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_CHECKS = {
    "reason_known": "reason IN ('no_account', 'no_trustline', 'not_authorised', 'limit')",
    "reason_when_not_ready": "ready = (reason IS NULL)",
    "open_due_not_negative": "open_due >= 0",
    "headroom_not_negative": "headroom >= 0",
    "issuer_flags_known": "issuer_flags <@ ARRAY['auth_required', 'auth_revocable', 'auth_clawback_enabled']",
}
_COLUMNS = ("open_due", "headroom", "issuer_flags", "issuer_domain", "clawback")


def upgrade() -> None:
    wide = sa.Numeric(precision=38, scale=7)
    op.add_column("wallet_assets", sa.Column("open_due", wide, server_default="0", nullable=False))
    op.add_column("wallet_assets", sa.Column("headroom", wide, nullable=True))
    op.add_column("wallet_assets", sa.Column("issuer_flags", postgresql.ARRAY(sa.Text()), nullable=True))
    op.add_column("wallet_assets", sa.Column("issuer_domain", sa.Text(), nullable=True))
    op.add_column(
        "wallet_assets",
        sa.Column("clawback", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    for name, condition in _CHECKS.items():
        op.create_check_constraint(op.f(f"ck_wallet_assets_{name}"), "wallet_assets", condition)
    op.create_index(
        "ix_wallet_assets_clawback", "wallet_assets", ["wallet_id"], postgresql_where=sa.text("clawback")
    )
    op.add_column(
        "wallets",
        sa.Column(
            "check_due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
    )
    op.create_index(
        "ix_wallets_check_due",
        "wallets",
        ["network", "check_due_at"],
        postgresql_where=sa.text("retired_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_wallets_check_due", "wallets")
    op.drop_column("wallets", "check_due_at")
    op.drop_index("ix_wallet_assets_clawback", "wallet_assets")
    for name in _CHECKS:
        op.drop_constraint(op.f(f"ck_wallet_assets_{name}"), "wallet_assets", type_="check")
    for name in _COLUMNS:
        op.drop_column("wallet_assets", name)
