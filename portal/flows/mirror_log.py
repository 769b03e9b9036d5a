"""The MongoDB mirror against PostgreSQL: carry events over, compare both sides, write it anew."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select

from portal.adapters import mongo
from portal.adapters.mongo import MirrorEvent
from portal.db import release
from portal.domain.events.models import Event, OutboxEntry
from portal.domain.payments import watching
from portal.extensions import db
from portal.kernel.refs import InvalidRef, from_ref, to_ref

BATCH = 500
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which the mirror is not what PostgreSQL says."""

    kind: str
    collection: str
    event: str


@dataclass(frozen=True, slots=True)
class Comparison:
    events: int
    waiting: int
    differences: tuple[Difference, ...]


def _quiet(done: int) -> None:
    """Tell nobody."""


def mirror_events(events: Sequence[Event]) -> list[MirrorEvent]:
    """Return the events as the mirror needs them: what names a stored transaction with the raw JSON of it."""
    hashes: dict[str, set[str]] = {}
    for event in events:
        if _has_raw(event):
            hashes.setdefault(event.network, set()).add(str(event.payload.get("transaction_hash")))
    raws = {network: watching.find_raw(network, sorted(names)) for network, names in hashes.items()}
    return [
        MirrorEvent(
            ref=to_ref("evt", event.id),
            merchant=to_ref("mer", event.merchant_id),
            network=event.network,
            type=event.type,
            version=event.version,
            payload=event.payload,
            occurred_at=event.occurred_at,
            raw=raws[event.network].get(str(event.payload.get("transaction_hash")))
            if _has_raw(event)
            else None,
        )
        for event in events
    ]


def _has_raw(event: Event) -> bool:
    """Say whether an event's transaction was stored with it: a hash that was only named may be stored later."""
    return event.aggregate_type == "payment" or event.type == "refund.completed"


def check_mirror(*, now: datetime, progress: Progress = _quiet) -> Comparison:
    """Compare every event in the retention window with its document, both ways.

    An event that the relay has not delivered yet is `waiting`, no difference. `progress` is told how many
    events are done.
    """
    differences: list[Difference] = []
    total = waiting = 0
    seen: dict[str, set[str]] = {name: set() for name in mongo.COLLECTIONS}
    for batch, undelivered in _batches(now):
        total += len(batch)
        progress(total)
        for name in mongo.COLLECTIONS:
            mine = [event for event in batch if event.collection == name]
            found = mongo.find_documents(name, [event.ref for event in mine])
            for event in mine:
                seen[name].add(event.ref)
                document = found.get(event.ref)
                if document is None and event.ref in undelivered:
                    waiting += 1
                elif document is None:
                    differences.append(Difference("missing", name, event.ref))
                elif document != mongo.document_of(event):
                    differences.append(Difference("differs", name, event.ref))
    for name in mongo.COLLECTIONS:
        extra = [ref for ref in mongo.list_ids(name) if ref not in seen[name] and not _exists(ref)]
        differences += [Difference("extra", name, ref) for ref in extra]
    return Comparison(total, waiting, tuple(differences))


def rebuild_mirror(*, now: datetime, progress: Progress = _quiet) -> int:
    """Write every document anew from PostgreSQL, remove what has no event, and return how many there are."""
    mongo.ensure_indexes()
    total = 0
    seen: set[str] = set()
    for batch, _ in _batches(now):
        failed = mongo.replace_events(batch)
        total += len(batch) - len(failed)
        progress(total)
        seen |= {event.ref for event in batch}
    for name in mongo.COLLECTIONS:
        extra = [ref for ref in mongo.list_ids(name) if ref not in seen and not _exists(ref)]
        for start in range(0, len(extra), BATCH):
            mongo.delete_documents(name, extra[start : start + BATCH])
    return total


def _batches(now: datetime) -> Iterator[tuple[list[MirrorEvent], set[str]]]:
    """Yield (events, refs not delivered yet) by batches, oldest first, with no transaction left open."""
    since = now - timedelta(seconds=mongo.RETENTION_SECONDS)
    after: UUID | None = None
    while True:
        statement = (
            select(Event, OutboxEntry.state)
            .outerjoin(OutboxEntry, (OutboxEntry.event_id == Event.id) & (OutboxEntry.consumer == "mirror"))
            .where(or_(*(Event.aggregate_type == each for each in mongo.COLLECTION_OF)))
            .where(Event.occurred_at >= since)
            .order_by(Event.id)
            .limit(BATCH)
        )
        if after is not None:
            statement = statement.where(Event.id > after)
        rows: list[Any] = list(db.session.execute(statement).all())
        events = mirror_events([row[0] for row in rows])
        undelivered = {to_ref("evt", row[0].id) for row in rows if row[1] == "PENDING"}
        db.session.expunge_all()
        release()
        if not rows:
            return
        yield events, undelivered
        after = rows[-1][0].id


def _exists(ref: str) -> bool:
    """Say whether an event has this ref: one written while we compared is not extra."""
    try:
        event_id = from_ref("evt", ref)
    except InvalidRef:
        return False
    found = db.session.scalar(select(Event.id).where(Event.id == event_id))
    release()
    return found is not None
