"""Speak HTTP with one Horizon: bounded in time, size and pace, and never anywhere but there.

One client is shared by all threads of a process. Its budget (`horizon_budget`) keeps the pace, obeys 429 and
lets a dead Horizon be probed by one request at a time.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Never
from urllib.parse import urlencode

import urllib3

from portal.adapters.deadline_http import deadline_pool
from portal.adapters.horizon_budget import CLOSED_SECONDS_MAX, Admission, Budget
from portal.kernel.chain import ChainUnavailable

# Design, section 6: an answer above 2 MB is refused. A page of 200 payments without joins has about 0.3 MB.
BODY_BYTES_MAX = 2 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_CONNECTIONS_MAX = 8
_RETRY_AFTER_SECONDS_DEFAULT = 5.0


class BodyTooLarge(ChainUnavailable):
    """The answer has more than BODY_BYTES_MAX; a smaller page may be asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of Horizon: 200, 400, 404 or 410, with a JSON object."""

    status: int
    body: dict[str, Any]


class HorizonHttp:
    """GET and POST against the one configured Horizon."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        budget: Budget,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._budget = budget
        self._pool = deadline_pool(_CONNECTIONS_MAX)

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
        # What waits for its turn longer than half its time would hardly be answered in the rest.
        admission = self._budget.enter((deadline - now) / 2)
        try:
            if admission.wait_seconds > 0:
                time.sleep(admission.wait_seconds)
            status, headers, octets = self._exchange(method, target, body, deadline)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._budget.failed()
            raise ChainUnavailable(f"Horizon does not answer: {type(error).__name__}") from error
        except BodyTooLarge:
            self._budget.succeeded(admission)
            raise
        return self._judge(admission, status, headers, octets)

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

    def _judge(self, admission: Admission, status: int, headers: Mapping[str, str], octets: bytes) -> Answer:
        if status == 429:
            seconds = _retry_after(headers)
            self._budget.close(seconds)
            raise ChainUnavailable("Horizon asks for a slower pace", retry_after_seconds=seconds)
        if status not in {200, 400, 404, 410}:
            self._fail(f"Horizon answered {status}")
        body = parse_body(octets)
        if body is None:
            self._fail("the answer of Horizon is not a JSON object")
        if status != 200 and body.get("status") != status:
            self._fail(f"Horizon answered {status} without its problem document")
        self._budget.succeeded(admission)
        pause_seconds = _pause_after(headers)
        if pause_seconds is not None:
            self._budget.slow(pause_seconds)
        return Answer(status, body)

    def _fail(self, detail: str) -> Never:
        self._budget.failed()
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
        seconds = _count(headers, name)
        if seconds is not None:
            return min(float(seconds), CLOSED_SECONDS_MAX) or 1.0
    return _RETRY_AFTER_SECONDS_DEFAULT


def _pause_after(headers: Mapping[str, str]) -> float | None:
    """Return when the next request may go out after an answer that used the allowance up, else None.

    Horizon's reset is the time until the whole allowance is back, so one request of it is back after a share.
    """
    if _count(headers, "X-RateLimit-Remaining") != 0:
        return None
    reset_seconds = _count(headers, "X-RateLimit-Reset")
    if reset_seconds is None:
        return _RETRY_AFTER_SECONDS_DEFAULT
    return min(reset_seconds / (_count(headers, "X-RateLimit-Limit") or 1), CLOSED_SECONDS_MAX)


def _count(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text[:9]) if text.isascii() and text.isdigit() else None
