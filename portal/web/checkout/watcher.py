"""When the watcher was last seen, remembered by each process so that a kept page needs no query for it."""

from datetime import datetime, timedelta

from portal.domain.payments import queries as payments

# Design, section 7: above this the checkout says that confirmation may be slow.
LAG = timedelta(seconds=60)
REMEMBERED = timedelta(seconds=20)
# While it is behind, whoever waits wants to know soon that it is not any more.
REMEMBERED_BEHIND = timedelta(seconds=5)

_memory: dict[str, tuple[datetime, datetime | None]] = {}


def is_behind(seen_at: datetime | None, now: datetime) -> bool:
    return seen_at is None or now - seen_at > LAG


def remember(network: str, seen_at: datetime | None, now: datetime) -> None:
    """Keep what a page's own query told, until it is too old to be used."""
    _memory[network] = (now + (REMEMBERED_BEHIND if is_behind(seen_at, now) else REMEMBERED), seen_at)


def last_seen_at(network: str, now: datetime) -> datetime | None:
    """Return when the watcher last finished a round, at most 20 s out of date; None before its first."""
    known = _memory.get(network)
    if known is None or known[0] <= now:
        seen_at = payments.watcher_seen_at(network)
        remember(network, seen_at, now)
        return seen_at
    return known[1]


def forget() -> None:
    _memory.clear()
