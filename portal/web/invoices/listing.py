"""What the invoice list is narrowed to, as it stands in the query string."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from flask import url_for

from portal.domain.invoices.queries import COUNT_MAX, SEARCH_MIN_CHARACTERS, Filters
from portal.domain.invoices.rules import InvoiceStatus
from portal.kernel.refs import InvalidRef, from_ref
from portal.web.paging import clean_needle, parse_day, start_of

TABS = (
    ("All", None),
    ("Draft", InvoiceStatus.DRAFT),
    ("Pending", InvoiceStatus.PENDING),
    ("Paid", InvoiceStatus.PAID),
    ("Expired", InvoiceStatus.EXPIRED),
    ("Cancelled", InvoiceStatus.CANCELLED),
)
# No status of its own: a paid invoice that lost money, shown once there is one.
REVERSED = "REVERSED"


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters as typed (`kept` goes back into links) and as the query wants them."""

    filters: Filters
    kept: dict[str, str]
    q: str
    too_short: bool

    @property
    def is_narrowed(self) -> bool:
        """Say whether anything but the status leaves invoices out."""
        return bool(set(self.kept) - {"status"})


def read_filters(args: Mapping[str, str], *, zone: tzinfo) -> Asked:
    """Return what is asked for; what makes no sense is left out, so that old links still show a list."""
    kept: dict[str, str] = {}
    q = clean_needle(args.get("q"))
    status = args.get("status", "").upper()
    since, until = parse_day(args.get("from")), parse_day(args.get("to"))
    client_id = None
    try:
        client_id = from_ref("cli", args["client"])
        kept["client"] = args["client"]
    except (KeyError, InvalidRef):
        pass
    if status in InvoiceStatus.__members__ or status == REVERSED:
        kept["status"] = status.lower()
    if q:
        kept["q"] = q
    if since:
        kept["from"] = since.isoformat()
    if until:
        kept["to"] = until.isoformat()
    filters = Filters(
        status=status if status in InvoiceStatus.__members__ else None,
        is_reversed=status == REVERSED,
        client_id=client_id,
        text=q or None,
        # `created_after` is exclusive in the query, so the first microsecond of the day stays inside.
        created_after=start_of(since, zone) - timedelta(microseconds=1) if since else None,
        created_before=start_of(until + timedelta(days=1), zone) if until else None,
    )
    return Asked(filters, kept, q, 0 < len(q) < SEARCH_MIN_CHARACTERS)


def tabs(asked: Asked, counts: Mapping[str, int], *, has_reversed: bool) -> list[tuple[str, str, bool]]:
    """Return (label with count, url, is current) of each status; counts are of all invoices, capped."""
    others = {name: value for name, value in asked.kept.items() if name != "status"}
    result = []
    for word, status in TABS:
        number = sum(counts.values()) if status is None else counts.get(status.value, 0)
        query = others if status is None else others | {"status": status.value.lower()}
        label = word if status is None or number == 0 else f"{word} {capped(number)}"
        is_current = asked.filters.status == status and not asked.filters.is_reversed
        result.append((label, url_for("invoices.index", **query), is_current))  # type: ignore[arg-type]
    if has_reversed or asked.filters.is_reversed:
        query = others | {"status": REVERSED.lower()}
        result.append(("Reversed", url_for("invoices.index", **query), asked.filters.is_reversed))  # type: ignore[arg-type]
    return result


def capped(number: int) -> str:
    return f"{COUNT_MAX}+" if number >= COUNT_MAX else str(number)


def file_name(now: datetime) -> str:
    return f"invoices-{now.astimezone(UTC).date().isoformat()}.csv"
