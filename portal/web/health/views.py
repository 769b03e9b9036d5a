"""`/healthz` says the process lives, `/readyz` what it can reach, `/metrics` counts for Prometheus."""

import os
from typing import Any

from flask import Blueprint, Response, current_app, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

from portal.flows.readiness import readiness
from portal.kernel.clock import utc_now
from portal.web.access import public
from portal.web.metrics import Backlog

bp = Blueprint("health", __name__)


@bp.get("/healthz")
@public
def healthz() -> ResponseReturnValue:
    return jsonify(status="ok")


@bp.get("/readyz")
@public
def readyz() -> ResponseReturnValue:
    """List every dependency; only the database decides, because everything else may be away."""
    report: dict[str, Any] = readiness(network=current_app.config["TAGIH"].network, now=utc_now())
    response = jsonify(report)
    response.status_code = 200 if report["database"]["ok"] else 503
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.get("/metrics")
@public
def metrics() -> ResponseReturnValue:
    registry: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    backlog = CollectorRegistry()
    backlog.register(Backlog(current_app.config["TAGIH"].network))
    figures = generate_latest(registry) + generate_latest(backlog)
    return Response(figures, content_type=CONTENT_TYPE_LATEST)
