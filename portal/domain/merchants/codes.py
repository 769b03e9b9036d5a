"""Mailed codes and links: hashed, short-lived, single use, bound to who asked for them.

Verdicts are return values, never exceptions: a wrong attempt must be committed to count.
"""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import func, insert, select, update

from portal.db import enter_tenant
from portal.domain.merchants import queries, rules
from portal.domain.merchants.models import OneTimeCode
from portal.extensions import db
from portal.kernel.refs import new_id
from portal.kernel.tokens import digest, keyed_digest, same

Purpose = Literal["verify_email", "reset_password", "step_up"]


def _binding(nonce: str) -> str:
    return digest(nonce) + "."


def issue_code(*, user_id: UUID, purpose: Purpose, nonce: str, code: str, now: datetime) -> bool:
    """Keep a 6-digit code that only the browser which holds `nonce` can redeem; earlier ones end.

    Six digits are guessed from any plain hash, so the 128-bit nonce, which we do not keep, is its key.
    Returns False, and keeps nothing, when the user was sent too many within the hour.
    """
    if _is_flooded(user_id, purpose, now):
        return False
    hashed = _binding(nonce) + keyed_digest(nonce, f"{user_id}:{code}")
    _insert(user_id, purpose, hashed, now + rules.CODE_LIFETIME, now)
    return True


def issue_link(*, user_id: UUID, purpose: Purpose, token: str, now: datetime) -> bool:
    """Keep the hash of a mailed link's token; False when the user was sent too many within the hour."""
    if _is_flooded(user_id, purpose, now):
        return False
    _insert(user_id, purpose, digest(token), now + rules.RESET_LIFETIME, now)
    return True


def redeem_code(*, user_id: UUID, purpose: Purpose, nonce: str, code: str, now: datetime) -> bool:
    """Say whether `code` is the newest one this browser was sent, and use it up.

    Five wrong attempts end a code. A browser without its nonce burns nobody's attempts.
    """
    wanted = (
        select(OneTimeCode)
        .where(
            OneTimeCode.user_id == user_id,
            OneTimeCode.purpose == purpose,
            OneTimeCode.code_hash.startswith(_binding(nonce)),
            OneTimeCode.used_at.is_(None),
            OneTimeCode.expires_at > now,
        )
        .order_by(OneTimeCode.id.desc())
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    kept = db.session.scalars(wanted).one_or_none()
    if kept is None or kept.attempts >= rules.CODE_ATTEMPTS_MAX:
        return False
    kept.attempts += 1
    good = same(kept.code_hash, _binding(nonce) + keyed_digest(nonce, f"{user_id}:{code}"))
    if good:
        kept.used_at = now
    db.session.flush()
    return good


def was_bound_to(*, user_id: UUID, purpose: Purpose, nonce: str) -> bool:
    """Say whether the newest code went to the browser that holds `nonce`; only that one may ask for more."""
    newest = (
        select(OneTimeCode.code_hash)
        .where(OneTimeCode.user_id == user_id, OneTimeCode.purpose == purpose)
        .order_by(OneTimeCode.id.desc())
        .limit(1)
    )
    code_hash = db.session.scalar(newest)
    return code_hash is not None and code_hash.startswith(_binding(nonce))


def find_link(*, purpose: Purpose, token: str, now: datetime) -> UUID | None:
    """Return whose good link this is, entering that user's scope, without using it up."""
    user_id = queries.resolve_code(purpose, digest(token))
    if user_id is None:
        return None
    enter_tenant(user_id=user_id)
    row = db.session.execute(
        select(OneTimeCode.used_at, OneTimeCode.expires_at).where(
            OneTimeCode.user_id == user_id,
            OneTimeCode.purpose == purpose,
            OneTimeCode.code_hash == digest(token),
        )
    ).one_or_none()
    return user_id if row is not None and row.used_at is None and row.expires_at > now else None


def redeem_link(*, purpose: Purpose, token: str, now: datetime) -> UUID | None:
    """Use a link up and return whose it was, or None; of two who use it at once, one is refused."""
    user_id = find_link(purpose=purpose, token=token, now=now)
    if user_id is None:
        return None
    used = db.session.execute(
        update(OneTimeCode)
        .where(
            OneTimeCode.user_id == user_id,
            OneTimeCode.purpose == purpose,
            OneTimeCode.code_hash == digest(token),
            OneTimeCode.used_at.is_(None),
        )
        .values(used_at=now)
        .returning(OneTimeCode.id)
    ).one_or_none()
    return None if used is None else user_id


def end_all(*, user_id: UUID, purpose: Purpose, now: datetime) -> None:
    """End every code or link that is still open."""
    db.session.execute(
        update(OneTimeCode)
        .where(OneTimeCode.user_id == user_id, OneTimeCode.purpose == purpose, OneTimeCode.used_at.is_(None))
        .values(used_at=now)
    )


def _is_flooded(user_id: UUID, purpose: Purpose, now: datetime) -> bool:
    sent = db.session.execute(
        select(func.count())
        .select_from(OneTimeCode)
        .where(
            OneTimeCode.user_id == user_id,
            OneTimeCode.purpose == purpose,
            OneTimeCode.created_at > now - timedelta(hours=1),
        )
    ).scalar_one()
    return sent >= rules.CODES_PER_HOUR_MAX


def _insert(user_id: UUID, purpose: Purpose, code_hash: str, expires_at: datetime, now: datetime) -> None:
    end_all(user_id=user_id, purpose=purpose, now=now)
    db.session.execute(
        insert(OneTimeCode),
        {
            "id": new_id(),
            "user_id": user_id,
            "purpose": purpose,
            "code_hash": code_hash,
            "expires_at": expires_at,
            "created_at": now,
        },
    )
