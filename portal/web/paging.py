"""Places in keyset lists as they travel in URLs, and what people type to narrow a list."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from uuid import UUID

from flask import url_for

from portal.kernel.refs import InvalidRef, from_ref, to_ref

PAGE_SIZE = 25
NEEDLE_MAX = 100
Place = tuple[datetime, UUID]

# What a place carries beside the moment is a ref, so that no internal id leaves.
_PREFIX = "evt"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Far enough for any business, near enough that no time zone moves a day out of Python's calendar.
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list is asked for: older than `after` or newer than `before`; None is the newest."""

    after: Place | None = None
    before: Place | None = None


def encode_place(place: Place) -> str:
    """Return an opaque text for a place: the moment to the microsecond and the row."""
    moment, identity = place
    micros = (moment - _EPOCH) // timedelta(microseconds=1)
    plain = f"{micros}.{to_ref(_PREFIX, identity).partition('_')[2]}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def decode_place(text: str | None) -> Place | None:
    """Return the place, or None for anything we did not write: such a link shows the newest page."""
    if not text or len(text) > 100:
        return None
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        micros, _, body = plain.partition(".")
        return _EPOCH + timedelta(microseconds=int(micros)), from_ref(_PREFIX, f"{_PREFIX}_{body}")
    except (binascii.Error, ValueError, OverflowError, InvalidRef):
        return None


def window_of(args: Mapping[str, str]) -> Window:
    before = decode_place(args.get("before"))
    return Window(before=before) if before else Window(after=decode_place(args.get("after")))


def pager_links(endpoint: str, kept: dict[str, str], first: Place | None, page: Any) -> dict[str, str | None]:
    """Return `newer` and `older` URLs of a page whose first row is at `first`; `kept` are its filters."""
    newer = older = None
    if page.has_newer and first is not None:
        newer = url_for(endpoint, **kept, before=encode_place(first))  # type: ignore[arg-type]
    if page.next_after is not None:
        older = url_for(endpoint, **kept, after=encode_place(page.next_after))  # type: ignore[arg-type]
    return {"newer": newer, "older": older}


def clean_needle(text: str | None) -> str:
    """Return what is searched for: printable, one space between words, bounded."""
    printable = "".join(each if each.isprintable() else " " for each in (text or "")[:NEEDLE_MAX])
    return " ".join(printable.split())


def parse_day(text: str | None) -> date | None:
    """Return the day of an <input type="date">, or None for anything else."""
    if not text or _DAY.fullmatch(text) is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if _FIRST_YEAR <= day.year <= _LAST_YEAR else None


def start_of(day: date, zone: tzinfo) -> datetime:
    """Return the instant at which a day begins in a time zone."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
