"""Reading pages of history: cursor, order and limit as Horizon takes them, and the queries behind them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from portal.sandbox.closing import ledger_id
from portal.sandbox.problems import bad_field
from portal.sandbox.store import Store

LIMIT_DEFAULT = 10
LIMIT_MAX = 200
_CURSOR_MAX = 2**63 - 1
# A TOID keeps the ledger in its upper 32 bits, the transaction's order in 20, the operation's in 12.
_OPERATION_BITS = 12


@dataclass(frozen=True, slots=True)
class PageQuery:
    """`cursor` is what the client sent; `position` what it means: (operation or id, effect number) or None."""

    cursor: str
    position: tuple[int, int] | None
    order: str
    limit: int


def read_page_query(arguments: Mapping[str, str], *, latest: int, effects: bool = False) -> PageQuery:
    """Read cursor, order and limit; `latest` is the last closed ledger, which `cursor=now` stands behind.

    :raises Problem: bad_request naming the field.
    """
    order = arguments.get("order") or "asc"
    if order not in ("asc", "desc"):
        raise bad_field("order", "order: invalid value")
    limit = arguments.get("limit") or str(LIMIT_DEFAULT)
    if not (limit.isascii() and limit.isdigit()):
        raise bad_field("limit", "unparseable value")
    if not 0 < int(limit[:20]) <= LIMIT_MAX:
        raise bad_field("limit", f"invalid limit: value provided that is over limit max of {LIMIT_MAX}")
    cursor = arguments.get("cursor") or ""
    return PageQuery(cursor, _position(cursor, latest, effects), order, int(limit))


def _position(cursor: str, latest: int, effects: bool) -> tuple[int, int] | None:
    if not cursor:
        return None
    if cursor == "now":
        return ledger_id(latest + 1) - 1, 0
    head, dash, tail = cursor.partition("-")
    numbers = [head, tail] if dash else [head]
    if (dash and not effects) or not all(part.isascii() and part.isdigit() for part in numbers):
        raise bad_field("cursor", "cursor: invalid value")
    # An effect's cursor without its number stands behind all effects of that operation.
    position = int(head[:20]), int(tail[:20]) if dash else _CURSOR_MAX if effects else 0
    if max(position) > _CURSOR_MAX:
        raise bad_field("cursor", "cursor: invalid value")
    return position


@dataclass(frozen=True, slots=True)
class Listing:
    """What to list: `kind` is a table; the rest narrows it. `low` and `high` bound the ids, both included."""

    kind: str
    account: str | None = None
    low: int = 0
    high: int = _CURSOR_MAX
    payments: bool = False
    include_failed: bool = False
    join_transactions: bool = False

    def within_ledger(self, sequence: int) -> "Listing":
        return replace(self, low=ledger_id(sequence), high=ledger_id(sequence + 1) - 1)

    def within_transaction(self, identity: int) -> "Listing":
        """Horizon lists the operations of a failed transaction when it is named."""
        high = identity | (1 << _OPERATION_BITS) - 1
        return replace(self, low=identity, high=high, include_failed=True)

    def within_operation(self, identity: int) -> "Listing":
        return replace(self, low=identity, high=identity)


def fetch(
    store: Store, listing: Listing, query: PageQuery
) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Return (record, its transaction when joined) in the order asked for."""
    if listing.kind == "effects":
        rows = _effects(store, listing, query)
    elif listing.kind == "ledgers":
        rows = _ledgers(store, query)
    else:
        rows = _by_id(store, listing, query)
    bodies = [json.loads(body) for (body,) in rows]
    if not listing.join_transactions or not bodies:
        return [(body, None) for body in bodies]
    joined = _transactions_of(store, bodies)
    return [(body, joined[_transaction_id(body)]) for body in bodies]


def _transaction_id(operation: dict[str, Any]) -> int:
    identity = int(operation["id"])
    return identity >> _OPERATION_BITS << _OPERATION_BITS


def _transactions_of(store: Store, operations: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    wanted = tuple({_transaction_id(body) for body in operations})
    marks = ",".join("?" * len(wanted))
    rows = store.rows(f"SELECT id, body FROM transactions WHERE id IN ({marks})", wanted)  # noqa: S608 -- marks are ?
    return {identity: json.loads(body) for identity, body in rows}


def _by_id(store: Store, listing: Listing, query: PageQuery) -> list[tuple[Any, ...]]:
    """Read transactions or operations; with an account the participants' index leads, so pages stay cheap."""
    table = listing.kind
    key, source = "t.id", f"{table} t"
    if listing.account is not None:
        key = "p.id"
        source = f"{table[:-1]}_accounts p JOIN {table} t ON t.id = p.id"
    where = [f"{key} BETWEEN ? AND ?"]
    values: list[Any] = [listing.low, listing.high]
    if listing.account is not None:
        where.append("p.account = ?")
        values.append(listing.account)
    if query.position is not None:
        where.append(f"{key} {'>' if query.order == 'asc' else '<'} ?")
        values.append(query.position[0])
    if listing.payments:
        where.append("t.payment = 1")
    if not listing.include_failed:
        where.append("t.successful = 1")
    sql = f"SELECT t.body FROM {source} WHERE {' AND '.join(where)} ORDER BY {key} {query.order} LIMIT ?"  # noqa: S608 -- names are ours
    return store.rows(sql, (*values, query.limit))


def _effects(store: Store, listing: Listing, query: PageQuery) -> list[tuple[Any, ...]]:
    where = ["operation BETWEEN ? AND ?"]
    values: list[Any] = [listing.low, listing.high]
    if listing.account is not None:
        where.append("account = ?")
        values.append(listing.account)
    if query.position is not None:
        where.append(f"(operation, position) {'>' if query.order == 'asc' else '<'} (?, ?)")
        values += query.position
    order = f"operation {query.order}, position {query.order}"
    sql = f"SELECT body FROM effects WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"  # noqa: S608 -- names are ours
    return store.rows(sql, (*values, query.limit))


def _ledgers(store: Store, query: PageQuery) -> list[tuple[Any, ...]]:
    where = "1"
    values: tuple[int, ...] = ()
    if query.position is not None:
        sign = ">" if query.order == "asc" else "<"
        # A ledger's own token is sequence << 32, so a token inside a ledger stands behind it.
        where, values = f"sequence << 32 {sign} ?", (query.position[0],)
    sql = f"SELECT body FROM ledgers WHERE {where} ORDER BY sequence {query.order} LIMIT ?"  # noqa: S608 -- names are ours
    return store.rows(sql, (*values, query.limit))
