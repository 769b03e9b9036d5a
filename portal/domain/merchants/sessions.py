"""Writes of signed-in devices: opened, touched, renewed, revoked. The cookie's id is known here as a hash only."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, update

from portal.db import enter_tenant
from portal.domain.audit import service as audit
from portal.domain.merchants import queries, rules
from portal.domain.merchants.models import UserSession
from portal.extensions import db
from portal.kernel.errors import NotFound
from portal.kernel.refs import new_id, to_ref
from portal.kernel.tokens import digest, new_token

SESSION_ID_BITS = 256
# The first half of the hash names a session on pages: it opens nothing and is not the row's key.
HANDLE_LENGTH = 32
USER_AGENT_MAX = 300


class SessionNotFound(NotFound):
    code = "session_not_found"


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """`token` is the cookie's value and leaves the program there alone."""

    token: str
    id_hash: str
    user_id: UUID
    merchant_id: UUID | None


def handle_of(id_hash: str) -> str:
    return id_hash[:HANDLE_LENGTH]


def open_session(
    *, user_id: UUID, network: str, ip: str | None, user_agent: str | None, now: datetime
) -> OpenedSession:
    """Open a session in the user's oldest business, enter that tenant and write the audit row."""
    membership = queries.first_membership(user_id)
    merchant_id = None if membership is None else membership.merchant_id
    enter_tenant(merchant_id=merchant_id, user_id=user_id)
    token = new_token(SESSION_ID_BITS)
    db.session.execute(
        insert(UserSession),
        {
            "id": new_id(),
            "id_hash": digest(token),
            "user_id": user_id,
            "merchant_id": merchant_id,
            "network": network,
            "ip": ip,
            "user_agent": user_agent and user_agent[:USER_AGENT_MAX],
            "confirmed_at": now,
            "last_seen_at": now,
            "expires_at": now + rules.SESSION_ABSOLUTE,
            "created_at": now,
        },
    )
    audit.record("session.opened", merchant_id=merchant_id, object_ref=to_ref("usr", user_id), at=now)
    return OpenedSession(token, digest(token), user_id, merchant_id)


def touch(*, session_id: UUID, now: datetime) -> None:
    """Note that the device is in use; the caller does so at most once a minute."""
    db.session.execute(update(UserSession).where(UserSession.id == session_id).values(last_seen_at=now))


def renew(*, session_id: UUID, confirmed_at: datetime) -> str:
    """Give a session a new id, because its rights just grew, and return the new cookie value."""
    token = new_token(SESSION_ID_BITS)
    db.session.execute(
        update(UserSession)
        .where(UserSession.id == session_id, UserSession.revoked_at.is_(None))
        .values(id_hash=digest(token), confirmed_at=confirmed_at, last_seen_at=confirmed_at)
    )
    return token


def revoke(*, user_id: UUID, merchant_id: UUID | None, handle: str, now: datetime) -> list[str]:
    """Sign one device out and return the hashes whose cached copies must go.

    :raises SessionNotFound: when the user has no such session.
    """
    hashes = list(
        db.session.scalars(
            update(UserSession)
            .where(
                UserSession.user_id == user_id,
                UserSession.id_hash.startswith(handle, autoescape=True),
                UserSession.revoked_at.is_(None),
            )
            .values(revoked_at=now)
            .returning(UserSession.id_hash)
        )
    )
    if len(handle) != HANDLE_LENGTH or not hashes:
        raise SessionNotFound("No such session.")
    audit.record("session.revoked", merchant_id=merchant_id, object_ref=to_ref("usr", user_id), at=now)
    return hashes


def revoke_all(*, user_id: UUID, keep: UUID | None = None, now: datetime) -> list[str]:
    """Sign every device out but `keep` and return the hashes whose cached copies must go."""
    ending = update(UserSession).where(UserSession.user_id == user_id, UserSession.revoked_at.is_(None))
    if keep is not None:
        ending = ending.where(UserSession.id != keep)
    return list(db.session.scalars(ending.values(revoked_at=now).returning(UserSession.id_hash)))
