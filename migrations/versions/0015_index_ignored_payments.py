"""Index payments that are set aside: a list of few among all that ever came."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

NAME = "ix_payments_ignored"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(
            NAME,
            "payments",
            ["merchant_id", "network", sa.text("created_at DESC"), sa.text("id DESC")],
            postgresql_where=sa.text("status = 'IGNORED'"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_index(NAME, "payments")
