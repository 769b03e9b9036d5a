"""The merchant's feed of events, paged by its gapless sequence, oldest first."""

from flask import Blueprint, Response, g

from portal.api.v1 import shapes
from portal.api.v1.answers import show
from portal.api.v1.contract import api_access
from portal.api.v1.paging import list_document
from portal.api.v1.reading import read_query
from portal.api.v1.schemas import EventQuery
from portal.domain.events import feed
from portal.domain.events.models import Event
from portal.kernel.clock import iso
from portal.kernel.refs import to_ref

bp = Blueprint("api_events", __name__)


@bp.get("/events")
@api_access(
    "events:read",
    summary="List events behind a sequence, oldest first",
    description="Pass the last sequence you have seen as `after`; `next_cursor` is the one of this page's last event.",
    query=EventQuery,
    answers={200: shapes.EventList},
)
def list_events() -> Response:
    wanted = read_query(EventQuery)
    found = feed.list_after(
        merchant_id=g.api_key.merchant_id,
        network=g.api_key.network,
        after=wanted.after,
        limit=wanted.limit + 1,
    )
    rows = found[: wanted.limit]
    data = [_event_document(sequence, event) for sequence, event in rows]
    return show(list_document(data, str(rows[-1][0]) if len(found) > wanted.limit else None))


def _event_document(sequence: int, event: Event) -> dict[str, object]:
    return {
        "object": "event",
        "id": to_ref("evt", event.id),
        "sequence": sequence,
        "type": event.type,
        "network": event.network,
        "created_at": iso(event.occurred_at),
        "data": {"object": event.payload},
    }
