# ruff: noqa: S608  every part of these queries is written here; nothing comes from outside
"""Invariants of the database's own guards: what refuses bad rows must itself be in force.

Each entry: name -> (prefix of the refs to show, query with one column `subject`).
"""

_APPEND_ONLY = (
    "'audit_log', 'events', 'event_feed', 'ledger_accounts', 'ledger_journals', 'ledger_entries', 'allocations',"
    " 'chain_transactions', 'chain_transaction_hashes', 'external_payments', 'clawbacks'"
)

GUARDS: dict[str, tuple[str, str]] = {
    "row_level_security_is_forced": (
        "",
        """
        SELECT c.relname AS subject
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'merchant_id' AND NOT a.attisdropped
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
        UNION ALL
        SELECT r.rolname
        FROM pg_roles r
        WHERE r.rolname IN ('portal_owner', 'portal_web', 'portal_worker') AND (r.rolsuper OR r.rolbypassrls)
        """,
    ),
    "triggers_and_constraints_are_enabled": (
        "",
        """
        SELECT t.tgname AS subject
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND t.tgenabled NOT IN ('O', 'A')
        UNION ALL
        SELECT k.conname
        FROM pg_constraint k
        JOIN pg_namespace n ON n.oid = k.connamespace
        WHERE n.nspname = 'public' AND NOT k.convalidated
        """,
    ),
    "append_only_tables_stay_so": (
        "",
        f"""
        SELECT c.relname || ' ' || r.rolname || ' ' || p.privilege AS subject
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        CROSS JOIN (VALUES ('portal_web'), ('portal_worker')) AS r (rolname)
        CROSS JOIN (VALUES ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p (privilege)
        WHERE c.relname IN ({_APPEND_ONLY}) AND has_table_privilege(r.rolname, c.oid, p.privilege)
        """,
    ),
}
