"""Holds a key while its request runs and keeps the answer in the effect's own transaction."""

from datetime import datetime
from typing import cast

from sqlalchemy import Table, text
from sqlalchemy.dialects.postgresql import insert

from portal.domain.idempotency.models import IdempotencyKey
from portal.domain.idempotency.rules import Attempt, IdempotencyInProgress, KeptAnswer, check_same_body
from portal.extensions import db
from portal.kernel.errors import Conflict

# One round trip for the lock and the look. The statement's snapshot may be older than the lock it gets, so
# a row committed in between is missed here and met by `keep`.
_HOLD = text(
    """
    SELECT pg_try_advisory_xact_lock(:lock_id) AS is_mine,
        k.body_hash, k.response_status, k.response_headers, k.response_body
    FROM (SELECT 1) AS one
    LEFT JOIN idempotency_keys k
        ON k.merchant_id = :merchant_id AND k.network = :network AND k.route = :route AND k.key = :key
    """
)
# The table, not the entity: the unit of work has nothing to add here and costs time on every POST.
_KEEP = insert(cast(Table, IdempotencyKey.__table__)).on_conflict_do_nothing().returning(IdempotencyKey.key)


class AnswerKeptBefore(Conflict):
    """The first request committed while this one ran: its answer counts and this one's effect is undone."""

    code = "idempotency_kept_before"


def hold(attempt: Attempt) -> KeptAnswer | None:
    """Take the key until this transaction ends, and return its answer if it has one.

    :raises IdempotencyInProgress: while another request with this key runs.
    :raises IdempotencyMismatch: when the key was first used with another body.
    """
    row = db.session.execute(
        _HOLD,
        {
            "lock_id": attempt.lock_id,
            "merchant_id": attempt.merchant_id,
            "network": attempt.network,
            "route": attempt.route,
            "key": attempt.key,
        },
    ).one()
    if row.body_hash is not None:
        check_same_body(kept_hash=row.body_hash, attempt=attempt)
        return KeptAnswer(row.response_status, bytes(row.response_body), row.response_headers)
    if not row.is_mine:
        raise IdempotencyInProgress("The first request with this Idempotency-Key is still running.")
    return None


def keep(attempt: Attempt, answer: KeptAnswer, *, now: datetime) -> None:
    """Store the answer with the effect it speaks of.

    :raises AnswerKeptBefore: when a request with this key has committed since `hold`.
    """
    assert 200 <= answer.status < 500, answer.status
    stored = db.session.execute(
        _KEEP,
        {
            "merchant_id": attempt.merchant_id,
            "network": attempt.network,
            "route": attempt.route,
            "key": attempt.key,
            "body_hash": attempt.body_hash,
            "response_status": answer.status,
            "response_headers": answer.headers,
            "response_body": answer.body,
            "created_at": now,
        },
    )
    if stored.scalar_one_or_none() is None:
        raise AnswerKeptBefore("This request was answered before.")
