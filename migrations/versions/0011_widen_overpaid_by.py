"""Widen what an invoice was overpaid by: many largest payments together pass the range of one amount."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NARROW, WIDE = sa.Numeric(precision=20, scale=7), sa.Numeric(precision=38, scale=7)


def upgrade() -> None:
    # More digits at the same scale change the catalogue alone, no row is written anew.
    op.alter_column("invoices", "overpaid_by", type_=WIDE, existing_type=NARROW)


def downgrade() -> None:
    op.alter_column("invoices", "overpaid_by", type_=NARROW, existing_type=WIDE)
