"""The database is the last reviewer: every constraint refuses a bad row, and none is left out here."""

import psycopg
import pytest
from psycopg import sql

from tests.support.world import make_world

# What to set on an existing row so that exactly this CHECK is broken.
BAD_VALUES = {
    "account_balances_version_positive": "version = 0",
    "allocations_network_known": "network = 'main'",
    "allocations_only_reversals_take_away": "amount = -1",
    "allocations_source_known": "source = 'gift'",
    "api_keys_network_known": "network = 'main'",
    "api_keys_prefix_shape": "prefix = 'ABC'",
    "book_checks_counts_not_negative": "invoices = -1",
    "book_checks_differences_are_a_list": "differences = '{}'",
    "book_checks_network_known": "network = 'main'",
    "chain_transaction_hashes_hash_shape": "hash = repeat('A', 64)",
    "chain_transactions_hash_shape": "canonical_hash = 'abc'",
    "chain_transactions_network_known": "network = 'main'",
    "clawbacks_amount_positive": "amount = 0",
    "clawbacks_asset_shape": "asset = 'USDC'",
    "clawbacks_index_not_negative": "debit_index = -1",
    "clawbacks_network_known": "network = 'main'",
    "clients_email_lower_is_lower": "email_lower = 'A@B.C'",
    "clients_name_length": "name = ''",
    "clients_terms_within_a_year": "terms_days = 366",
    "counters_network_known": "network = 'main'",
    "counters_value_positive": "value = 0",
    "discount_lines_percent_range": "percent = 101",
    "discount_lines_total_not_negative": "total = -1",
    "event_feed_seq_positive": "seq = 0",
    "events_aggregate_known": "aggregate_type = 'moon'",
    "events_network_known": "network = 'main'",
    "events_version_positive": "version = 0",
    "external_payments_amount_positive": "amount = 0",
    "external_payments_asset_shape": "asset = 'USDC'",
    "external_payments_method_known": "method = 'gift'",
    "external_payments_network_known": "network = 'main'",
    "external_payments_reason_given": "reason = ''",
    "idempotency_keys_key_length": "key = ''",
    "idempotency_keys_network_known": "network = 'main'",
    "idempotency_keys_status_is_final": "response_status = 500",
    "invoice_items_price_not_negative": "unit_price = -1",
    "invoice_items_quantity_positive": "quantity = 0",
    "invoices_amount_positive": "amount = 0",
    "invoices_asset_shape": "asset = 'USDC'",
    "invoices_closed_has_time": "closed_at = now(), status = 'PENDING'",
    "invoices_expires_after_issue": "issued_at = now(), expires_at = now()",
    "invoices_expires_within_a_year": "expires_in_seconds = 59",
    "invoices_issued_is_whole": "status = 'PENDING', number = NULL",
    "invoices_lines_not_negative": "tax_total = -1",
    "invoices_network_known": "network = 'main'",
    "invoices_paid_has_time": "status = 'PAID', paid_at = NULL",
    "invoices_paid_is_fully_received": "status = 'PAID', amount_received = 0, flags = '{}'",
    "invoices_pay_ref_range": "pay_ref = 99999999999",
    "invoices_received_within_amount": "amount_received = amount + 1",
    "invoices_status_known": "status = 'OPEN'",
    "invoices_withheld_not_negative": "withheld = -1",
    "invoices_totals_add_up": "subtotal = subtotal + 1",
    "ledger_accounts_asset_shape": "asset = 'XLM:G'",
    "ledger_accounts_kind_known": "kind = 'magic'",
    "ledger_accounts_network_known": "network = 'main'",
    "ledger_entries_amount_positive": "amount = 0",
    "ledger_entries_side_known": "side = 'LEFT'",
    "ledger_journals_kind_known": "kind = 'magic'",
    "ledger_journals_network_known": "network = 'main'",
    "ledger_journals_reversal_names_journal": "kind = 'reversal', reverses_id = NULL",
    "memberships_role_known": "role = 'king'",
    "merchants_default_asset_shape": "default_asset = 'USDC'",
    "merchants_expiry_within_a_year": "expiry_hours = 0",
    "merchants_invoice_prefix_shape": "invoice_prefix = 'inv'",
    "merchants_late_policy_known": "late_policy = 'maybe'",
    "merchants_status_known": "status = 'GONE'",
    "merchants_tolerance_not_negative": "tolerance = -1",
    "one_time_codes_attempts_bounded": "attempts = 6",
    "one_time_codes_purpose_known": "purpose = 'fun'",
    "outbox_attempts_not_negative": "attempts = -1",
    "outbox_consumer_known": "consumer = 'fax'",
    "outbox_dead_has_time": "state = 'DEAD', dead_at = NULL",
    "outbox_state_known": "state = 'LOST'",
    "payments_amount_positive": "amount = 0",
    "payments_asset_shape": "asset = 'native:G'",
    "payments_confirmed_has_invoice": "status = 'CONFIRMED', invoice_id = NULL",
    "payments_decision_has_time": "decision = '{}'",
    "payments_indexes_not_negative": "operation_index = -1",
    "payments_network_known": "network = 'main'",
    "payments_refunds_within_amount": "refunded = amount, refund_reserved = 1",
    "payments_status_known": "status = 'MAYBE'",
    "payments_unmatched_has_reason": "status = 'UNMATCHED', reason = NULL",
    "refunds_amount_positive": "amount = 0",
    "refunds_asset_shape": "asset = 'USDC'",
    "refunds_attempts_not_negative": "attempts = -1",
    "refunds_borne_when_completed": "from_credit = 1",
    "refunds_completed_is_whole": "status = 'COMPLETED', completed_at = NULL",
    "refunds_memo_has_type": "memo_type = 'none', memo = '1'",
    "refunds_memo_type_known": "memo_type = 'colour', memo = '1'",
    "refunds_network_known": "network = 'main'",
    "refunds_status_known": "status = 'LOST'",
    "submissions_attempts_not_negative": "attempts = -1",
    "submissions_hash_shape": "transaction_hash = repeat('g', 64)",
    "submissions_network_known": "network = 'main'",
    "submissions_rejected_has_code": "state = 'REJECTED', code = NULL",
    "submissions_state_known": "state = 'MAYBE'",
    "tax_lines_percent_range": "percent = NULL",
    "tax_lines_total_not_negative": "total = -1",
    "user_sessions_network_known": "network = 'main'",
    "users_email_lower_is_lower": "email_lower = 'A@B.C'",
    "users_status_known": "status = 'GONE'",
    "users_theme_known": "theme = 'pink'",
    "wallet_assets_asset_shape": "asset = 'USDC'",
    "wallet_assets_headroom_not_negative": "headroom = -1",
    "wallet_assets_issuer_flags_known": "issuer_flags = '{auth_required,auth_me}'",
    "wallet_assets_open_due_not_negative": "open_due = -1",
    "wallet_assets_reason_known": "ready = false, reason = 'mood'",
    "wallet_assets_reason_when_not_ready": "reason = 'limit'",
    "wallet_challenges_network_known": "network = 'main'",
    "wallets_address_shape": "address = 'S' || substr(address, 2)",
    "wallets_network_known": "network = 'main'",
}


@pytest.fixture(scope="module")
def shop(worker_app):
    with worker_app.app_context():
        return make_world()


@pytest.fixture
def superuser(database, shop):
    """A connection whose work is rolled back; it may lift what stands in the way of the one rule tested."""
    with psycopg.connect(database.superuser) as connection:
        yield connection
        connection.rollback()


def constraints(connection, *kinds):
    rows = connection.execute(
        """
        SELECT c.conname, c.conrelid::regclass::text AS place, (
            SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
        )
        FROM pg_constraint c WHERE c.connamespace = 'public'::regnamespace AND c.contype::text = ANY(%s) ORDER BY 1
        """,
        [list(kinds)],
    )
    return rows.fetchall()


def lift(connection, table, kinds, keep):
    """Drop the table's other constraints of these kinds, so that only `keep` can refuse."""
    for name, place, _ in constraints(connection, *kinds):
        if place == table and name != keep:
            connection.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {} CASCADE").format(
                    sql.Identifier(table), sql.Identifier(name)
                )
            )


def fill_nulls(connection, table, columns):
    """Give every row a value where these columns are null, because null breaks no key."""
    for column in columns:
        kind = connection.execute(
            "SELECT data_type FROM information_schema.columns WHERE table_name = %s AND column_name = %s",
            [table, column],
        ).fetchone()[0]
        value = {"uuid": "gen_random_uuid()", "text": "gen_random_uuid()::text"}.get(kind, "random() * 1e9")
        statement = "UPDATE {t} SET {c} = " + value + " WHERE {c} IS NULL"
        connection.execute(sql.SQL(statement).format(t=sql.Identifier(table), c=sql.Identifier(column)))


def test_every_check_refuses_its_bad_value(superuser):
    accepted = []
    for name, table, _ in constraints(superuser, "c"):
        superuser.execute("SAVEPOINT before")
        superuser.execute("SET LOCAL session_replication_role = replica")
        lift(superuser, table, ["c"], keep=name)
        change = BAD_VALUES[name.removeprefix("ck_")]
        try:
            superuser.execute(f"UPDATE {table} SET {change} WHERE ctid = (SELECT min(ctid) FROM {table})")
            accepted.append(name)
        except psycopg.errors.CheckViolation as refusal:
            assert refusal.diag.constraint_name == name
        superuser.execute("ROLLBACK TO SAVEPOINT before")

    assert accepted == []


def test_every_check_has_a_bad_value_and_every_bad_value_a_check(superuser):
    found = {name.removeprefix("ck_") for name, _, _ in constraints(superuser, "c")}

    assert found == set(BAD_VALUES)


def test_every_unique_and_primary_key_refuses_a_copy(superuser):
    accepted = []
    for name, table, columns in constraints(superuser, "u", "p"):
        if table == "alembic_version":
            continue
        superuser.execute("SAVEPOINT before")
        superuser.execute("SET LOCAL session_replication_role = replica")
        lift(superuser, table, ["c", "u", "p", "x"], keep=name)
        superuser.execute("DROP INDEX IF EXISTS uq_wallets_default")
        fill_nulls(superuser, table, columns)
        try:
            superuser.execute(
                f"INSERT INTO {table} SELECT * FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})"
            )
            accepted.append(name)
        except psycopg.errors.UniqueViolation as refusal:
            assert refusal.diag.constraint_name == name
        superuser.execute("ROLLBACK TO SAVEPOINT before")

    assert accepted == []


def test_a_merchant_has_one_default_wallet_per_network(superuser, shop):
    superuser.execute("SET LOCAL session_replication_role = replica")
    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        superuser.execute(
            "INSERT INTO wallets (id, merchant_id, network, address, is_default, proven_at, watched_from)"
            " VALUES (gen_random_uuid(), %s, 'test', 'G' || repeat('A', 55), true, now(), '0')",
            [shop.id],
        )

    assert refusal.value.diag.constraint_name == "uq_wallets_default"


def test_every_foreign_key_refuses_a_row_that_points_nowhere(superuser):
    accepted = []
    keys = constraints(superuser, "f")
    for name, table, columns in keys:
        superuser.execute("SAVEPOINT before")
        for other in {place for _, place, _ in keys}:
            lift(superuser, other, ["c", "f"] if other == table else ["f"], keep=name)
        superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        target = columns[-1]
        try:
            superuser.execute(
                f"UPDATE {table} SET {target} = gen_random_uuid()"
                f" WHERE ctid = (SELECT min(ctid) FROM {table})"
            )
            superuser.execute("SET CONSTRAINTS ALL IMMEDIATE")
            accepted.append(name)
        except psycopg.errors.ForeignKeyViolation as refusal:
            assert refusal.diag.constraint_name == name
        superuser.execute("ROLLBACK TO SAVEPOINT before")

    assert accepted == []


def test_no_foreign_key_deletes_what_hangs_on_it(superuser):
    rows = superuser.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"
        " AND (confdeltype <> 'a' OR confupdtype <> 'a')"
    )

    assert rows.fetchall() == []


# (trigger, statement that breaks its rule, the name the refusal carries)
BROKEN_RULES = [
    ("ledger_entries_balance",
     "INSERT INTO ledger_entries SELECT gen_random_uuid(), merchant_id, journal_id, account_id, asset, side, 1"
     " FROM ledger_entries WHERE merchant_id = %(m)s LIMIT 1", "journal_balances"),
    ("ledger_entries_balance",
     "WITH a AS (INSERT INTO ledger_accounts (id, merchant_id, network, kind, asset)"
     " VALUES (gen_random_uuid(), %(m)s, 'live', 'rounding', 'native') RETURNING id),"
     " j AS (SELECT id FROM ledger_journals WHERE merchant_id = %(m)s LIMIT 1)"
     " INSERT INTO ledger_entries (id, merchant_id, journal_id, account_id, asset, side, amount)"
     " SELECT gen_random_uuid(), %(m)s, j.id, a.id, 'native', s, 1 FROM a, j, unnest(ARRAY['DEBIT', 'CREDIT']) s",
     "entry_fits_account"),
    ("ledger_journals_entries",
     "INSERT INTO ledger_journals (id, merchant_id, network, kind, reference_id, occurred_at)"
     " VALUES (gen_random_uuid(), %(m)s, 'test', 'issue', gen_random_uuid(), now())", "journal_has_entries"),
    ("invoices_guard_update",
     "UPDATE invoices SET status = 'PENDING', paid_at = NULL WHERE merchant_id = %(m)s AND status = 'PAID'",
     "invoice_transition"),
    ("invoices_guard_update",
     "UPDATE invoices SET status = 'PENDING', closed_at = NULL WHERE merchant_id = %(m)s AND status = 'CANCELLED'",
     "invoice_transition"),
    ("invoices_guard_update",
     "UPDATE invoices SET destination = 'G' || repeat('A', 55) WHERE merchant_id = %(m)s AND status = 'PAID'",
     "invoice_frozen"),
    ("invoices_guard_update",
     "UPDATE invoices SET token = 'other' WHERE merchant_id = %(m)s AND status = 'DRAFT'", "invoice_frozen"),
    ("invoices_guard_delete", "DELETE FROM invoices WHERE merchant_id = %(m)s AND status = 'PAID'", "invoice_stays"),
    *[
        (f"{table}_guard", f"DELETE FROM {table} WHERE invoice_id IN"
         " (SELECT id FROM invoices WHERE merchant_id = %(m)s AND status = 'PAID')", "invoice_lines_frozen")
        for table in ("invoice_items", "discount_lines", "tax_lines")
    ],
    *[
        (f"{table}_sum", f"UPDATE {table} SET total = total + 1 WHERE invoice_id IN"
         " (SELECT id FROM invoices WHERE merchant_id = %(m)s AND status = 'DRAFT')", "invoice_lines_add_up")
        for table in ("invoice_items", "discount_lines", "tax_lines")
    ],
    ("invoices_lines",
     "UPDATE invoices SET subtotal = subtotal + 1, amount = amount + 1 WHERE merchant_id = %(m)s AND status = 'DRAFT'",
     "invoice_lines_add_up"),
    ("allocations_sum",
     "INSERT INTO allocations (id, merchant_id, network, invoice_id, source, source_id, amount, journal_id)"
     " SELECT gen_random_uuid(), merchant_id, network, invoice_id, source, source_id, amount, journal_id"
     " FROM allocations WHERE merchant_id = %(m)s LIMIT 1", "received_is_allocated"),
    ("invoices_received",
     "UPDATE invoices SET amount_received = 1, status = 'PAID', paid_at = now(), flags = '{reversed}'"
     " WHERE merchant_id = %(m)s AND status = 'PAID'", "received_is_allocated"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("trigger", "statement", "rule"), BROKEN_RULES, ids=[f"{b[0]}-{b[2]}" for b in BROKEN_RULES]
)
def test_a_trigger_refuses(superuser, shop, trigger, statement, rule):
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        changed = superuser.execute(statement, {"m": shop.id})
        assert changed.rowcount > 0, "the statement must reach a row"
        superuser.execute("SET CONSTRAINTS ALL IMMEDIATE")

    assert refusal.value.diag.constraint_name == rule


def test_every_trigger_is_tried(superuser):
    rows = superuser.execute(
        "SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace"
    )

    assert {row[0] for row in rows} == {trigger for trigger, _, _ in BROKEN_RULES}
