"""How often one Horizon may be asked, and whether at all: a token bucket, a closed door and a circuit breaker.

`SharedBudget` keeps them in Redis for all processes that ask the same Horizon, so that a 429 to one is obeyed
by all and a dead Horizon is found dead once. While Redis is away each process goes on with its own
`LocalBudget`, which decides by the same rules.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Never, Protocol, cast

from redis import Redis

from portal.adapters import cache
from portal.adapters.horizon_scripts import ENTER, REPORT, Script
from portal.kernel.chain import ChainUnavailable

# Five failures in a row are no accident; the first rest is short because most failures of Horizon are.
FAILURES_MAX = 5
REST_SECONDS = 2.0
REST_SECONDS_MAX = 15.0
# Limited in time, so that a probe whose process died does not hold the door for ever.
PROBE_SECONDS = 10.0
# The longest that Horizon is obeyed; what it asks beyond that is taken for a mistake.
CLOSED_SECONDS_MAX = 300.0
# Longer than anything the state says can matter, so that what is forgotten was over.
KEPT_SECONDS = 900
# As `HORIZON_REQUESTS_PER_SECOND`: far above what a portal needs, so only an operator's own limit is felt.
REQUESTS_PER_SECOND = 100.0
# Horizon lets an address ask 100 times at once before its hourly rate counts; half of that is left to others.
BURST_MIN = 50


@dataclass(frozen=True, slots=True)
class Admission:
    """Leave to ask once, after `wait_seconds`; a success of one that `is_watched` must be told."""

    wait_seconds: float
    is_watched: bool


class Budget(Protocol):
    """What HorizonHttp asks before each request and tells after it."""

    def enter(self, wait_seconds_max: float) -> Admission:
        """:raises ChainUnavailable: when Horizon is not to be asked now, or only after a longer wait."""

    def succeeded(self, admission: Admission) -> None: ...

    def failed(self) -> None: ...

    def close(self, seconds: float) -> None:
        """Obey a 429: nobody asks before `seconds` have passed. It is no failure of Horizon."""

    def slow(self, seconds: float) -> None:
        """Obey a used-up allowance: the next request waits until `seconds` have passed."""


def burst_of(per_second: float) -> int:
    """Return how many requests may go out at once after a rest: two seconds' worth."""
    return max(BURST_MIN, int(2 * per_second))


class LocalBudget:
    """The budget of one process alone, safe for its threads."""

    def __init__(
        self,
        *,
        per_second: float = REQUESTS_PER_SECOND,
        burst: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second, self._monotonic = per_second, monotonic
        self._burst = float(burst_of(per_second) if burst is None else burst)
        self._lock = threading.Lock()
        self._tokens, self._filled_at = self._burst, monotonic()
        self._closed_until = self._probing_until = 0.0
        self._failures, self._rest_seconds = 0, REST_SECONDS

    def check_door(self) -> None:
        """:raises ChainUnavailable: while the door is closed."""
        with self._lock:
            self._check_door(self._monotonic())

    def enter(self, wait_seconds_max: float) -> Admission:
        with self._lock:
            now = self._monotonic()
            self._check_door(now)
            is_open = self._failures < FAILURES_MAX
            if not is_open and now < self._probing_until:
                refuse("probing", 1.0)
            self._fill(now)
            wait_seconds = max(0.0, (1 - self._tokens) / self._per_second)
            if wait_seconds > wait_seconds_max:
                refuse("busy", wait_seconds)
            self._tokens -= 1
            if not is_open:
                self._probing_until = now + PROBE_SECONDS
            return Admission(wait_seconds, self._failures > 0)

    def succeeded(self, admission: Admission) -> None:
        if admission.is_watched:
            with self._lock:
                self._failures, self._probing_until, self._rest_seconds = 0, 0.0, REST_SECONDS

    def failed(self) -> None:
        with self._lock:
            now = self._monotonic()
            self._failures += 1
            self._probing_until = 0.0
            # Requests that were under way when the door closed fail too and must not lengthen the rest.
            if self._failures >= FAILURES_MAX and now >= self._closed_until:
                self._closed_until = now + self._rest_seconds
                self._rest_seconds = min(self._rest_seconds * 2, REST_SECONDS_MAX)

    def close(self, seconds: float) -> None:
        with self._lock:
            now = self._monotonic()
            self._probing_until = 0.0
            self._closed_until = max(self._closed_until, now + min(seconds, CLOSED_SECONDS_MAX))
            self._fill(now)
            # One may ask when the door opens, not everybody who waited before it.
            self._tokens, self._filled_at = min(self._tokens, 1.0), self._closed_until

    def slow(self, seconds: float) -> None:
        with self._lock:
            self._fill(self._monotonic())
            self._tokens = min(self._tokens, 1 - min(seconds, CLOSED_SECONDS_MAX) * self._per_second)

    def _check_door(self, now: float) -> None:
        if now < self._closed_until:
            refuse("closed", self._closed_until - now)

    def _fill(self, now: float) -> None:
        if now > self._filled_at:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
            self._filled_at = now


class SharedBudget:
    """The budget of every process that asks one Horizon, kept in Redis: one round trip a request.

    A second one tells of trouble or of its end. Redis' own clock counts, so machines need not agree.
    """

    def __init__(
        self, name: str, *, per_second: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`name` says which Horizon of which network this is about."""
        self._key = f"tagih:horizon:{{{name}}}"
        self._local = LocalBudget(per_second=per_second, monotonic=monotonic)
        self._pace = (per_second, burst_of(per_second), int(CLOSED_SECONDS_MAX * 1000), KEPT_SECONDS * 1000)

    def enter(self, wait_seconds_max: float) -> Admission:
        # What this process was told itself holds even when Redis forgets it.
        self._local.check_door()
        answer = self._run(ENTER, int(wait_seconds_max * 1000), FAILURES_MAX, int(PROBE_SECONDS * 1000))
        if answer is None:
            return self._local.enter(wait_seconds_max)
        verdict, milliseconds, failures = answer[0].decode(), int(answer[1]), int(answer[2])
        if verdict != "open":
            refuse(verdict, milliseconds / 1000)
        return Admission(milliseconds / 1000, failures > 0)

    def succeeded(self, admission: Admission) -> None:
        if admission.is_watched:
            self._local.succeeded(admission)
            self._report("succeeded", 0)

    def failed(self) -> None:
        if not self._report("failed", REST_SECONDS):
            self._local.failed()

    def close(self, seconds: float) -> None:
        self._local.close(seconds)
        self._report("closed", seconds)

    def slow(self, seconds: float) -> None:
        self._local.slow(seconds)
        self._report("slowed", seconds)

    def _report(self, what: str, seconds: float) -> bool:
        bounded = min(seconds, CLOSED_SECONDS_MAX)
        rest_max = int(REST_SECONDS_MAX * 1000)
        return self._run(REPORT, what, int(bounded * 1000), FAILURES_MAX, rest_max) is not None

    def _run(self, script: Script, *arguments: str | int) -> list[Any] | None:
        """Return the script's answer, or None at once while Redis is away."""

        def run(client: Redis) -> list[Any]:
            return cast("list[Any]", script.run(client, self._key, *self._pace, *arguments))

        return cache.attempt(run)


_REASONS = {
    "closed": "Horizon is left in peace for a while",
    "probing": "Horizon is being probed",
    "busy": "too many requests to Horizon at once",
}


def refuse(verdict: str, seconds: float) -> Never:
    raise ChainUnavailable(_REASONS[verdict], retry_after_seconds=seconds)
