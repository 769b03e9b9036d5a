"""Server-sent events in Horizon's dialect: a hello, one event per record, a byebye."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from portal.sandbox.ledger import Ledger

HELLO = 'retry: 1000\nevent: open\ndata: "hello"\n\n'
BYEBYE = 'retry: 10\nevent: close\ndata: "byebye"\n\n'
# Horizon ends a stream before proxies do, and clients come back with the last id.
STREAM_SECONDS_MAX = 55.0
# How long a stream sleeps at most before it looks whether the sandbox is stopping.
_WAKE_SECONDS = 5.0

Batch = list[dict[str, Any]]


def _event(record: dict[str, Any]) -> str:
    body = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return f"id: {record['paging_token']}\ndata: {body}\n\n"


def stream(ledger: Ledger, next_batch: Callable[[str | None], Batch], limit: int) -> Iterator[str]:
    """Yield events until `limit` records were sent, the time is over or the sandbox stops.

    :param next_batch: returns the records behind a paging token (None: behind the first cursor), oldest first.
    """
    yield HELLO
    ends_at = time.monotonic() + STREAM_SECONDS_MAX
    token: str | None = None
    while True:
        # Read before looking, so that a ledger closing meanwhile ends the wait at once.
        seen = ledger.latest.sequence
        batch = next_batch(token)[:limit]
        for record in batch:
            token = record["paging_token"]
            yield _event(record)
        limit -= len(batch)
        left = ends_at - time.monotonic()
        if limit <= 0 or left <= 0 or ledger.stopping:
            break
        if not batch:
            ledger.wait_for_close(seen, min(left, _WAKE_SECONDS))
    yield BYEBYE


def stream_one(ledger: Ledger, read: Callable[[], dict[str, Any] | None]) -> Iterator[str]:
    """Yield one thing (an account) now and whenever a ledger changed it."""
    yield HELLO
    ends_at = time.monotonic() + STREAM_SECONDS_MAX
    last: dict[str, Any] | None = None
    while (left := ends_at - time.monotonic()) > 0 and not ledger.stopping:
        seen = ledger.latest.sequence
        record = read()
        if record is not None and record != last:
            last = record
            yield f"data: {json.dumps(record, ensure_ascii=False, separators=(',', ':'))}\n\n"
        ledger.wait_for_close(seen, min(left, _WAKE_SECONDS))
    yield BYEBYE
