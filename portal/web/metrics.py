"""Figures for Prometheus: requests by route and status, and how far the worker is behind.

Route patterns are labels, never paths: a checkout's path is a capability and has no place in a time series.
"""

import time
from collections.abc import Iterator

from flask import Flask, Response, g, request
from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from portal.db import release
from portal.domain.events import heartbeats, outbox
from portal.domain.payments import looks
from portal.flows.readiness import WATCHER_LATE
from portal.kernel.clock import utc_now

REQUESTS = Counter("tagih_http_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "tagih_http_request_seconds",
    "Time to answer a request.",
    ["route"],
    # From a cached page to the longest a person waits for Horizon.
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10),
)


def init_metrics(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_count)


def _begin() -> None:
    g.began = time.perf_counter()


def _count(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule is not None else "unknown"
    if request.endpoint != "static":
        REQUESTS.labels(request.method, route, str(response.status_code)).inc()
        began = g.get("began")
        if began is not None:
            SECONDS.labels(route).observe(time.perf_counter() - began)
    return response


class Backlog(Collector):
    """Asks PostgreSQL when it is scraped, so the figures hold when the worker is dead; none while it is away."""

    def __init__(self, network: str) -> None:
        self._network = network

    def collect(self) -> Iterator[Metric]:
        now = utc_now()
        try:
            waiting = outbox.waiting(now=now)
            beats = heartbeats.list_beats()
            seen = looks.overview(network=self._network, now=now, late_before=now - WATCHER_LATE)
            parked = looks.parked(network=self._network)
            release()
        except SQLAlchemyError:
            return
        oldest = GaugeMetricFamily(
            "tagih_outbox_oldest_seconds", "Age of the oldest undelivered event.", labels=["consumer"]
        )
        dead = GaugeMetricFamily("tagih_outbox_dead", "Events given up for a consumer.", labels=["consumer"])
        for each in waiting:
            oldest.add_metric([each.consumer], each.oldest_seconds)
            dead.add_metric([each.consumer], each.dead)
        beat = GaugeMetricFamily(
            "tagih_worker_beat_age_seconds", "Time since a job's last round.", labels=["job"]
        )
        for each_beat in beats:
            beat.add_metric([each_beat.job], (now - each_beat.beat_at).total_seconds())
        yield from (oldest, dead, beat)
        yield GaugeMetricFamily(
            "tagih_watcher_late_wallets", "Wallets without a look for a minute.", value=seen.late_wallets
        )
        yield GaugeMetricFamily(
            "tagih_watcher_parked", "Records that could not be recorded yet.", value=parked.records
        )
        if seen.seen_at is not None:
            yield GaugeMetricFamily(
                "tagih_watcher_lag_seconds",
                "Time since the watcher looked.",
                value=(now - seen.seen_at).total_seconds(),
            )
