"""Two merchants cannot see each other, whatever the web role asks and sets."""

import psycopg
import pytest
from psycopg import sql

from tests.support.world import make_world


@pytest.fixture(scope="module")
def shops(worker_app):
    with worker_app.app_context():
        return make_world(), make_world()


@pytest.fixture
def web(database):
    with psycopg.connect(database.web) as connection:
        yield connection
        connection.rollback()


def enter(connection, shop):
    connection.execute(
        "SELECT set_config('app.merchant_id', %s, true), set_config('app.user_id', %s, true)",
        [str(shop.id), str(shop.user_id)],
    )


def tenant_tables(connection):
    rows = connection.execute(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
        " AND c.relrowsecurity ORDER BY 1"
    )
    return [row[0] for row in rows]


def owner_of(table):
    return {"merchants": "id", "users": "id", "one_time_codes": "user_id"}.get(table, "merchant_id")


def count(connection, table, shop):
    column = owner_of(table)
    key = shop.user_id if column in {"user_id"} or table == "users" else shop.id
    query = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(
        sql.Identifier(table), sql.Identifier(column)
    )
    return connection.execute(query, [key]).fetchone()[0]


def test_a_merchant_sees_its_own_rows_and_nobody_elses(web, shops):
    mine, other = shops
    enter(web, mine)
    for table in tenant_tables(web):
        assert count(web, table, mine) > 0, f"{table} has a row of this merchant"
        assert count(web, table, other) == 0, f"{table} shows another merchant's row"
        everything = web.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()[
            0
        ]
        assert everything == count(web, table, mine), f"{table} shows rows of others"


@pytest.mark.parametrize(
    "setting",
    [
        "SELECT 1",
        "SET LOCAL app.merchant_id = ''",
        "SET LOCAL row_security = off",
        "SELECT set_config('app.is_admin', 'true', true), set_config('app.role', 'owner', true)",
        "SELECT set_config('session_authorization', 'portal_web', true)",
        "SELECT set_config('search_path', 'pg_temp', true)",
    ],
)
def test_without_a_tenant_no_row_is_seen_whatever_is_set(web, shops, setting):
    web.execute(setting)
    for table in tenant_tables(web):
        try:
            with web.transaction():
                found = web.execute(
                    sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(table))
                ).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            # With row_security off PostgreSQL refuses the query instead of filtering it.
            continue
        assert found == (0,), table


@pytest.mark.parametrize("role", ["portal_worker", "portal_owner", "portal_backup"])
def test_the_web_role_cannot_become_another(web, role):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(f"SET ROLE {role}")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE invoices DISABLE ROW LEVEL SECURITY",
        "DROP POLICY invoices_web ON invoices",
        "SET session_replication_role = replica",
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
        "TRUNCATE events",
    ],
)
def test_the_web_role_cannot_lift_a_guard(web, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(statement)


def test_a_row_of_another_merchant_can_be_neither_written_nor_moved(web, shops):
    mine, other = shops
    enter(web, mine)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), web.transaction():
        web.execute(
            "INSERT INTO clients (id, merchant_id, name) VALUES (gen_random_uuid(), %s, 'Eve')", [other.id]
        )
    with pytest.raises(psycopg.errors.InsufficientPrivilege), web.transaction():
        web.execute("UPDATE clients SET merchant_id = %s", [other.id])
    assert (
        web.execute("UPDATE invoices SET description = 'x' WHERE merchant_id = %s", [other.id]).rowcount == 0
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege), web.transaction():
        web.execute(
            "INSERT INTO memberships (id, merchant_id, user_id, role) VALUES (gen_random_uuid(), %s, %s, 'owner')",
            [other.id, mine.user_id],
        )


@pytest.mark.parametrize(
    "change",
    ["amount = 2", "destination = source", "payment_id = gen_random_uuid()", "memo_type = 'id', memo = '7'"],
)
def test_what_a_refund_promised_cannot_be_changed(web, shops, change):
    mine, _ = shops
    enter(web, mine)

    assert web.execute("UPDATE refunds SET attempts = attempts + 1").rowcount == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(sql.SQL("UPDATE refunds SET {}").format(sql.SQL(change)))


def test_a_row_cannot_point_into_another_tenant(web, shops):
    mine, other = shops
    enter(web, other)
    foreign = web.execute("SELECT id FROM clients LIMIT 1").fetchone()[0]
    enter(web, mine)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        web.execute("UPDATE invoices SET client_id = %s WHERE status = 'DRAFT'", [foreign])


def test_a_setting_made_for_one_transaction_is_gone_in_the_next(web, shops):
    enter(web, shops[0])
    assert web.execute("SELECT count(*) > 0 FROM invoices").fetchone() == (True,)
    web.rollback()

    assert web.execute("SELECT count(*) FROM invoices").fetchone() == (0,)


def test_look_ups_before_the_tenant_is_known_return_ids_alone(web, shops, database):
    with psycopg.connect(database.superuser) as superuser:
        token = superuser.execute(
            "SELECT token FROM invoices WHERE merchant_id = %s", [shops[0].id]
        ).fetchone()[0]
        columns = superuser.execute(
            "SELECT p.proname, pg_get_function_result(p.oid) FROM pg_proc p"
            " WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef AND p.prorettype <> 'trigger'::regtype"
        ).fetchall()

    found = web.execute("SELECT merchant_id FROM resolve_checkout(%s)", [token]).fetchone()

    assert found == (shops[0].id,)
    for name, result in columns:
        if name == "outbox_waiting":
            # Figures for operators over all tenants: no id, no row of anybody's.
            assert result == "TABLE(consumer text, since timestamp with time zone, dead bigint)"
            continue
        assert set(result.replace("TABLE(", "").replace(")", "").replace("SETOF ", "").replace(",", "").split()) <= {
            "uuid", "boolean", "merchant_id", "user_id", "invoice_id", "key_id",
        }, name  # fmt: skip


def test_the_search_function_filters_on_the_tenant_itself(web, shops):
    enter(web, shops[0])
    mine = web.execute("SELECT count(*) FROM search_invoices('test', 'barista', 100)").fetchone()[0]
    web.rollback()
    nobody = web.execute("SELECT count(*) FROM search_invoices('test', 'barista', 100)").fetchone()[0]

    assert mine > 0
    assert nobody == 0
