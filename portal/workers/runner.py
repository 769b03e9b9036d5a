"""Runs the worker's jobs side by side in one process until it is told to stop.

Each job has its own thread and pace, and the relay one for each consumer, so that an outage of one keeps
nobody waiting. A round that fails is logged, waited out with growing pauses and tried again: leases and
idempotent effects make a repeated round harmless.
"""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from config import Config
from portal.db import run_transaction
from portal.domain.events import heartbeats
from portal.domain.events.rules import CONSUMERS
from portal.kernel.actor import Actor, set_actor
from portal.kernel.clock import utc_now
from portal.kernel.errors import TagihError
from portal.workers import check_books, check_wallets, follow_refunds, sweep, verify_submissions
from portal.workers.relay_outbox import Relay
from portal.workers.watch_payments import Watcher

log = structlog.get_logger()
HEARTBEAT_EVERY = timedelta(seconds=5)
PAUSE_FIRST_SECONDS = 0.25
PAUSE_MAX_SECONDS = 20.0
JOBS = ("relay", "watch", "verify", "sweep", "ready", "refunds", "books")
WATCH_PAUSE_SECONDS = 1.0
VERIFY_PAUSE_SECONDS = 1.0
# A look-up mostly waits for Horizon: several at once work a backlog off while each keeps to its lease.
VERIFIERS = 3
SWEEP_PAUSE_SECONDS = 5.0
READY_PAUSE_SECONDS = 5.0
REFUNDS_PAUSE_SECONDS = 0.5
BOOKS_PAUSE_SECONDS = 60.0

# What a round raises when a dependency is away; anything else in BUGS is ours, and told with its trace.
OUTAGES = (TagihError, SQLAlchemyError, OSError)
BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

Round = Callable[[datetime], int]


@dataclass(frozen=True, slots=True)
class Job:
    """`pause_seconds` passes between rounds that found nothing; a busy job goes on at once."""

    name: str
    run_once: Round
    pause_seconds: float


def run_worker(app: Flask, config: Config, only: tuple[str, ...] = JOBS) -> None:
    """Run the named jobs until SIGTERM or SIGINT; a round under way is finished first."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    watcher = Watcher(network=config.network, mode=config.watch_mode)
    jobs = [job for job in _jobs(config, watcher) if job.name.partition(".")[0] in only]
    threads = [threading.Thread(target=run_job, args=(app, job, stop), name=job.name) for job in jobs]
    for thread in threads:
        thread.start()
    log.info("worker_started", jobs=[job.name for job in jobs])
    for thread in threads:
        thread.join()
    with app.app_context(), suppress(SQLAlchemyError):
        # A database that is away ends the session, and with it the lead, by itself.
        watcher.close()
    log.info("worker_stopped")


def _jobs(config: Config, watcher: Watcher) -> list[Job]:
    relays = [(consumer, Relay(consumers=(consumer,))) for consumer in CONSUMERS]
    return [
        *(Job(f"relay.{name}", relay.run_once, config.outbox_poll_ms / 1000) for name, relay in relays),
        Job("watch", watcher.run_once, WATCH_PAUSE_SECONDS),
        *(
            Job(
                f"verify.{number}",
                lambda now: verify_submissions.run_once(now, network=config.network),
                VERIFY_PAUSE_SECONDS,
            )
            for number in range(1, VERIFIERS + 1)
        ),
        Job("books", lambda now: check_books.run_once(now, network=config.network), BOOKS_PAUSE_SECONDS),
        Job("sweep", lambda now: sweep.run_once(now, network=config.network), SWEEP_PAUSE_SECONDS),
        Job(
            "refunds",
            lambda now: follow_refunds.run_once(now, network=config.network),
            REFUNDS_PAUSE_SECONDS,
        ),
        Job("ready", lambda now: check_wallets.run_once(now, network=config.network), READY_PAUSE_SECONDS),
    ]


def run_job(app: Flask, job: Job, stop: threading.Event) -> None:
    """Repeat one job's rounds until `stop`; what a round raises ends that round alone."""
    set_actor(Actor(f"worker.{job.name}"))
    failures = 0
    beaten_at: datetime | None = None
    while not stop.is_set():
        pause = job.pause_seconds
        try:
            with app.app_context():
                now = utc_now()
                moved = job.run_once(now)
                if beaten_at is None or now - beaten_at >= HEARTBEAT_EVERY:
                    _beat(job.name, moved, now)
                    beaten_at = now
            failures = 0
            if moved:
                continue
        except OUTAGES as outage:
            failures += 1
            pause = _pause_after(failures)
            log.warning("worker_round_failed", job=job.name, error=repr(outage)[:300], retry_seconds=pause)
        except BUGS:
            failures += 1
            pause = _pause_after(failures)
            log.exception("worker_round_broke", job=job.name, retry_seconds=pause)
        stop.wait(pause)


def _beat(job: str, moved: int, now: datetime) -> None:
    run_transaction(lambda: heartbeats.beat(job, detail={"moved": moved}, now=now))


def _pause_after(failures: int) -> float:
    return min(PAUSE_MAX_SECONDS, PAUSE_FIRST_SECONDS * (1 << min(failures, 8)))
