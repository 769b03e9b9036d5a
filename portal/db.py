"""The database edge: one transaction per use case, the tenant of a session, leased batches, column types.

`transaction()` is the only place that commits. The tenant is a pair of transaction-local settings that
row-level security reads (design, section 5); they are set again each time the session begins, so neither
a pooled connection nor a forgotten call can leave one merchant's scope to another's request.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

import psycopg
from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Numeric,
    Row,
    Select,
    Uuid,
    event,
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.orm import InstrumentedAttribute, Session, SessionTransaction, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection
from sqlalchemy.types import TypeDecorator

from portal.extensions import Base, db
from portal.kernel.refs import new_id

T = TypeVar("T")
M = TypeVar("M", bound=Base)

# Serialization failure and deadlock: the server undid everything, so the same work may run again.
RETRIED_SQLSTATES = frozenset({"40001", "40P01"})
RETRIES_MAX = 5
RETRY_FIRST_SECONDS = 0.01
# A server that restarted is met by connections that lay idle meanwhile; a busy one finds out by itself.
PING_AFTER_IDLE_SECONDS = 2.0
_SET_TENANT = text(
    "SELECT set_config('app.merchant_id', :merchant, true), set_config('app.user_id', :user, true)"
)


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` that refuses naive values and always answers in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        assert value is None or value.tzinfo is not None, value
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)


Identity = Annotated[UUID, mapped_column(Uuid, primary_key=True, default=new_id)]
Amount = Annotated[Decimal, mapped_column(Numeric(20, 7))]
WideAmount = Annotated[Decimal, mapped_column(Numeric(38, 7))]
Moment = Annotated[datetime, mapped_column(UtcDateTime)]
CreatedAt = Annotated[datetime, mapped_column(UtcDateTime, server_default=func.now())]
UpdatedAt = Annotated[datetime, mapped_column(UtcDateTime, server_default=func.now())]


def network_check() -> CheckConstraint:
    """Return the constraint of every row's network (design, section 4)."""
    return CheckConstraint("network IN ('test', 'live')", "network_known")


def asset_check(column: str = "asset") -> CheckConstraint:
    """Return the constraint of an asset's one text; a checksum of the issuer is the parser's to see."""
    return CheckConstraint(
        rf"{column} ~ '^(native|[A-Za-z0-9]{{1,12}}\:G[A-Z2-7]{{55}})$'", f"{column}_shape"
    )


@event.listens_for(Pool, "checkin")
def _note_idle(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


@event.listens_for(Pool, "checkout")
def _refuse_dead(connection: Any, record: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
    """Ping a connection that lay idle; SQLAlchemy's own ping asks a busy one too, before every request."""
    idle_since = record.info.get("idle_since")
    if idle_since is None or time.monotonic() - idle_since < PING_AFTER_IDLE_SECONDS:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.OperationalError as death:
        raise DisconnectionError from death


@event.listens_for(Session, "after_begin")
def _apply_tenant(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    scope = session.info.get("tenant")
    if scope is not None and transaction.nested is False:
        connection.execute(_SET_TENANT, scope)


def enter_tenant(*, merchant_id: UUID | None = None, user_id: UUID | None = None) -> None:
    """Let this session see the rows of `merchant_id` and of `user_id` until `leave_tenant()` or its end."""
    session = db.session()
    scope = {"merchant": str(merchant_id or ""), "user": str(user_id or "")}
    if session.info.get("tenant") == scope:
        return
    session.info["tenant"] = scope
    if session.in_transaction():
        session.execute(_SET_TENANT, scope)


def leave_tenant() -> None:
    session = db.session()
    if session.info.pop("tenant", None) is not None and session.in_transaction():
        session.execute(_SET_TENANT, {"merchant": "", "user": ""})


@contextmanager
def transaction() -> Iterator[None]:
    """Commit once at the end or roll everything back; never nested, opened by the edge alone."""
    session = db.session()
    if session.info.get("in_transaction"):
        raise RuntimeError("transaction() does not nest: only the edge opens one")
    session.info["in_transaction"] = True
    try:
        yield
        # Deferred checks (ledger balance, allocation sums) speak inside this commit; asking for them first
        # would cost every request a round trip.
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        del session.info["in_transaction"]


def run_transaction(work: Callable[[], T]) -> T:
    """Run `work` in one transaction and return its answer; a lost race with the server runs it again.

    `work` must have no effect outside the database: it may run up to 5 times (SQLSTATE 40001, 40P01).
    """
    for attempt in range(1, RETRIES_MAX + 1):
        try:
            with transaction():
                return work()
        except DBAPIError as failure:
            if attempt == RETRIES_MAX or sqlstate(failure) not in RETRIED_SQLSTATES:
                raise
            # Jitter keeps two losers from meeting again at once.
            time.sleep(RETRY_FIRST_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
    raise AssertionError("the loop returns or raises")


def release() -> None:
    """Give the connection back before a network call, ending a transaction that only read."""
    session = db.session()
    assert not session.info.get("in_transaction"), "a transaction is never held open across the network"
    session.rollback()


def sqlstate(failure: DBAPIError) -> str | None:
    return cast(str | None, getattr(failure.orig, "sqlstate", None))


def constraint_of(failure: DBAPIError) -> str | None:
    """Return the name of the constraint that refused the statement, if one did."""
    return cast(str | None, getattr(getattr(failure.orig, "diag", None), "constraint_name", None))


def tenant(model: type[M], merchant_id: UUID) -> Select[M]:
    """Return a select of `model` limited to one merchant: the code's own guard, beside row-level security."""
    column = cast("InstrumentedAttribute[UUID]", getattr(model, "merchant_id"))  # noqa: B009
    return select(model).where(column == merchant_id)


def claim_batch(
    model: type[Base],
    *,
    conditions: ColumnElement[bool],
    order_by: ColumnElement[Any] | InstrumentedAttribute[Any],
    limit: int,
    lease_seconds: int,
    now: datetime,
) -> tuple[UUID, list[Row[Any]]]:
    """Lease up to `limit` due rows of a job table and return (lease token, rows); the caller commits at once.

    A job table has `id`, `next_attempt_at`, `lease_until`, `lease_token`. Whoever finishes a row repeats the
    token in its WHERE, so a worker that overslept its lease changes nothing.
    """
    table = model.__table__
    columns = table.c
    token = new_id()
    due = (
        select(columns.id)
        .where(conditions, columns.next_attempt_at <= now)
        .where((columns.lease_until.is_(None)) | (columns.lease_until < now))
        .order_by(order_by)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = (
        update(table)  # type: ignore[arg-type]
        .where(columns.id.in_(select(due.c.id)))
        .values(lease_until=now + timedelta(seconds=lease_seconds), lease_token=token)
        .returning(table)
    )
    return token, list(db.session.execute(claimed).all())
