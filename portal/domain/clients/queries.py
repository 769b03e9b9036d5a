"""Reads of clients, always limited to one merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text, tuple_

from portal.db import tenant
from portal.domain.clients.models import Client
from portal.domain.clients.rules import SEARCH_MIN_CHARACTERS
from portal.domain.events.models import Event
from portal.extensions import db
from portal.kernel.errors import NotFound

PAGE_MAX = 100
# A select box longer than this helps nobody; the rest is found by search.
CHOICES_MAX = 500


class ClientNotFound(NotFound):
    code = "client_not_found"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `next_after` is the place of its last row when more follow."""

    clients: Sequence[Client]
    next_after: tuple[datetime, UUID] | None
    has_newer: bool


def get(*, merchant_id: UUID, client_id: UUID) -> Client:
    client = db.session.scalars(tenant(Client, merchant_id).where(Client.id == client_id)).one_or_none()
    if client is None:
        raise ClientNotFound("No such client.")
    return client


def get_for_update(*, merchant_id: UUID, client_id: UUID) -> Client:
    """Lock the client's row until the transaction ends; every change of a client begins here."""
    statement = (
        tenant(Client, merchant_id)
        .where(Client.id == client_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    client = db.session.scalars(statement).one_or_none()
    if client is None:
        raise ClientNotFound("No such client.")
    return client


def find_by_email(*, merchant_id: UUID, email: str) -> Client | None:
    """Return the client with this address, archived ones too; case does not matter."""
    statement = tenant(Client, merchant_id).where(Client.email_lower == email.strip().lower())
    return db.session.scalars(statement).one_or_none()


def list_page(
    *,
    merchant_id: UUID,
    text: str | None = None,
    archived: bool = False,
    after: tuple[datetime, UUID] | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 25,
) -> Page:
    """Return clients newest first, `after` a place in the list or, going back, `before` it.

    `text` of under 3 characters finds nothing.
    """
    assert 1 <= limit <= PAGE_MAX, limit
    statement = tenant(Client, merchant_id).where(
        Client.archived_at.is_not(None) if archived else Client.archived_at.is_(None)
    )
    if text:
        statement = statement.where(Client.id.in_(_search(text)))
    place = tuple_(Client.created_at, Client.id)
    if before is not None:
        newer = statement.where(place > before).order_by(Client.created_at, Client.id).limit(limit + 1)
        found = list(db.session.scalars(newer).all())
        rows = found[:limit][::-1]
        return Page(rows, _place(rows[-1]) if rows else None, len(found) > limit)
    if after is not None:
        statement = statement.where(place < after)
    older = statement.order_by(Client.created_at.desc(), Client.id.desc()).limit(limit + 1)
    found = list(db.session.scalars(older).all())
    rows = found[:limit]
    return Page(rows, _place(rows[-1]) if len(found) > limit else None, after is not None)


def list_choices(*, merchant_id: UUID, limit: int = CHOICES_MAX) -> Sequence[Client]:
    """Return clients to choose from, newest first, archived ones left out."""
    statement = tenant(Client, merchant_id).where(Client.archived_at.is_(None))
    return db.session.scalars(
        statement.order_by(Client.created_at.desc(), Client.id.desc()).limit(limit)
    ).all()


def next_version(*, client_id: UUID) -> int:
    """Return the version of a locked client's next event: clients keep no count of their own."""
    last = db.session.scalar(select(func.max(Event.version)).where(Event.aggregate_id == client_id))
    return (last or 0) + 1


def _place(client: Client) -> tuple[datetime, UUID]:
    return client.created_at, client.id


def _search(needle: str) -> list[UUID]:
    """Return ids of at most 1,001 matches; the function filters on the tenant of this session by itself."""
    words = " ".join(needle.lower().split())
    if len(words) < SEARCH_MIN_CHARACTERS:
        return []
    # LIKE's own wildcards are looked for as the characters they are.
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return list(
        db.session.execute(text("SELECT search_clients(:needle, 1001)"), {"needle": escaped}).scalars()
    )
