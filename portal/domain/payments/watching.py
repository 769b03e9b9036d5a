"""The watcher's place in the chain and the records it had to park."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from portal.domain.payments.models import ChainTransaction, WatchCursor, WatchFailure
from portal.extensions import db
from portal.kernel.refs import new_id

NETWORK_SCOPE = "network"
# Before a wallet's address: the place up to which a wallet that is new to the stream was read by itself.
JOINING_PREFIX = "joining:"
# Before a wallet's address: the place up to which its operations were read for what issuers took back.
CLAWBACK_PREFIX = "clawback:"
# No place of ours but the note that the network ends before one; `checked_at` is when that was first seen.
RESET_SCOPE = "reset"
ERROR_MAX = 500
# A source that erred mends itself within minutes, a release of ours that reads the record within weeks.
RETRY_FIRST = timedelta(minutes=1)
RETRY_MAX = timedelta(hours=1)


def find_cursors(network: str) -> dict[str, str]:
    """Return the cursor of every scope of this network."""
    rows = db.session.execute(
        select(WatchCursor.scope, WatchCursor.cursor).where(
            WatchCursor.network == network, WatchCursor.scope != RESET_SCOPE
        )
    )
    return {row.scope: row.cursor for row in rows}


def move_cursor(*, network: str, scope: str, cursor: str, seen_until: datetime, now: datetime) -> None:
    """Keep how far the chain was read; in a transaction of its own, after the last effect of its page.

    `seen_until` is the moment up to which nothing is unseen: now at the end, a ledger's close while behind.
    """
    statement = insert(WatchCursor).values(
        network=network, scope=scope, cursor=cursor, checked_at=seen_until, updated_at=now
    )
    db.session.execute(
        statement.on_conflict_do_update(
            index_elements=["network", "scope"],
            set_={"cursor": cursor, "checked_at": seen_until, "updated_at": now},
        )
    )


def finish_joining(*, network: str, address: str, cursor: str, seen_until: datetime, now: datetime) -> None:
    """Note that a wallet's own past is read to its end; from here on the stream covers it."""
    joining = (WatchCursor.network == network) & (WatchCursor.scope == JOINING_PREFIX + address)
    db.session.execute(delete(WatchCursor).where(joining))
    move_cursor(network=network, scope=address, cursor=cursor, seen_until=seen_until, now=now)


def note_reset(*, network: str, latest: str, now: datetime) -> None:
    """Note that the network ends at `latest`, before a place that was read already."""
    statement = insert(WatchCursor).values(
        network=network, scope=RESET_SCOPE, cursor=latest, checked_at=now, updated_at=now
    )
    db.session.execute(
        statement.on_conflict_do_update(
            index_elements=["network", "scope"], set_={"cursor": latest, "updated_at": now}
        )
    )


def forget_reset(*, network: str) -> None:
    """Note that the network reaches every place of ours (again)."""
    noted = (WatchCursor.network == network) & (WatchCursor.scope == RESET_SCOPE)
    db.session.execute(delete(WatchCursor).where(noted))


def park(
    *, network: str, scope: str, transaction_hash: str, paging_token: str, error: str, now: datetime
) -> None:
    """Set a record aside that could not be recorded, so that it stops nobody behind it."""
    statement = insert(WatchFailure).values(
        id=new_id(),
        network=network,
        scope=scope,
        transaction_hash=transaction_hash,
        paging_token=paging_token,
        error=error[:ERROR_MAX],
        created_at=now,
        updated_at=now,
    )
    db.session.execute(
        statement.on_conflict_do_update(
            index_elements=["network", "transaction_hash", "scope"],
            set_={"error": error[:ERROR_MAX], "updated_at": now, "attempts": WatchFailure.attempts + 1},
        )
    )


def list_due_failures(*, network: str, now: datetime, limit: int) -> Sequence[WatchFailure]:
    """Return parked records whose next look is due, each twice as long after the last one, up to an hour."""
    wait = func.least(RETRY_FIRST * func.power(2, WatchFailure.attempts - 1), RETRY_MAX)
    statement = select(WatchFailure).where(
        WatchFailure.network == network,
        WatchFailure.resolved_at.is_(None),
        WatchFailure.updated_at + wait <= now,
    )
    return db.session.scalars(statement.order_by(WatchFailure.updated_at).limit(limit)).all()


def note_failed_look(*, failure_id: UUID, error: str, now: datetime) -> None:
    values = {"error": error[:ERROR_MAX], "updated_at": now, "attempts": WatchFailure.attempts + 1}
    db.session.execute(update(WatchFailure).where(WatchFailure.id == failure_id).values(values))


def resolve(*, failure_id: UUID, now: datetime) -> None:
    """Note that a parked record is in the books after all."""
    values = {"resolved_at": now, "updated_at": now}
    db.session.execute(update(WatchFailure).where(WatchFailure.id == failure_id).values(values))


def find_raw(network: str, hashes: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return the source's own JSON of stored transactions, by canonical hash."""
    rows = db.session.execute(
        select(ChainTransaction.canonical_hash, ChainTransaction.raw).where(
            ChainTransaction.network == network, ChainTransaction.canonical_hash.in_(hashes)
        )
    )
    return {row.canonical_hash: row.raw for row in rows}
