"""Reads of kept answers."""

from sqlalchemy import bindparam, select

from portal.domain.idempotency.models import IdempotencyKey
from portal.domain.idempotency.rules import Attempt, KeptAnswer, check_same_body
from portal.extensions import db

_FIND = select(
    IdempotencyKey.body_hash,
    IdempotencyKey.response_status,
    IdempotencyKey.response_headers,
    IdempotencyKey.response_body,
).where(
    IdempotencyKey.merchant_id == bindparam("merchant_id"),
    IdempotencyKey.network == bindparam("network"),
    IdempotencyKey.route == bindparam("route"),
    IdempotencyKey.key == bindparam("key"),
)


def find_answer(attempt: Attempt) -> KeptAnswer | None:
    """Return what was answered to this key before.

    :raises IdempotencyMismatch: when the key was first used with another body.
    """
    row = db.session.execute(
        _FIND,
        {
            "merchant_id": attempt.merchant_id,
            "network": attempt.network,
            "route": attempt.route,
            "key": attempt.key,
        },
    ).one_or_none()
    if row is None:
        return None
    check_same_body(kept_hash=row.body_hash, attempt=attempt)
    return KeptAnswer(row.response_status, row.response_body, row.response_headers)
