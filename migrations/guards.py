"""What every tenant table gets beside its columns: forced row-level security and narrow rights.

Migrations that were released rely on these functions, so they are added to and never changed.
"""

from alembic import op

MERCHANT = "nullif(current_setting('app.merchant_id', true), '')::uuid"
USER = "nullif(current_setting('app.user_id', true), '')::uuid"
OF_TENANT = f"merchant_id = {MERCHANT}"
OF_USER = f"user_id = {USER}"
# Resolved inside SECURITY DEFINER functions: a temporary table must not shadow one of ours.
SEARCH_PATH = "SET search_path = pg_catalog, public, pg_temp"

APPEND_ONLY = "SELECT, INSERT"
MUTABLE = "SELECT, INSERT, UPDATE"
REMOVABLE = "SELECT, INSERT, UPDATE, DELETE"


def protect(
    table: str, *, web: str, worker: str | None = None, using: str = OF_TENANT, check: str | None = None
) -> None:
    """Force row-level security on `table` and grant `web` and `worker` these rights and no more."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY {table}_web ON {table} TO portal_web USING ({using}) WITH CHECK ({check or using})"
    )
    op.execute(f"CREATE POLICY {table}_worker ON {table} TO portal_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY {table}_owner ON {table} TO portal_owner USING (true) WITH CHECK (true)")
    grant(table, web=web, worker=worker or web)


def grant(table: str, *, web: str, worker: str) -> None:
    op.execute(f"REVOKE ALL ON {table} FROM PUBLIC, portal_web, portal_worker")
    op.execute(f"GRANT {web} ON {table} TO portal_web")
    op.execute(f"GRANT {worker} ON {table} TO portal_worker")


def definer_function(
    signature: str, returns: str, body: str, *, language: str = "sql", volatility: str = "STABLE"
) -> None:
    """Create a look-up that runs before the tenant is known: owned by portal_owner, returns ids alone."""
    name = signature.partition("(")[0]
    op.execute(
        f"CREATE FUNCTION {signature} RETURNS {returns} LANGUAGE {language} {volatility} SECURITY DEFINER"
        f" {SEARCH_PATH} AS $body$ {body} $body$"
    )
    op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO portal_web, portal_worker")


def trigger_function(name: str, body: str, *, definer: bool = False) -> None:
    """Create a trigger function; one that reads other rows runs as the owner, whatever tenant is set."""
    security = f"SECURITY DEFINER {SEARCH_PATH}" if definer else SEARCH_PATH
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {security} AS $body$ {body} $body$"
    )
    op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")


def deferred_trigger(name: str, table: str, events: str, function: str) -> None:
    op.execute(
        f"CREATE CONSTRAINT TRIGGER {name} AFTER {events} ON {table} DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW EXECUTE FUNCTION {function}()"
    )
