"""Check the three database roles, or create them when the owner may, and set the schema's ground rights."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_CREATE_OR_REFUSE = """
DO $body$
DECLARE
    wanted text;
    existing pg_roles%ROWTYPE;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['portal_owner', 'portal_web', 'portal_worker'] LOOP
        SELECT * INTO existing FROM pg_roles WHERE rolname = wanted;
        IF NOT FOUND THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN', wanted);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'role % is missing: let a superuser run CREATE ROLE % LOGIN', wanted, wanted;
            END;
        ELSIF existing.rolsuper OR existing.rolbypassrls THEN
            RAISE EXCEPTION 'role % must be neither SUPERUSER nor BYPASSRLS: row-level security would not hold',
                wanted;
        END IF;
    END LOOP;
    IF current_user <> 'portal_owner' THEN
        RAISE EXCEPTION 'migrations run as portal_owner (DATABASE_OWNER_URL), not as %', current_user;
    END IF;
END
$body$
"""


def upgrade() -> None:
    op.execute(_CREATE_OR_REFUSE)
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    op.execute("GRANT USAGE ON SCHEMA public TO portal_web, portal_worker")


def downgrade() -> None:
    op.execute("REVOKE USAGE ON SCHEMA public FROM portal_web, portal_worker")
    # The roles stay: they belong to the cluster and other databases may use them.
