"""What an Idempotency-Key may be, and what makes two requests the same: pure functions."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from portal.kernel.errors import Conflict, Invalid

KEY_MAX = 255
# An effect takes milliseconds, a look at the network up to three seconds.
IN_PROGRESS_RETRY_SECONDS = 1


class IdempotencyMismatch(Invalid):
    """The key was used for another body: answering with the first result would hide a mistake."""

    code = "idempotency_mismatch"


class IdempotencyInProgress(Conflict):
    """The first request with this key has not ended; its answer can be had a moment later."""

    code = "idempotency_in_progress"
    retry_after_seconds = IN_PROGRESS_RETRY_SECONDS


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request that its sender may repeat: the key is unique per merchant, network and route."""

    merchant_id: UUID
    network: str
    route: str
    key: str
    body_hash: str

    @property
    def lock_id(self) -> int:
        """Return the 64-bit number of the advisory lock that one running request with this key holds."""
        parts = (str(self.merchant_id), self.network, self.route, self.key)
        digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8, person=b"idempotency").digest()
        return int.from_bytes(digest, "big", signed=True)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An HTTP answer, byte for byte."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def key_is_valid(key: str) -> bool:
    return 1 <= len(key) <= KEY_MAX and all(" " <= character <= "~" for character in key)


def hash_of_body(body: Any) -> str:
    """Return the hash of a JSON value: white space and the order of members make no other request."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_same_body(*, kept_hash: str, attempt: Attempt) -> None:
    """:raises IdempotencyMismatch: when the key was first used with another body."""
    if kept_hash != attempt.body_hash:
        raise IdempotencyMismatch(
            "This Idempotency-Key was used with another body. Use a new key for a new request."
        )
