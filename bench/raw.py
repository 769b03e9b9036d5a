"""`python -m bench.raw`: writes the rows of an invoice again and again with psycopg alone.

One statement a table, values ready, one transaction an invoice, as portal_web with its policies, triggers and
keys. Whatever the API does beside writing rows is what the comparison shows.
"""

import json
import pickle
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from portal.kernel.tokens import new_pay_ref, new_token

# In the order of their foreign keys.
TABLES = (
    "clients", "invoices", "invoice_items", "discount_lines", "tax_lines", "ledger_journals", "ledger_entries",
    "events", "outbox", "audit_log", "idempotency_keys",
)  # fmt: skip
_BALANCES = """
    INSERT INTO account_balances (account_id, merchant_id, balance, updated_at) VALUES (%s, %s, %s, now())
    ON CONFLICT (account_id) DO UPDATE SET balance = account_balances.balance + excluded.balance,
        version = account_balances.version + 1, updated_at = excluded.updated_at
"""
_COUNTER = """
    INSERT INTO counters (merchant_id, network, kind, period, value) VALUES (%s, 'test', 'invoice', 'bench', 1)
    ON CONFLICT (merchant_id, network, kind, period) DO UPDATE SET value = counters.value + 1 RETURNING value
"""


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Plan:
    """The rows of one invoice; written again with new ids, numbers, references and tokens."""

    merchant_id: UUID
    user_id: UUID
    tables: tuple[Table, ...]
    issued: bool


Rows = dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]


def rows_of(connection: psycopg.Connection[Any], merchant_id: UUID) -> Rows:
    """Return every row of the merchant by table, JSON columns ready to be written again."""
    found: Rows = {}
    for name in TABLES:
        cursor = connection.execute(
            sql.SQL("SELECT * FROM {} WHERE merchant_id = %s").format(sql.Identifier(name)), [merchant_id]
        )
        assert cursor.description is not None
        columns = tuple(column.name for column in cursor.description)
        found[name] = (columns, cursor.fetchall())
    return found


def new_rows(before: Rows, after: Rows) -> tuple[Table, ...]:
    tables = []
    for name, (columns, rows) in after.items():
        known = {repr(row) for row in before[name][1]}
        fresh = tuple(row for row in rows if repr(row) not in known)
        if fresh:
            tables.append(Table(name, columns, fresh))
    return tuple(tables)


class Writer(threading.Thread):
    """One connection."""

    def __init__(self, dsn: str, plan: Plan, seconds: float) -> None:
        super().__init__(daemon=True)
        self.plan, self.seconds, self.count = plan, seconds, 0
        self.connection = psycopg.connect(dsn)
        self.statements = {table.name: self._insert(table) for table in plan.tables}
        # Made once: the ids that this invoice's rows were given, hence those that must be new each time.
        self.own_ids = {
            row[table.columns.index("id")]
            for table in plan.tables
            for row in table.rows
            if "id" in table.columns
        }
        self.changes = self._changes()

    def _insert(self, table: Table) -> bytes:
        row = sql.SQL("({})").format(sql.SQL(", ").join([sql.Placeholder()] * len(table.columns)))
        statement = sql.SQL("INSERT INTO {} ({}) VALUES {}").format(
            sql.Identifier(table.name),
            sql.SQL(", ").join(map(sql.Identifier, table.columns)),
            sql.SQL(", ").join([row] * len(table.rows)),
        )
        return statement.as_bytes(self.connection)

    def _changes(self) -> list[tuple[UUID, UUID, Any]]:
        entries = next((table for table in self.plan.tables if table.name == "ledger_entries"), None)
        if entries is None:
            return []
        account, side, amount = (entries.columns.index(name) for name in ("account_id", "side", "amount"))
        changes = [
            (row[account], row[amount] if row[side] == "DEBIT" else -row[amount]) for row in entries.rows
        ]
        return sorted((each[0], self.plan.merchant_id, each[1]) for each in changes)

    def run(self) -> None:
        ends_at = time.perf_counter() + self.seconds
        while time.perf_counter() < ends_at:
            self._write()
            self.count += 1

    def _write(self) -> None:
        execute = self.connection.execute
        execute(
            "SELECT set_config('app.merchant_id', %s, true), set_config('app.user_id', %s, true)",
            [str(self.plan.merchant_id), str(self.plan.user_id)],
        )
        ids = {old: uuid4() for old in self.own_ids}
        if self.plan.issued:
            execute(_COUNTER, [self.plan.merchant_id])
        for table in self.plan.tables:
            execute(self.statements[table.name], self._values(table, ids))
        if self.changes:
            cursor = self.connection.cursor()
            cursor.executemany(_BALANCES, self.changes)
        self.connection.commit()

    def _values(self, table: Table, ids: dict[UUID, UUID]) -> list[Any]:
        values: list[Any] = []
        for row in table.rows:
            for name, value in zip(table.columns, row, strict=True):
                if isinstance(value, UUID):
                    values.append(ids.get(value, value))
                elif isinstance(value, dict) or name in {"response_headers", "metadata", "before", "after"}:
                    values.append(None if value is None else Jsonb(value))
                elif (table.name, name) in _UNIQUE and value is not None:
                    values.append(_UNIQUE[table.name, name]())
                else:
                    values.append(value)
        return values


_UNIQUE: dict[tuple[str, str], Any] = {
    ("invoices", "number"): lambda: f"RAW-{secrets.token_hex(6)}",
    ("invoices", "pay_ref"): new_pay_ref,
    ("invoices", "token"): lambda: new_token(160),
    ("idempotency_keys", "key"): lambda: secrets.token_hex(12),
}


def main() -> None:
    order = json.loads(sys.stdin.readline())
    plans = [pickle.loads(bytes.fromhex(each)) for each in order["plans"]]
    writers = [Writer(order["dsn"], plan, order["seconds"]) for plan in plans]
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    print(json.dumps({"count": sum(each.count for each in writers), "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
