"""The test fixtures themselves: roles as in production, one database a worker."""

import psycopg
import pytest


class TestRolesOfTheDatabase:
    @pytest.mark.parametrize("role", ["portal_owner", "portal_web", "portal_worker"])
    def test_none_is_a_superuser_or_passes_by_row_security(self, database, role):
        with psycopg.connect(database.superuser) as connection:
            row = connection.execute(
                "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = %s",
                [role],
            ).fetchone()

        assert row == (False, False, False, False)

    @pytest.mark.parametrize("role", ["web", "worker", "backup"])
    def test_only_the_owner_may_create_tables(self, database, role):
        with (
            psycopg.connect(getattr(database, role)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("CREATE TABLE smuggled (id int)")

    def test_strangers_may_not_connect(self, database, services):
        with psycopg.connect(services.superuser_dsn, autocommit=True) as connection:
            entered = connection.execute(
                "SELECT has_database_privilege('pg_monitor', %s, 'CONNECT')", [database.name]
            ).fetchone()

        assert entered == (False,)

    def test_a_new_database_is_migrated_and_apart(self, database, new_database):
        another = new_database()

        assert another.name != database.name
        with psycopg.connect(another.owner) as connection:
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
