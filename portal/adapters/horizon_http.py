"""Speak HTTP with one Horizon: bounded in time, size and pace, and never anywhere but there.

One client is shared by all threads of a process. A token bucket keeps the pace, 429 closes the door for as
long as Horizon asks, and a circuit breaker lets a dead Horizon be probed by one request at a time.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Never
from urllib.parse import urlencode

import urllib3

from portal.kernel.chain import ChainUnavailable

# Design, section 6: an answer above 2 MB is refused. A page of 200 payments without joins has about 0.3 MB.
BODY_BYTES_MAX = 2 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_CONNECTIONS_MAX = 8
# Five failures in a row are no accident; the first rest is short because most failures of Horizon are.
_BREAKER_FAILURES_MAX = 5
_BREAKER_REST_SECONDS = 2.0
_BREAKER_REST_SECONDS_MAX = 15.0
_PROBE_SECONDS = 10.0
_RETRY_AFTER_SECONDS_DEFAULT = 5.0
_RETRY_AFTER_SECONDS_MAX = 300.0


class BodyTooLarge(ChainUnavailable):
    """The answer has more than BODY_BYTES_MAX; a smaller page may be asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of Horizon: 200, 400, 404 or 410, with a JSON object."""

    status: int
    body: dict[str, Any]


class _Pace:
    """A token bucket: `take` returns the seconds to wait, or None when that is too long."""

    def __init__(self, per_second: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._per_second, self._burst, self._monotonic = per_second, float(burst), monotonic
        self._tokens, self._filled_at = float(burst), monotonic()
        self._lock = threading.Lock()

    def take(self, wait_seconds_max: float) -> float | None:
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
            self._filled_at = now
            wait_seconds = max(0.0, (1 - self._tokens) / self._per_second)
            if wait_seconds > wait_seconds_max:
                return None
            self._tokens -= 1
            return wait_seconds


class _Breaker:
    """Closed, open, half-open; `door` raises while it is open and lets one probe through afterwards."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0
        self._rest_seconds = _BREAKER_REST_SECONDS
        self._probing_until = 0.0

    def door(self) -> None:
        with self._lock:
            now = self._monotonic()
            wait_seconds = self._closed_until - now
            if wait_seconds > 0:
                raise ChainUnavailable(
                    "Horizon is left in peace for a while", retry_after_seconds=wait_seconds
                )
            if self._failures >= _BREAKER_FAILURES_MAX:
                if now < self._probing_until:
                    raise ChainUnavailable("Horizon is being probed", retry_after_seconds=1.0)
                # Limited in time, so that a probe whose thread died does not hold the door for ever.
                self._probing_until = now + _PROBE_SECONDS

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._probing_until, self._rest_seconds = 0, 0.0, _BREAKER_REST_SECONDS

    def failed(self) -> None:
        with self._lock:
            now = self._monotonic()
            self._failures += 1
            self._probing_until = 0.0
            # Requests that were under way when the door closed fail too and must not lengthen the rest.
            if self._failures >= _BREAKER_FAILURES_MAX and now >= self._closed_until:
                self._closed_until = now + self._rest_seconds
                self._rest_seconds = min(self._rest_seconds * 2, _BREAKER_REST_SECONDS_MAX)

    def asked_to_wait(self, seconds: float) -> None:
        """429 is no failure of Horizon: the door closes, the count of failures stays."""
        with self._lock:
            self._probing_until = 0.0
            self._closed_until = max(self._closed_until, self._monotonic() + seconds)


class HorizonHttp:
    """GET and POST against the one configured Horizon."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        requests_per_second: float,
        burst: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._pace = _Pace(requests_per_second, burst, monotonic)
        self._breaker = _Breaker(monotonic)
        self._pool = urllib3.PoolManager(maxsize=_CONNECTIONS_MAX, retries=False)

    def deadline(self, within_seconds: float | None) -> float | None:
        """Return the moment, on this client's own clock, by which several requests must be done together."""
        return None if within_seconds is None else self._monotonic() + within_seconds

    def get(
        self, path: str, query: Mapping[str, str] | None = None, *, deadline: float | None = None
    ) -> Answer:
        """Return the answer to GET `path`, in `timeout_seconds` and not after `deadline`.

        :raises ChainUnavailable: for everything that is not a whole JSON answer of Horizon in time.
        """
        suffix = f"?{urlencode(query)}" if query else ""
        return self._request("GET", f"{path}{suffix}", None, deadline)

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Return the answer to POST `path`; never repeated, for the first one may have been heard."""
        return self._request("POST", path, urlencode(form).encode(), None)

    def _request(self, method: str, target: str, body: bytes | None, limit: float | None) -> Answer:
        now = self._monotonic()
        deadline = now + self._timeout_seconds if limit is None else min(limit, now + self._timeout_seconds)
        if deadline <= now:
            raise ChainUnavailable("no time is left to ask Horizon")
        self._breaker.door()
        try:
            wait_seconds = self._pace.take(self._timeout_seconds / 2)
            if wait_seconds is None:
                self._breaker.asked_to_wait(0)
                raise ChainUnavailable("too many requests to Horizon at once", retry_after_seconds=1.0)
            if wait_seconds > 0:
                time.sleep(wait_seconds)
            status, headers, octets = self._exchange(method, target, body, deadline)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._breaker.failed()
            raise ChainUnavailable(f"Horizon does not answer: {type(error).__name__}") from error
        except BodyTooLarge:
            self._breaker.succeeded()
            raise
        return self._judge(status, headers, octets)

    def _exchange(
        self, method: str, target: str, body: bytes | None, deadline: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": "application/json", "User-Agent": "tagih"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            return self._once(method, target, body, headers, deadline)
        except urllib3.exceptions.ProtocolError:
            # A kept-alive connection that the server closed in the meantime looks exactly like this.
            if method != "GET":
                raise
            return self._once(method, target, body, headers, deadline)

    def _once(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str], deadline: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        left_seconds = max(0.05, deadline - self._monotonic())
        response = self._pool.request(
            method,
            self._url + target,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(total=left_seconds),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        is_whole = False
        try:
            octets = bytearray()
            # One receive at a time, or a server that sends a byte now and then would hold the thread.
            while chunk := response.read1(_CHUNK_BYTES):
                octets += chunk
                if len(octets) > BODY_BYTES_MAX:
                    raise BodyTooLarge(f"the answer of Horizon is larger than {BODY_BYTES_MAX} bytes")
                if self._monotonic() > deadline:
                    raise BodyTooSlow("the answer took too long")
            is_whole = True
            return response.status, response.headers, bytes(octets)
        finally:
            if is_whole:
                response.release_conn()
            else:
                response.close()

    def _judge(self, status: int, headers: Mapping[str, str], octets: bytes) -> Answer:
        if status == 429:
            seconds = _retry_after(headers)
            self._breaker.asked_to_wait(seconds)
            raise ChainUnavailable("Horizon asks for a slower pace", retry_after_seconds=seconds)
        if status not in {200, 400, 404, 410}:
            self._fail(f"Horizon answered {status}")
        body = parse_body(octets)
        if body is None:
            self._fail("the answer of Horizon is not a JSON object")
        if status != 200 and body.get("status") != status:
            self._fail(f"Horizon answered {status} without its problem document")
        self._breaker.succeeded()
        return Answer(status, body)

    def _fail(self, detail: str) -> Never:
        self._breaker.failed()
        raise ChainUnavailable(detail)


class BodyTooSlow(urllib3.exceptions.HTTPError):
    """The body was still coming when the time was over."""


def parse_body(octets: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a body, or None for HTML, half a body, NaN, doubled keys or wild nesting."""
    try:
        body = json.loads(
            octets.decode(), parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds Horizon asks to wait, within bounds; a date is not worth parsing for a wait."""
    for name in ("Retry-After", "X-RateLimit-Reset"):
        text = headers.get(name, "")
        if text.isascii() and text.isdigit():
            return min(float(text[:6]), _RETRY_AFTER_SECONDS_MAX) or 1.0
    return _RETRY_AFTER_SECONDS_DEFAULT
