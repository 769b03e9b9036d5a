"""Keep the transaction of a wallet challenge, so that its page can be opened again until it expires."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A challenge lives 15 minutes and one without its transaction can only be asked for again.
    op.execute("DELETE FROM wallet_challenges")
    op.add_column("wallet_challenges", sa.Column("envelope_xdr", sa.Text(), nullable=False))


def downgrade() -> None:
    op.drop_column("wallet_challenges", "envelope_xdr")
