"""When a wallet was last looked at, remembered by each process so that a kept page needs no query for it."""

from datetime import datetime, timedelta

from portal.domain.payments import looks

# Design, section 7: above this the checkout says that confirmation may be slow.
LAG = timedelta(seconds=60)
REMEMBERED = timedelta(seconds=20)
# While it is behind, whoever waits wants to know soon that it is not any more.
REMEMBERED_BEHIND = timedelta(seconds=5)
# A process serves many merchants; what it remembers of their wallets is thrown away long before it weighs.
MOST_REMEMBERED = 10_000

_memory: dict[tuple[str, str], tuple[datetime, datetime | None]] = {}


def is_behind(seen_at: datetime | None, now: datetime) -> bool:
    return seen_at is None or now - seen_at > LAG


def remember(network: str, address: str, seen_at: datetime | None, now: datetime) -> None:
    """Keep what a page's own query told, until it is too old to be used."""
    if len(_memory) >= MOST_REMEMBERED:
        _memory.clear()
    until = now + (REMEMBERED_BEHIND if is_behind(seen_at, now) else REMEMBERED)
    _memory[network, address] = (until, seen_at)


def last_seen_at(network: str, address: str, now: datetime) -> datetime | None:
    """Return when the wallet was last looked at, at most 20 s out of date; None before the first look."""
    known = _memory.get((network, address))
    if known is None or known[0] <= now:
        seen_at = looks.seen_at_of(network=network, address=address)
        remember(network, address, seen_at, now)
        return seen_at
    return known[1]


def forget() -> None:
    _memory.clear()
