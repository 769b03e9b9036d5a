"""Reads the texts of an invoice form: quantities, prices, percents, days, hours; never a float."""

import re
import unicodedata
from datetime import UTC, date, datetime, time, tzinfo
from decimal import ROUND_HALF_UP, Decimal

from portal.kernel.errors import Invalid
from portal.kernel.money import ZERO, parse_amount
from portal.web.paging import parse_day

DESCRIPTION_MAX = 500
LABEL_MAX = 100
# The database allows an invoice to stay open from a minute to 366 days.
EXPIRES_SECONDS_MIN, EXPIRES_SECONDS_MAX = 60, 31_622_400
METADATA_KEYS_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 50, 40, 500

# ASCII only: \d and str.isdigit() would let other scripts' digits through.
_QUANTITY = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_PERCENT = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_HOURS = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,4})?")
_NOTHING = re.compile(r"0{1,12}(?:\.0{1,7})?")
# The latest minute of a due day still belongs to it.
_END_OF_DAY = time(23, 59)


class FieldInvalid(Invalid):
    code = "field_invalid"


def line_of_text(text: str, *, what: str, longest: int) -> str:
    """Return one trimmed line, which may be empty.

    :raises FieldInvalid: when it is too long or holds control characters, which PostgreSQL or readers refuse.
    """
    trimmed = " ".join(unicodedata.normalize("NFC", text).split(" ")).strip()
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in trimmed):
        raise FieldInvalid(f"Use plain characters in {what}.")
    if len(trimmed) > longest:
        raise FieldInvalid(f"Keep {what} within {longest} characters.")
    return trimmed


def quantity(text: str) -> Decimal:
    trimmed = text.strip()
    if _QUANTITY.fullmatch(trimmed) is None:
        raise FieldInvalid("Write the quantity in plain digits, such as 2 or 0.5, with at most 6 decimals.")
    if Decimal(trimmed) == 0:
        raise FieldInvalid("The quantity must be above zero.")
    return Decimal(trimmed)


def unit_price(text: str) -> Decimal:
    """Return a price in asset units; zero is a line that costs nothing."""
    trimmed = text.strip()
    return ZERO if _NOTHING.fullmatch(trimmed) else parse_amount(trimmed)


def percent(text: str, *, may_be_zero: bool) -> Decimal:
    trimmed = text.strip()
    if _PERCENT.fullmatch(trimmed) is None or Decimal(trimmed) > 100:
        raise FieldInvalid("Write a percent from 0 to 100, such as 11 or 2.5.")
    if not may_be_zero and Decimal(trimmed) == 0:
        raise FieldInvalid("The percent must be above zero.")
    return Decimal(trimmed)


def due_at(text: str, *, zone: tzinfo, today: date) -> datetime | None:
    """Return the last minute of the due day in the merchant's time zone."""
    if not text.strip():
        return None
    day = parse_day(text.strip())
    if day is None:
        raise FieldInvalid("Write the date as year-month-day, such as 2026-12-31.")
    if day < today:
        raise FieldInvalid("The due date is over already.")
    return datetime.combine(day, _END_OF_DAY, tzinfo=zone).astimezone(UTC)


def expires_in_seconds(text: str) -> int | None:
    trimmed = text.strip()
    if not trimmed:
        return None
    if _HOURS.fullmatch(trimmed) is None:
        raise FieldInvalid("Write hours in plain digits, such as 48.")
    seconds = int((Decimal(trimmed) * 3600).to_integral_value(rounding=ROUND_HALF_UP))
    if not EXPIRES_SECONDS_MIN <= seconds <= EXPIRES_SECONDS_MAX:
        raise FieldInvalid("It can stay open from a minute up to 8784 hours (366 days).")
    return seconds


def hours_text(seconds: int) -> str:
    """Return seconds as hours for the input, without trailing zeros."""
    text = f"{(Decimal(seconds) / 3600).quantize(Decimal('0.0001'), rounding=ROUND_HALF_UP):f}"
    return text.rstrip("0").rstrip(".")


def metadata(text: str, *, before: dict[str, str] | None = None) -> dict[str, str]:
    """Return `key: value` lines as a mapping; a line that still reads as `before` did keeps its exact value."""
    known = before or {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        key, separator, value = (part.strip() for part in line.partition(":"))
        if not separator or not key:
            raise FieldInvalid("Write one fact a line, as name: value.")
        line_of_text(value, what="metadata", longest=METADATA_VALUE_MAX)
        name = line_of_text(key, what="the name of a fact", longest=METADATA_KEY_MAX)
        found[name] = known[name] if name in known and _one_line(known[name]) == value else value
    if len(found) > METADATA_KEYS_MAX:
        raise FieldInvalid(f"At most {METADATA_KEYS_MAX} facts.")
    return found


def metadata_text(given: dict[str, str] | None) -> str:
    return "\n".join(f"{key}: {_one_line(value)}" for key, value in (given or {}).items())


def _one_line(value: object) -> str:
    return " ".join(str(value).splitlines()).strip()
