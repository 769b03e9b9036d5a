# ruff: noqa: S608  every part of these queries is written here; nothing comes from outside
"""What must hold over all rows at any moment (design, sections 5 and 6): each a query that returns nothing.

Run as `portal_worker`, which sees every tenant. Each query is one statement and so sees one moment, also
while the instance is at work. Raw SQL throughout: they compare whole tables, and a check that went through
the models it checks would share their mistakes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Table, UniqueConstraint, text

from portal.db import release
from portal.extensions import Base, db
from portal.flows.invariants_bookings import BOOKINGS
from portal.flows.invariants_books import BOOKS
from portal.flows.invariants_guards import GUARDS
from portal.flows.invariants_records import RECORDS
from portal.kernel.refs import to_ref

C = TypeVar("C", CheckConstraint, UniqueConstraint)

# As many refs as a person reads in a line; the count says how many more there are.
REFS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What one invariant came to: `rows` that break it, the first of them by their refs."""

    name: str
    rows: int
    refs: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return self.rows == 0


def names() -> list[str]:
    return list(_all())


def check_invariants() -> Iterator[Finding]:
    """Yield one finding an invariant, as soon as it is known."""
    for name, (prefix, query) in _all().items():
        db.session.execute(text("SET LOCAL statement_timeout = 0"))
        found = db.session.execute(
            text(
                f"SELECT subject, count(*) OVER () AS rows FROM ({query}) AS broken ORDER BY subject LIMIT :shown"
            ),
            {"shown": REFS_SHOWN},
        ).all()
        release()
        refs = tuple(_named(prefix, row.subject) for row in found)
        yield Finding(name, found[0].rows if found else 0, refs)


def _all() -> dict[str, tuple[str, str]]:
    """Return (prefix of the refs, query) by name; each query returns one column called `subject`."""
    return {
        **BOOKS,
        **BOOKINGS,
        **RECORDS,
        **GUARDS,
        "checks_hold": ("", _union(_check_queries())),
        "unique_keys_hold": ("", _union(_unique_queries())),
        "foreign_keys_hold": ("", _union(_foreign_key_queries())),
    }


def _named(prefix: str, subject: object) -> str:
    return to_ref(prefix, subject) if isinstance(subject, UUID) else str(subject)


# Constraints of the tables that have a line of their own, so that a broken row is told once.
_TOLD_APART = frozenset(
    {
        "ck_invoices_received_within_amount",
        "ck_invoices_paid_has_time",
        "ck_invoices_paid_is_fully_received",
        "ck_invoices_issued_is_whole",
        "ck_invoices_closed_has_time",
        "uq_payments_transaction_id_operation_index_credit_index",
        "uq_invoices_network_pay_ref",
    }
)


def _check_queries() -> Iterator[str]:
    for table in Base.metadata.sorted_tables:
        for constraint in _sorted(table, CheckConstraint):
            if constraint.name not in _TOLD_APART:
                # A colon in a pattern or a cast is none of text()'s parameters.
                condition = str(constraint.sqltext).replace(":", "\\:")
                yield f"SELECT '{constraint.name}' AS subject FROM {table.name} WHERE NOT ({condition})"


def _unique_queries() -> Iterator[str]:
    for table in Base.metadata.sorted_tables:
        yield _duplicates(table, f"pk_{table.name}", [column.name for column in table.primary_key])
        for constraint in _sorted(table, UniqueConstraint):
            if constraint.name in _TOLD_APART:
                continue
            names = [column.name for column in constraint.columns]
            nulls_are_equal = constraint.dialect_options["postgresql"]["nulls_not_distinct"]
            where = "" if nulls_are_equal else " AND ".join(f"{name} IS NOT NULL" for name in names)
            yield _duplicates(table, str(constraint.name), names, where)
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            if index.unique:
                where = str(index.dialect_options["postgresql"]["where"])
                yield _duplicates(table, str(index.name), _columns(index), where)


def _foreign_key_queries() -> Iterator[str]:
    for table in Base.metadata.sorted_tables:
        for constraint in sorted(table.foreign_key_constraints, key=lambda each: str(each.name)):
            target = constraint.referred_table.name
            pairs = [(element.parent.name, element.column.name) for element in constraint.elements]
            joined = " AND ".join(f"o.{there} = t.{here}" for here, there in pairs)
            # MATCH SIMPLE: one null in the key and it points nowhere.
            filled = " AND ".join(f"t.{here} IS NOT NULL" for here, _ in pairs)
            yield (
                f"SELECT '{constraint.name}' AS subject FROM {table.name} t"
                f" WHERE {filled} AND NOT EXISTS (SELECT FROM {target} o WHERE {joined})"
            )


def _duplicates(table: Table, name: str, columns: list[str], where: str = "") -> str:
    key = ", ".join(columns)
    condition = f" WHERE {where}" if where else ""
    return f"SELECT '{name}' AS subject FROM {table.name}{condition} GROUP BY {key} HAVING count(*) > 1"


def _columns(index: Index) -> list[str]:
    return [column.name for column in index.columns]


def _sorted(table: Table, kind: type[C]) -> list[C]:
    return sorted(
        (each for each in table.constraints if isinstance(each, kind)), key=lambda each: str(each.name)
    )


def _union(queries: Iterator[str]) -> str:
    return "\nUNION ALL\n".join(queries)
