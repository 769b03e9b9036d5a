"""The sandbox's own SQLite file: the accounts as of the last close, and every transaction since the first.

One process owns the file and one thread writes, once per ledger, in one transaction; readers have a
connection per thread and see whole ledgers only.
"""

import fcntl
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portal.kernel.errors import Conflict
from portal.sandbox.entries import Account

SCHEMA_VERSION = 1
# Ledgers without transactions are dropped after this many closes, or an idle sandbox would fill the disk.
EMPTY_LEDGERS_KEPT = 5_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (address TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledgers (
    sequence INTEGER PRIMARY KEY, transactions INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS transactions (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, inner_hash TEXT,
    ledger INTEGER NOT NULL, successful INTEGER NOT NULL, body TEXT NOT NULL, words TEXT
);
CREATE INDEX IF NOT EXISTS transactions_inner_hash ON transactions (inner_hash) WHERE inner_hash IS NOT NULL;
CREATE TABLE IF NOT EXISTS transaction_accounts (
    account TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS operations (
    id INTEGER PRIMARY KEY, successful INTEGER NOT NULL, payment INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS operation_accounts (
    account TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (
    operation INTEGER NOT NULL, position INTEGER NOT NULL, account TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (operation, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS effects_account ON effects (account, operation, position);
"""


class ForeignSandboxFile(Conflict):
    """The file holds the ledger of another network passphrase or of another version."""

    code = "sandbox_file_foreign"


class SandboxFileBusy(Conflict):
    """Another process has the file: two clocks would close ledgers over each other."""

    code = "sandbox_file_busy"


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Hold the file for this process alone; the lock goes with the process, however it ends.

    :raises SandboxFileBusy: while another process holds it.
    """
    with path.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise SandboxFileBusy(f"{path} is in use by another sandbox; name another file.") from held
        yield


@dataclass(slots=True)
class Closing:
    """Everything one ledger close writes."""

    sequence: int
    ledger: dict[str, Any]
    accounts: dict[str, Account | None] = field(default_factory=dict)
    transactions: list[tuple[Any, ...]] = field(default_factory=list)
    transaction_accounts: list[tuple[str, int]] = field(default_factory=list)
    operations: list[tuple[Any, ...]] = field(default_factory=list)
    operation_accounts: list[tuple[str, int]] = field(default_factory=list)
    effects: list[tuple[Any, ...]] = field(default_factory=list)


def dump(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


class Store:
    """Opens or makes the file at `path`.

    :raises ForeignSandboxFile: when it belongs to another passphrase or schema version.
    """

    def __init__(self, path: Path, passphrase: str) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connection()
        connection.executescript(_SCHEMA)
        with connection:
            for key, value in (("passphrase", passphrase), ("version", str(SCHEMA_VERSION))):
                connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))
        for key, value in (("passphrase", passphrase), ("version", str(SCHEMA_VERSION))):
            if self.meta(key) != value:
                raise ForeignSandboxFile(
                    f"{path} is a sandbox with another {key}; use another file or remove it."
                )

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
            with self._guard:
                self._connections.append(connection)
        return connection

    def release_thread(self) -> None:
        """Close this thread's connection; a thread that served one client calls it when the client leaves."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            del self._local.connection
            with self._guard:
                self._connections.remove(connection)
            connection.close()

    def close(self) -> None:
        with self._guard:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def meta(self, key: str) -> str | None:
        row = self._connection().execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def accounts(self) -> Iterable[Account]:
        for (body,) in self._connection().execute("SELECT body FROM accounts"):
            yield Account.from_json(json.loads(body))

    def account(self, address: str) -> Account | None:
        row = self._connection().execute("SELECT body FROM accounts WHERE address = ?", (address,)).fetchone()
        return None if row is None else Account.from_json(json.loads(row[0]))

    def was_account(self, address: str) -> bool:
        """Say whether history knows the account, merged away or not."""
        found = self.rows("SELECT 1 FROM effects WHERE account = ? LIMIT 1", (address,))
        return bool(found) or self.account(address) is not None

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection().execute(sql, values).fetchall()

    def ledger(self, sequence: int) -> dict[str, Any] | None:
        found = self.rows("SELECT body FROM ledgers WHERE sequence = ?", (sequence,))
        return json.loads(found[0][0]) if found else None

    def latest_ledger(self) -> dict[str, Any] | None:
        found = self.rows("SELECT body FROM ledgers ORDER BY sequence DESC LIMIT 1")
        return json.loads(found[0][0]) if found else None

    def transaction(self, hash_text: str) -> tuple[dict[str, Any], dict[str, Any] | None] | None:
        """Return (record, result codes of a failed one) for an outer or inner hash."""
        sql = "SELECT body, words FROM transactions WHERE hash = ? UNION ALL "
        sql += "SELECT body, words FROM transactions WHERE inner_hash = ? LIMIT 1"
        found = self.rows(sql, (hash_text, hash_text))
        if not found:
            return None
        body, words = found[0]
        return json.loads(body), json.loads(words) if words else None

    def write(self, closing: Closing) -> None:
        """Write a whole ledger, or nothing of it."""
        connection = self._connection()
        with connection:
            for address, account in closing.accounts.items():
                if account is None:
                    connection.execute("DELETE FROM accounts WHERE address = ?", (address,))
                    continue
                values = (address, dump(account.to_json()))
                connection.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?)", values)
            row = (closing.sequence, len(closing.transactions), dump(closing.ledger))
            connection.execute("INSERT INTO ledgers VALUES (?, ?, ?)", row)
            connection.executemany(
                "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?)", closing.transactions
            )
            connection.executemany(
                "INSERT INTO transaction_accounts VALUES (?, ?)", closing.transaction_accounts
            )
            connection.executemany("INSERT INTO operations VALUES (?, ?, ?, ?)", closing.operations)
            connection.executemany("INSERT INTO operation_accounts VALUES (?, ?)", closing.operation_accounts)
            connection.executemany("INSERT INTO effects VALUES (?, ?, ?, ?)", closing.effects)
            if closing.sequence % 1_000 == 0:
                oldest = closing.sequence - EMPTY_LEDGERS_KEPT
                connection.execute("DELETE FROM ledgers WHERE transactions = 0 AND sequence < ?", (oldest,))
