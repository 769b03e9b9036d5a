"""Outbox rows as leased jobs: claim, finish, put back, fail; and what operators do with dead ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, and_, any_, delete, literal, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute

from portal.db import claim_batch
from portal.domain.events.models import Event, OutboxEntry
from portal.extensions import db

LEASE_SECONDS = 60
# A row that fails by itself is tried over about a day, then it is dead and a person decides.
RETRY_DELAYS_SECONDS = (5, 30, 120, 600, 3600, 14_400, 28_800, 43_200)
ATTEMPTS_MAX = len(RETRY_DELAYS_SECONDS) + 1
ERROR_MAX = 500


@dataclass(frozen=True, slots=True)
class Job:
    """An outbox row with its event, leased to the holder of `token`."""

    id: UUID
    attempts: int
    token: UUID
    event: Event


def claim(consumer: str, *, limit: int, now: datetime) -> list[Job]:
    """Lease due rows of one consumer, oldest event first; the caller commits before it sends anything."""
    conditions = and_(OutboxEntry.consumer == consumer, OutboxEntry.state == "PENDING")
    token, rows = claim_batch(
        OutboxEntry,
        conditions=conditions,
        order_by=OutboxEntry.id,
        limit=limit,
        lease_seconds=LEASE_SECONDS,
        now=now,
    )
    found = db.session.scalars(select(Event).where(_among(Event.id, [row.event_id for row in rows])))
    events = {event.id: event for event in found}
    jobs = [Job(row.id, row.attempts, token, events[row.event_id]) for row in rows]
    return sorted(jobs, key=lambda job: job.event.id)


def finish(jobs: Sequence[Job], *, now: datetime) -> None:
    """Mark delivered; a row whose lease was taken over by another worker is left to that one."""
    if jobs:
        values = {
            "state": "DONE",
            "lease_until": None,
            "lease_token": None,
            "last_error": None,
            "updated_at": now,
        }
        db.session.execute(update(OutboxEntry).where(_held(jobs)).values(values))


def put_back(jobs: Sequence[Job], *, error: str, retry_at: datetime) -> None:
    """Give rows back after an outage of the consumer's infrastructure; it counts as no attempt."""
    if jobs:
        values = {
            "lease_until": None,
            "lease_token": None,
            "next_attempt_at": retry_at,
            "last_error": error[:ERROR_MAX],
        }
        db.session.execute(update(OutboxEntry).where(_held(jobs)).values(values))


def fail(job: Job, *, error: str, now: datetime) -> None:
    """Count an attempt of a row that is bad by itself; after the last one it is dead and stops nobody."""
    attempts = job.attempts + 1
    values: dict[str, Any] = {
        "attempts": attempts,
        "lease_until": None,
        "lease_token": None,
        "last_error": error[:ERROR_MAX],
        "updated_at": now,
    }
    if attempts >= ATTEMPTS_MAX:
        values |= {"state": "DEAD", "dead_at": now}
    else:
        values["next_attempt_at"] = now + timedelta(seconds=RETRY_DELAYS_SECONDS[attempts - 1])
    db.session.execute(update(OutboxEntry).where(_held([job])).values(values))


@dataclass(frozen=True, slots=True)
class Waiting:
    """How far one consumer is behind, over all tenants."""

    consumer: str
    oldest_seconds: float
    dead: int


def waiting(*, now: datetime) -> list[Waiting]:
    """Return the backlog of each consumer that has one; the same for every role of the database."""
    rows = db.session.execute(text("SELECT consumer, since, dead FROM outbox_waiting() ORDER BY consumer"))
    return [
        Waiting(
            row.consumer, 0.0 if row.since is None else max(0.0, (now - row.since).total_seconds()), row.dead
        )
        for row in rows
    ]


def list_entries(*, state: str, limit: int) -> Sequence[Any]:
    """Return undelivered rows with their event's type, oldest first; for operators, over all tenants."""
    return db.session.execute(
        select(OutboxEntry, Event.type)
        .join(Event, Event.id == OutboxEntry.event_id)
        .where(OutboxEntry.state == state)
        .order_by(OutboxEntry.id)
        .limit(limit)
    ).all()


def find_dead(*, event_ids: Sequence[UUID], consumer: str | None = None, limit: int) -> list[UUID]:
    """Return the ids of dead rows of these events, or of all events when none is named; for operators."""
    statement = select(OutboxEntry.id).where(OutboxEntry.state == "DEAD")
    if event_ids:
        statement = statement.where(OutboxEntry.event_id.in_(event_ids))
    if consumer is not None:
        statement = statement.where(OutboxEntry.consumer == consumer)
    return list(db.session.scalars(statement.order_by(OutboxEntry.id).limit(limit)))


def retry_dead(*, entry_ids: Sequence[UUID], now: datetime) -> int:
    """Give dead rows their tries back and return how many there were."""
    values = {"state": "PENDING", "dead_at": None, "attempts": 0, "next_attempt_at": now, "updated_at": now}
    dead = (OutboxEntry.state == "DEAD") & OutboxEntry.id.in_(entry_ids)
    return len(
        db.session.scalars(update(OutboxEntry).where(dead).values(values).returning(OutboxEntry.id)).all()
    )


def discard_dead(*, entry_ids: Sequence[UUID], reason: str, now: datetime) -> int:
    """Give dead rows up for good, with the reason kept, and return how many there were."""
    values = {"state": "DISCARDED", "dead_at": None, "discard_reason": reason, "updated_at": now}
    dead = (OutboxEntry.state == "DEAD") & OutboxEntry.id.in_(entry_ids)
    return len(
        db.session.scalars(update(OutboxEntry).where(dead).values(values).returning(OutboxEntry.id)).all()
    )


def delete_delivered(*, before: datetime, limit: int) -> int:
    """Remove rows that were delivered long ago; the events they carried stay."""
    old = (
        select(OutboxEntry.id)
        .where(OutboxEntry.state == "DONE", OutboxEntry.updated_at < before)
        .limit(limit)
        .scalar_subquery()
    )
    removed = db.session.scalars(delete(OutboxEntry).where(OutboxEntry.id.in_(old)).returning(OutboxEntry.id))
    return len(removed.all())


def _held(jobs: Sequence[Job]) -> ColumnElement[bool]:
    tokens = list({job.token for job in jobs})
    return _among(OutboxEntry.id, [job.id for job in jobs]) & _among(OutboxEntry.lease_token, tokens)


def _among(column: InstrumentedAttribute[Any], ids: list[UUID]) -> ColumnElement[bool]:
    """Compare with one array: an IN of hundreds of values is rendered and parsed anew each time."""
    return column == any_(literal(ids, ARRAY(Uuid)))
