"""Index invoices that lost money after they were paid: they are owed again, and few among many paid ones."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

NAME = "ix_invoices_reversed"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(
            NAME,
            "invoices",
            ["merchant_id", "network"],
            postgresql_where=sa.text("'reversed' = ANY (flags)"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_index(NAME, "invoices")
