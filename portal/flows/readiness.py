"""What this process can reach, for `/readyz` and for people who run it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from portal.adapters.chain import chain_source, second_source
from portal.db import release
from portal.domain.events import heartbeats, outbox
from portal.domain.payments import looks
from portal.extensions import db, redis, site
from portal.kernel.chain import ChainSource
from portal.kernel.clock import iso, iso_or_none
from portal.kernel.errors import Unavailable

# The watcher looks every second; a minute without a look is worth telling people (design, section 7).
WATCHER_LATE = timedelta(seconds=60)
WORKER_LATE = timedelta(seconds=30)
# The relay delivers within a second; what waits for minutes waits for an outage or a person.
OUTBOX_LATE = timedelta(minutes=5)

Report = dict[str, Any]


def readiness(*, network: str, now: datetime) -> Report:
    """Return one entry a dependency: `ok`, and figures or the reason why not."""
    report: Report = {
        "database": _asked(_database),
        "redis": _asked(_redis),
        "mongo": _asked(_mongo),
        "horizon": _asked(lambda: _horizon(chain_source(), now)),
    }
    second = second_source()
    if second is not None:
        report["horizon_second"] = _asked(lambda: _horizon(second, now))
    if report["database"]["ok"]:
        report["worker"] = _asked(lambda: _worker(now))
        report["watcher"] = _asked(lambda: _watcher(network, now))
        report["parked"] = _asked(lambda: _parked(network))
        report["outbox"] = _asked(lambda: _outbox(now))
    report["status"] = "ok" if all(each["ok"] for each in report.values()) else "degraded"
    return report


def _asked(ask: Callable[[], Report]) -> Report:
    try:
        return ask()
    except (SQLAlchemyError, RedisError, Unavailable, OSError) as failure:
        return {"ok": False, "error": type(failure).__name__}


def _database() -> Report:
    db.session.execute(text("SELECT 1"))
    release()
    return {"ok": True}


def _redis() -> Report:
    redis.client.ping()
    return {"ok": True}


def _mongo() -> Report:
    # Imported here, because a web process needs the package for nothing else.
    from portal.adapters import mongo

    mongo.ping()
    return {"ok": True}


def _horizon(source: ChainSource, now: datetime) -> Report:
    state = source.network()
    if state.passphrase != site.network_passphrase:
        return {"ok": False, "error": "other_network"}
    closed = state.latest_closed_at
    lag = None if closed is None else round((now - closed).total_seconds(), 1)
    return {"ok": True, "ledger": state.latest_ledger, "ledger_lag_seconds": lag}


def _worker(now: datetime) -> Report:
    beats = heartbeats.list_beats()
    release()
    return {
        "ok": bool(beats) and all(now - beat.beat_at < WORKER_LATE for beat in beats),
        "jobs": {beat.job: iso(beat.beat_at) for beat in beats},
    }


def _outbox(now: datetime) -> Report:
    waiting = outbox.waiting(now=now)
    release()
    return {
        "ok": all(each.oldest_seconds < OUTBOX_LATE.total_seconds() and not each.dead for each in waiting),
        "oldest_seconds": {each.consumer: round(each.oldest_seconds, 1) for each in waiting},
        "dead": {each.consumer: each.dead for each in waiting if each.dead},
    }


def _watcher(network: str, now: datetime) -> Report:
    found = looks.overview(network=network, now=now, late_before=now - WATCHER_LATE)
    release()
    if found.seen_at is None:
        return {"ok": True, "seen_at": None}
    is_seen = now - found.seen_at <= WATCHER_LATE
    report: Report = {
        "ok": is_seen and not found.late_wallets and not found.is_reset,
        "seen_at": iso(found.seen_at),
        "lag_seconds": round((now - found.seen_at).total_seconds(), 1),
        "late_wallets": found.late_wallets,
    }
    return report | {"error": "network_was_reset"} if found.is_reset else report


def _parked(network: str) -> Report:
    """Records that the watcher could not read: each may be money that a merchant does not see."""
    found = looks.parked(network=network)
    release()
    return {"ok": not found.records, "records": found.records, "oldest_at": iso_or_none(found.oldest_at)}
