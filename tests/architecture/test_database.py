"""What the migrations leave behind: equal to the models, every tenant table guarded alike."""

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

import portal.models  # noqa: F401
from portal.app import engine_url
from portal.extensions import Base

# Public facts of the network and the workers' own notes: the only tables without a tenant.
WITHOUT_TENANT = {
    "alembic_version", "chain_transactions", "chain_transaction_hashes", "watch_cursors", "watch_failures",
    "worker_heartbeats",
}  # fmt: skip
APPEND_ONLY = {
    "audit_log", "events", "event_feed", "ledger_accounts", "ledger_journals", "ledger_entries", "allocations",
    "chain_transactions", "chain_transaction_hashes",
}  # fmt: skip


@pytest.fixture
def superuser(database):
    with psycopg.connect(database.superuser, autocommit=True) as connection:
        yield connection


def tables(connection):
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row[0] for row in rows}


def test_migrations_make_what_the_models_declare(database):
    engine = create_engine(engine_url(database.owner))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()

    assert differences == []


def test_every_tenant_table_forces_row_level_security_with_exactly_these_policies(superuser):
    wrong = []
    for table in sorted(tables(superuser) - WITHOUT_TENANT):
        forced = superuser.execute(
            "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", [table]
        ).fetchone()[0]
        policies = superuser.execute(
            "SELECT policyname, roles::text[], cmd, permissive, qual, with_check FROM pg_policies WHERE tablename = %s",
            [table],
        ).fetchall()
        found = {name: (roles, command, kind) for name, roles, command, kind, _, _ in policies}
        wanted = {
            f"{table}_{role}": ([f"portal_{role}"], "ALL", "PERMISSIVE")
            for role in ("web", "worker", "owner")
        }
        open_to = {name for name, *_, qual, check in policies if qual == "true" or check == "true"}
        if not forced or found != wanted or open_to != {f"{table}_worker", f"{table}_owner"}:
            wrong.append(table)

    assert wrong == []


def test_tables_without_a_tenant_have_no_merchant_column(superuser):
    rows = superuser.execute(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'merchant_id'"
    )

    assert {row[0] for row in rows} & WITHOUT_TENANT == set()


@pytest.mark.parametrize("role", ["portal_web", "portal_worker"])
def test_append_only_tables_can_be_neither_changed_nor_emptied(superuser, role):
    for table in APPEND_ONLY:
        for right in ("UPDATE", "DELETE", "TRUNCATE"):
            allowed = superuser.execute(
                "SELECT has_table_privilege(%s, %s, %s)", [role, table, right]
            ).fetchone()
            assert allowed == (False,), f"{role} may {right} {table}"
        columns = superuser.execute(
            "SELECT has_any_column_privilege(%s, %s, 'UPDATE')", [role, table]
        ).fetchone()
        assert columns == (False,), f"{role} may update a column of {table}"


def test_the_roles_of_the_program_are_no_superusers(superuser):
    rows = superuser.execute(
        "SELECT rolname FROM pg_roles WHERE rolname IN ('portal_owner', 'portal_web', 'portal_worker')"
        " AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls)"
    )

    assert rows.fetchall() == []


def test_definer_functions_pin_their_search_path_and_are_closed_to_the_public(superuser):
    rows = superuser.execute(
        """
        SELECT p.proname, pg_get_userbyid(p.proowner), p.proconfig, p.proacl::text
        FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
        """
    ).fetchall()

    assert rows
    for name, owner, settings, rights in rows:
        assert owner == "portal_owner", name
        assert settings == ["search_path=pg_catalog, public, pg_temp"], name
        assert rights is not None and not rights.startswith("{=") and ",=" not in rights, name
