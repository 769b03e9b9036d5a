"""Let `/readyz` and `/metrics` see how long events wait, which row-level security hides from the web role."""

import guards
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Over all tenants, but figures alone: which consumer, since when, and how many rows were given up.
_AGES = """
    SELECT o.consumer,
        min(o.created_at) FILTER (WHERE o.state = 'PENDING'),
        count(*) FILTER (WHERE o.state = 'DEAD')
    FROM outbox o WHERE o.state IN ('PENDING', 'DEAD') GROUP BY o.consumer
"""


def upgrade() -> None:
    guards.definer_function(
        "outbox_waiting()", "TABLE (consumer text, since timestamptz, dead bigint)", _AGES
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION outbox_waiting")
