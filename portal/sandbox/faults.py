"""Fault orders: the sandbox misbehaves on request, for the portal's tests and for those of API users.

`POST /sandbox/faults` takes one JSON order, `GET` lists what is active, `DELETE` clears all. An order:

- `kind` (required):
  `not_found_lag`  answers 404, as a Horizon whose history lags behind its core (default match `/transactions/`);
  `429`            answers rate_limit_exceeded with `Retry-After`;
  `503`            answers stale_history with `Retry-After`;
  `timeout`        does what was asked, waits `delay_seconds` (10) and answers 504 all the same;
  `slow`           waits `delay_seconds` (2) and then answers normally;
  `garbage`        answers 200 with a body that is not JSON, under a JSON content type.
- `match`: the path begins with this text (default `/`, the Horizon part only; `/sandbox` and `/wallet` never fail).
- `method`: only this HTTP method.
- when it ends: `times` (that many matching requests), `seconds` (from now), or neither: until cleared.
- `rate`: the share of matching requests that fail, 0 to 1 (default 1).
- `delay_seconds`, `retry_after_seconds` (1): of the kinds that use them.

The first order that matches, and strikes by its rate, decides. Orders live in memory: a restart clears them.
"""

import random
import threading
import time
from dataclasses import dataclass
from typing import Any

from flask import Response

from portal.kernel.errors import Invalid
from portal.sandbox.problems import Problem, response

KINDS = frozenset({"not_found_lag", "429", "503", "timeout", "slow", "garbage"})
ORDERS_MAX = 100
_DELAYS = {"timeout": 10.0, "slow": 2.0}
_DELAY_MAX = 120.0
_EXEMPT = ("/sandbox", "/wallet", "/static")
_FIELDS = frozenset(
    {"kind", "match", "method", "times", "seconds", "rate", "delay_seconds", "retry_after_seconds"}
)


class BadFaultOrder(Invalid):
    code = "fault_order_invalid"


@dataclass(slots=True)
class Fault:
    kind: str
    match: str
    method: str | None
    rate: float
    delay_seconds: float
    retry_after_seconds: int
    times_left: int | None
    until: float | None

    def describe(self) -> dict[str, Any]:
        left = None if self.until is None else max(0.0, round(self.until - time.monotonic(), 3))
        return {
            "kind": self.kind,
            "match": self.match,
            "method": self.method,
            "rate": self.rate,
            "times_left": self.times_left,
            "seconds_left": left,
            "delay_seconds": self.delay_seconds,
            "retry_after_seconds": self.retry_after_seconds,
        }


def _number(
    order: dict[str, Any], name: str, default: float | None, *, low: float, high: float
) -> float | None:
    value = order.get(name, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadFaultOrder(f"{name} is a number from {low:g} to {high:g}.")
    return value


def read_order(order: object) -> Fault:
    """Check one order of the module's description.

    :raises BadFaultOrder: saying what is wrong with it.
    """
    if not isinstance(order, dict) or not set(order) <= _FIELDS:
        raise BadFaultOrder(f"An order is a JSON object with fields of {', '.join(sorted(_FIELDS))}.")
    kind = str(order.get("kind"))
    if kind not in KINDS:
        raise BadFaultOrder(f"kind is one of {', '.join(sorted(KINDS))}.")
    match = order.get("match", "/transactions/" if kind == "not_found_lag" else "/")
    method = order.get("method")
    if not isinstance(match, str) or not isinstance(method, str | None):
        raise BadFaultOrder("match and method are texts.")
    times = _number(order, "times", None, low=1, high=1_000_000)
    seconds = _number(order, "seconds", None, low=0, high=86_400)
    return Fault(
        kind=kind,
        match=match,
        method=None if method is None else method.upper(),
        rate=_number(order, "rate", 1.0, low=0, high=1) or 0.0,
        delay_seconds=_number(order, "delay_seconds", _DELAYS.get(kind, 0.0), low=0, high=_DELAY_MAX) or 0.0,
        retry_after_seconds=int(_number(order, "retry_after_seconds", 1, low=0, high=86_400) or 0),
        times_left=None if times is None else int(times),
        until=None if seconds is None else time.monotonic() + seconds,
    )


class Faults:
    """The active orders of one sandbox; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            if len(self._orders) >= ORDERS_MAX:
                raise BadFaultOrder(f"At most {ORDERS_MAX} orders are active at once.")
            self._orders.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def describe(self) -> list[dict[str, Any]]:
        with self._lock:
            self._drop_ended()
            return [fault.describe() for fault in self._orders]

    def pick(self, method: str, path: str) -> Fault | None:
        """Return the order this request falls under, and count it."""
        if not self._orders or path.startswith(_EXEMPT):
            return None
        with self._lock:
            self._drop_ended()
            for fault in self._orders:
                if not path.startswith(fault.match) or fault.method not in (None, method):
                    continue
                if fault.rate < 1 and random.random() >= fault.rate:  # noqa: S311 -- no secret
                    continue
                if fault.times_left is not None:
                    fault.times_left -= 1
                return fault
        return None

    def _drop_ended(self) -> None:
        now = time.monotonic()
        self._orders = [
            fault
            for fault in self._orders
            if fault.times_left != 0 and (fault.until is None or fault.until > now)
        ]


def answer(fault: Fault) -> Response | None:
    """Return what the request gets instead of its answer, or None when it is only delayed."""
    if fault.kind == "slow":
        time.sleep(fault.delay_seconds)
        return None
    if fault.kind == "timeout":
        return None
    if fault.kind == "garbage":
        return Response('<html>{"_embedded": {"reco', 200, content_type="application/hal+json; charset=utf-8")
    names = {"not_found_lag": "not_found", "429": "rate_limit_exceeded", "503": "stale_history"}
    refused = response(Problem(names[fault.kind]))
    if fault.kind != "not_found_lag":
        refused.headers["Retry-After"] = str(fault.retry_after_seconds)
    return refused


def time_out(fault: Fault, transaction: dict[str, str] | None) -> Response:
    """Hold the request and answer 504; with the hash when it submitted a transaction."""
    time.sleep(fault.delay_seconds)
    if transaction is not None:
        return response(Problem("transaction_submission_timeout", **transaction))
    return response(Problem("timeout"))
