"""Carries events from the outbox to their consumers: at least once each, so consumers are idempotent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from portal.adapters import mongo, page_cache
from portal.db import run_transaction
from portal.domain.events import feed, outbox
from portal.domain.events.outbox import Job
from portal.domain.events.rules import CONSUMERS
from portal.flows.mirror_log import mirror_events
from portal.kernel.errors import Unavailable
from portal.kernel.refs import to_ref

# Batches of this size deliver tens of times faster than single rows (bench, T7) and stay inside a lease.
BATCH = 250
PAUSE_FIRST_SECONDS = 1
PAUSE_MAX_SECONDS = 60


class CacheUnavailable(Unavailable):
    code = "cache_unavailable"


@dataclass
class Relay:
    """One worker's relay to some consumers; it remembers which consumer's infrastructure is away and until when."""

    consumers: tuple[str, ...] = CONSUMERS
    batch: int = BATCH
    paused_until: dict[str, datetime] = field(default_factory=dict)
    outages: dict[str, int] = field(default_factory=dict)
    is_mirror_ready: bool = False

    def run_once(self, now: datetime) -> int:
        """Deliver one batch to each consumer and return how many rows were delivered."""
        delivered = 0
        for consumer in self.consumers:
            if self.paused_until.get(consumer, now) <= now:
                delivered += self._relay(consumer, now)
        return delivered

    def _relay(self, consumer: str, now: datetime) -> int:
        if consumer == "feed":
            return run_transaction(lambda: self._append_feed(now))
        jobs = run_transaction(lambda: outbox.claim(consumer, limit=self.batch, now=now))
        if not jobs:
            return 0
        send: Callable[[Sequence[Job]], dict[str, str]] = {"mirror": self._mirror, "cache": _drop_pages}[
            consumer
        ]
        try:
            failed = send(jobs)
        except Unavailable as outage:
            self._pause(consumer, jobs, str(outage), now)
            return 0
        self.outages.pop(consumer, None)
        done = [job for job in jobs if to_ref("evt", job.event.id) not in failed]

        def settle() -> None:
            outbox.finish(done, now=now)
            for job in jobs:
                error = failed.get(to_ref("evt", job.event.id))
                if error is not None:
                    outbox.fail(job, error=error, now=now)

        run_transaction(settle)
        return len(done)

    def _append_feed(self, now: datetime) -> int:
        """The feed lives in PostgreSQL itself, so claim, place and mark are one transaction."""
        jobs = outbox.claim("feed", limit=self.batch, now=now)
        feed.append([job.event for job in jobs], now=now)
        outbox.finish(jobs, now=now)
        return len(jobs)

    def _mirror(self, jobs: Sequence[Job]) -> dict[str, str]:
        events = run_transaction(lambda: mirror_events([job.event for job in jobs]))
        if not self.is_mirror_ready:
            mongo.ensure_indexes()
            self.is_mirror_ready = True
        return mongo.insert_events(events)

    def _pause(self, consumer: str, jobs: Sequence[Job], error: str, now: datetime) -> None:
        """An outage is nobody's fault among the rows: wait longer each time and count no attempt."""
        outages = self.outages.get(consumer, 0)
        self.outages[consumer] = outages + 1
        if consumer == "mirror":
            self.is_mirror_ready = False
        retry_at = now + timedelta(seconds=min(PAUSE_FIRST_SECONDS * 2**outages, PAUSE_MAX_SECONDS))
        self.paused_until[consumer] = retry_at
        run_transaction(lambda: outbox.put_back(jobs, error=error, retry_at=retry_at))


def _drop_pages(jobs: Sequence[Job]) -> dict[str, str]:
    """:raises CacheUnavailable: when Redis could not be told."""
    tokens, failed = set(), {}
    for job in jobs:
        url = job.event.payload.get("checkout_url")
        if isinstance(url, str):
            tokens.add(url.rpartition("/")[2])
        else:
            failed[to_ref("evt", job.event.id)] = "the event names no checkout_url"
    if not page_cache.drop_checkout(sorted(tokens)):
        raise CacheUnavailable("Redis did not answer")
    return failed
