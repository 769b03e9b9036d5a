"""Redis as something that may be away: every call answers None then, and the caller reads PostgreSQL.

After a failure Redis is left alone for a second, so that an outage costs one timeout a second and process
instead of one per request.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from redis import Redis
from redis.exceptions import RedisError

from portal.extensions import redis

T = TypeVar("T")

PAUSE_SECONDS = 1.0


class _Pause:
    """Until when this process leaves Redis alone, on the monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0

    def is_over(self) -> bool:
        return time.monotonic() >= self._until

    def begin(self) -> None:
        with self._lock:
            self._until = time.monotonic() + PAUSE_SECONDS

    def end(self) -> None:
        with self._lock:
            self._until = 0.0


pause = _Pause()


def attempt(work: Callable[["Redis"], T]) -> T | None:
    """Run `work` with the Redis client and return its answer, or None when Redis does not answer."""
    if not pause.is_over():
        return None
    try:
        return work(redis.client)
    except (RedisError, OSError):
        pause.begin()
        return None


def read(key: str) -> bytes | None:
    return attempt(lambda client: cast("bytes | None", client.get(key)))


def write(key: str, value: bytes, *, seconds: int, only_new: bool = False) -> bool:
    """Store for `seconds`; `only_new` leaves a value alone that is there, such as a tombstone."""
    return bool(attempt(lambda client: cast(Any, client.set(key, value, ex=seconds, nx=only_new))))


def delete(*keys: str) -> None:
    if keys:
        attempt(lambda client: cast(Any, client.delete(*keys)))


# --- sessions -------------------------------------------------------------------------------------

SESSION_SECONDS = 60
TOMBSTONE = b"-"


def session_key(id_hash: str) -> str:
    return f"tagih:session:{{{id_hash}}}"


def read_session(id_hash: str) -> bytes | None:
    """Return the cached session, TOMBSTONE when it was revoked within the last minute, or None."""
    return read(session_key(id_hash))


def keep_session(id_hash: str, value: bytes) -> None:
    write(session_key(id_hash), value, seconds=SESSION_SECONDS, only_new=True)


def bury_sessions(id_hashes: list[str]) -> None:
    """Forget revoked sessions for good.

    A tombstone stays for as long as a copy could live, so that a request that read the row before the
    revocation cannot put it back.
    """

    def bury(client: "Redis") -> None:
        with client.pipeline(transaction=False) as pipe:
            for id_hash in id_hashes:
                pipe.set(session_key(id_hash), TOMBSTONE, ex=SESSION_SECONDS)
            pipe.execute()

    if id_hashes:
        attempt(bury)


def refresh_session(id_hash: str) -> None:
    """Let the next request read the session again, after a change of name, theme or business."""
    delete(session_key(id_hash))
