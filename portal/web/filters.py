"""Filters and globals of the templates: money, time, states and hashes as people read them.

Pure but for `g.time_zone` (the merchant's IANA zone, UTC when unset) and, for words like "tomorrow",
the clock. Templates use them through the macros of templates/macros.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import Flask, g, has_app_context

from portal.kernel import assets, clock, money

UTC_ZONE = ZoneInfo("UTC")
# Fixed English, not strftime's: that one follows the locale of the server process.
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip
# Past this many days a distance ("in 9 days") says less than the date.
RELATIVE_DAYS = 7
HASH_EDGE = 4

# (word, tone): words are the product's own, tones are the badge classes of components.css.
_INVOICE_WORDS = {
    "DRAFT": ("Draft", "draft"),
    "PENDING": ("Pending", "pending"),
    "PAID": ("Paid", "paid"),
    "EXPIRED": ("Expired", "expired"),
    "CANCELLED": ("Cancelled", "cancelled"),
}
_FLAG_BADGES = {
    "late": ("Late", "pending"),
    "short": ("Short", "pending"),
}
_OTHER_WORDS = {
    "CONFIRMED": ("Credited", "paid"),
    "UNMATCHED": ("Unmatched", "pending"),
    "IGNORED": ("Set aside", "expired"),
    "REVERSED": ("Reversed", "failed"),
    "CHECKING": ("Checking", "partial"),
    "ACCEPTED": ("Accepted", "paid"),
    "REJECTED": ("Refused", "failed"),
    "NOT_FOUND": ("Not found", "expired"),
    "ACTIVE": ("Active", "paid"),
    "REVOKED": ("Revoked", "cancelled"),
}


def register_filters(app: Flask) -> None:
    app.jinja_env.filters.update(
        money=display_amount,
        units=units,
        asset_code=asset_code,
        short_hash=short_hash,
        spaced=spaced,
        moment=moment_text,
        day=day_text,
        iso=clock.iso,
        relative_due=relative_due,
        pretty_json=pretty_json,
    )
    app.jinja_env.globals.update(
        invoice_badges=invoice_badges, state_badge=state_badge, form_problems=form_problems
    )


def display_amount(value: Decimal | str) -> str:
    """Return "1,240.00": at least two decimals, zeros beyond them dropped."""
    return money.display(_decimal(value))


def units(value: Decimal | str) -> str:
    """Return all seven places ("60.0000000"), as copy fields and the API have it."""
    return money.format_units(_decimal(value))


def asset_code(asset: str) -> str:
    return assets.asset_code(asset)


def short_hash(text: str) -> str:
    """Return "3f9c…e1ab"; a text that gains nothing by it stays whole."""
    return text if len(text) <= 2 * HASH_EDGE + 4 else f"{text[:HASH_EDGE]}…{text[-HASH_EDGE:]}"


def spaced(number: object) -> str:
    """Return digits in groups of three from the left ("482 913 077 415"), easier to compare by eye."""
    text = str(number)
    return "\u00a0".join(text[start : start + 3] for start in range(0, len(text), 3))


def zone() -> tzinfo:
    """Return the time zone that this request's reader lives in."""
    name = str(g.get("time_zone") or "UTC") if has_app_context() else "UTC"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC_ZONE


def moment_text(moment: datetime, style: str = "short") -> str:
    """Return an instant in the reader's zone.

    `short` "18 Nov, 09:02" (Today and Yesterday by word, the year when it is another), `long` "18 Nov 2026,
    09:02", `full` "18 November 2026, 09:02 WIB", `seconds` "18 Nov 2026, 09:02:17", `time` "09:02".
    """
    assert moment.tzinfo is not None, moment
    local = moment.astimezone(zone())
    hour = local.strftime("%H:%M")
    match style:
        case "time":
            return hour
        case "seconds":
            return f"{_day(local)} {local.year}, {local.strftime('%H:%M:%S')}"
        case "full":
            return f"{local.day} {_MONTHS[local.month - 1]} {local.year}, {hour} {local.tzname()}"
        case "long":
            return f"{_day(local)} {local.year}, {hour}"
    today = clock.utc_now().astimezone(zone()).date()
    return f"{_near_day(local.date(), today)}, {hour}"


def day_text(moment: datetime | date) -> str:
    """Return "18 Nov 2026", in the reader's zone when `moment` is an instant."""
    local = moment.astimezone(zone()) if isinstance(moment, datetime) else moment
    return f"{_day(local)} {local.year}"


def relative_due(moment: datetime) -> str:
    """Return how far off an instant's day is: "in 4 days", "tomorrow", "today, 17:00", "2 days ago", "18 Nov"."""
    local = moment.astimezone(zone())
    today = clock.utc_now().astimezone(zone()).date()
    days = (local.date() - today).days
    if days == 0:
        return f"today, {local.strftime('%H:%M')}"
    if abs(days) == 1:
        return "tomorrow" if days == 1 else "yesterday"
    if abs(days) <= RELATIVE_DAYS:
        return f"in {days} days" if days > 0 else f"{-days} days ago"
    return _near_day(local.date(), today)


def pretty_json(value: object) -> str:
    """Return indented JSON for reading; things that JSON lacks become their text."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def invoice_badges(
    status: object, settlement: object = None, flags: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Return (word, tone) of an invoice: its state first, then how it was paid, such as "Late"."""
    name, how_far, marks = str(status), str(settlement or ""), set(flags)
    word, tone = _INVOICE_WORDS[name]
    if name == "PENDING" and how_far == "PARTIAL":
        word, tone = "Partly paid", "partial"
    elif "reversed" in marks:
        # It stays PAID for the books' sake, but whoever reads "Paid" would stop asking for the money.
        word, tone = "Reversed", "failed"
    elif name == "PAID" and (how_far == "OVERPAID" or "overpaid" in marks):
        word = "Paid twice" if "duplicate" in marks else "Overpaid"
    return [(word, tone), *(badge for flag, badge in _FLAG_BADGES.items() if flag in marks)]


def state_badge(state: object, reason: str | None = None) -> tuple[str, str]:
    """Return (word, tone) of a payment, a submission or a key."""
    name = str(state)
    if name == "IGNORED" and reason == "refunded":
        return "Sent back", "expired"
    return _OTHER_WORDS.get(name, (name.replace("_", " ").capitalize(), "expired"))


def form_problems(form: object) -> list[tuple[str, str]]:
    """Return (id of the input, message) for each error of a WTForms form, nested ones included."""
    problems = [("", str(message)) for message in getattr(form, "form_errors", ())]
    return problems + list(_problems_below(form))


def _problems_below(container: object) -> Iterator[tuple[str, str]]:
    for field in container:  # type: ignore[attr-defined]
        # A form within the form reports its fields' errors as a mapping; a list of them, its own among those.
        if not isinstance(field.errors, Mapping):
            yield from ((field.id, str(message)) for message in field.errors if _is_message(message))
        if hasattr(field, "entries") or hasattr(field, "form"):
            yield from _problems_below(field)


def _is_message(error: object) -> bool:
    return not isinstance(error, Mapping | list | tuple)


def _decimal(value: Decimal | str) -> Decimal:
    return Decimal(value) if isinstance(value, str) else value


def _day(local: date) -> str:
    return f"{local.day} {_MONTHS[local.month - 1][:3]}"


def _near_day(day: date, today: date) -> str:
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return _day(day) if day.year == today.year else f"{_day(day)} {day.year}"
