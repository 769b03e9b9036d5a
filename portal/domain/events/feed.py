"""The merchant's feed: gapless places for events, given after their commit by one relay at a time."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from portal.db import tenant
from portal.domain.events.models import Event, FeedEntry
from portal.extensions import db

PAGE_MAX = 100
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


def append(events: Sequence[Event], *, now: datetime) -> None:
    """Give each event the next place in its merchant's feed; one that has a place keeps it."""
    by_feed: dict[tuple[UUID, str], list[Event]] = defaultdict(list)
    for event in events:
        by_feed[event.merchant_id, event.network].append(event)
    for (merchant_id, network), mine in sorted(by_feed.items(), key=lambda item: str(item[0])):
        db.session.execute(_LOCK, {"key": f"feed/{merchant_id}/{network}"})
        ids = [event.id for event in mine]
        placed = set(db.session.scalars(select(FeedEntry.event_id).where(FeedEntry.event_id.in_(ids))))
        last = db.session.scalar(
            select(func.coalesce(func.max(FeedEntry.seq), 0)).where(
                FeedEntry.merchant_id == merchant_id, FeedEntry.network == network
            )
        )
        new = [event for event in sorted(mine, key=lambda each: each.id) if event.id not in placed]
        if new:
            rows = [
                {
                    "merchant_id": merchant_id,
                    "network": network,
                    "seq": seq,
                    "event_id": event.id,
                    "created_at": now,
                }
                for seq, event in enumerate(new, start=(last or 0) + 1)
            ]
            db.session.execute(insert(FeedEntry), rows)


def list_after(*, merchant_id: UUID, network: str, after: int, limit: int) -> Sequence[tuple[int, Event]]:
    """Return (sequence, event) behind place `after`, oldest first."""
    assert 1 <= limit <= PAGE_MAX + 1, limit
    statement = (
        tenant(FeedEntry, merchant_id)
        .with_only_columns(FeedEntry.seq, Event)
        .join(Event, Event.id == FeedEntry.event_id)
        .where(FeedEntry.network == network, FeedEntry.seq > after)
        .order_by(FeedEntry.seq)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in db.session.execute(statement)]
