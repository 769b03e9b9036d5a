"""Run migrations as `portal_owner`, one runner at a time."""

import sys
from pathlib import Path

from alembic import context
from flask import current_app
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parent))

# Any 64-bit number of our own: two deployments that start together must not migrate side by side.
MIGRATION_LOCK = 7_241_600_110
LOCK_TIMEOUT = "5s"


def run() -> None:
    database = current_app.extensions["migrate"].db
    with database.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        # The engine's statement timeout is for requests; a migration takes the time it takes.
        connection.execute(text("SET statement_timeout = 0"))
        connection.commit()
        try:
            context.configure(
                connection=connection, target_metadata=database.metadata, compare_type=True,
                compare_server_default=False, transaction_per_migration=True,
            )  # fmt: skip
            with context.begin_transaction():
                context.run_migrations()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()


run()
