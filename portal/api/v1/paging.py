"""Lists: newest first, continued by an opaque cursor that names the last row shown."""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from portal.api.v1.fields import REF_BODY
from portal.kernel.errors import Invalid
from portal.kernel.refs import from_ref, to_ref

Place = tuple[datetime, UUID]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 16 digits of microseconds reach the year 2286.
_CURSOR = re.compile(rf"([0-9]{{1,16}})\.([a-z]{{3}}_{REF_BODY})")


class CursorInvalid(Invalid):
    code = "cursor_invalid"


def list_document(data: Sequence[dict[str, Any]], next_cursor: str | None) -> dict[str, Any]:
    return {
        "object": "list",
        "data": list(data),
        "has_more": next_cursor is not None,
        "next_cursor": next_cursor,
    }


def cursor_of(prefix: str, place: Place | None) -> str | None:
    """Return the cursor of a place in a list of `prefix` things, None at its end."""
    if place is None:
        return None
    micros = (place[0] - EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{micros}.{to_ref(prefix, place[1])}".encode()).decode().rstrip("=")


def place_of(prefix: str, cursor: str | None) -> Place | None:
    """Return the place that a cursor of ours names.

    :raises CursorInvalid: for any other text, and for the cursor of another kind of list.
    """
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(_decoded(cursor))
    if found is None or not found[2].startswith(f"{prefix}_"):
        raise CursorInvalid("Use a next_cursor of this list.", pointer="?cursor")
    return EPOCH + timedelta(microseconds=int(found[1])), from_ref(prefix, found[2])


def _decoded(cursor: str) -> str:
    """Return the text of a cursor, empty when it is none."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
            "ascii"
        )
    except (binascii.Error, ValueError):
        return ""
