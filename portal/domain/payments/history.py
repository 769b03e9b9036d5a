"""What happened to a payment, version by version, and who did it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from portal.db import tenant
from portal.domain.api_keys.models import ApiKey
from portal.domain.audit.models import AuditEntry
from portal.domain.events.models import Event
from portal.domain.merchants.models import User
from portal.extensions import db
from portal.kernel.refs import InvalidRef, from_ref, to_ref

HISTORY_MAX = 200


@dataclass(frozen=True, slots=True)
class Happening:
    """One version of a payment: its public JSON then, what the decision said, and who made it.

    `actor` is a person's name, an API key's name, or None where the portal did it by itself.
    """

    type: str
    at: datetime
    payment: dict[str, Any]
    detail: dict[str, Any]
    actor: str | None


def history_of(*, merchant_id: UUID, payment_id: UUID) -> list[Happening]:
    """Return the versions of a payment, the newest first."""
    events = db.session.scalars(
        tenant(Event, merchant_id)
        .where(Event.aggregate_id == payment_id)
        .order_by(Event.version.desc())
        .limit(HISTORY_MAX)
    ).all()
    entries = _entries(merchant_id, to_ref("pay", payment_id), events)
    names = _names(merchant_id, {entry.actor for entry in entries.values()})
    found = []
    for event in events:
        entry = entries.get((event.type, event.occurred_at))
        detail = {} if entry is None else dict(entry.after or {})
        actor = None if entry is None else names.get(entry.actor)
        found.append(Happening(event.type, event.occurred_at, event.payload, detail, actor))
    return found


def _entries(
    merchant_id: UUID, object_ref: str, events: Sequence[Event]
) -> dict[tuple[str, datetime], AuditEntry]:
    """Return the audit rows written with these events; both bear the moment of their transaction."""
    statement = tenant(AuditEntry, merchant_id).where(
        AuditEntry.created_at.in_({event.occurred_at for event in events}),
        AuditEntry.object_ref == object_ref,
    )
    return {
        (entry.action, entry.created_at): entry
        for entry in db.session.scalars(statement.order_by(AuditEntry.id).limit(HISTORY_MAX))
    }


def _names(merchant_id: UUID, actors: Iterable[str]) -> dict[str, str]:
    """Return the names of the people and API keys among `actors`; jobs of the portal have none."""
    names: dict[str, str] = {}
    people, keys = _ids("usr", actors), _ids("key", actors)
    if people:
        rows = db.session.execute(select(User.id, User.name, User.email).where(User.id.in_(people)))
        names |= {to_ref("usr", row.id): str(row.name or row.email) for row in rows}
    if keys:
        statement = tenant(ApiKey, merchant_id).where(ApiKey.id.in_(keys))
        names |= {to_ref("key", key.id): f"API key {key.name}" for key in db.session.scalars(statement)}
    return names


def _ids(prefix: str, actors: Iterable[str]) -> list[UUID]:
    found = []
    for actor in sorted(actors):
        try:
            found.append(from_ref(prefix, actor))
        except InvalidRef:
            continue
    return found
