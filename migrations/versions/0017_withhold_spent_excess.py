"""Note what excess was spent before a clawback opened a gap, so that it does not pay twice."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("withheld", sa.Numeric(precision=38, scale=7), server_default="0", nullable=False)
    op.add_column("invoices", column)
    op.create_check_constraint(op.f("ck_invoices_withheld_not_negative"), "invoices", "withheld >= 0")


def downgrade() -> None:
    op.drop_column("invoices", "withheld")
