"""The session behind a cookie: read from Redis for a minute, else from PostgreSQL; revoked in both."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from portal.adapters import cache
from portal.db import enter_tenant, leave_tenant, run_transaction
from portal.domain.merchants import queries, rules, sessions
from portal.domain.merchants.queries import SessionView
from portal.extensions import db
from portal.kernel.tokens import digest

_MOMENTS = ("confirmed_at", "last_seen_at", "expires_at")
_IDS = ("session_id", "user_id", "merchant_id")
# A cookie is whatever its sender likes; ours have 43 characters.
TOKEN_MAX = 100


def find_session(token: str, *, now: datetime) -> SessionView | None:
    """Return the live session of a cookie's value, or None; Redis may be away."""
    if not token or len(token) > TOKEN_MAX:
        return None
    id_hash = digest(token)
    kept = cache.read_session(id_hash)
    if kept == cache.TOMBSTONE:
        return None
    session = None if kept is None else _thaw(kept)
    if session is None:
        session = _read(id_hash, now=now)
        if session is not None:
            cache.keep_session(id_hash, _freeze(session))
    if session is None or not _is_alive(session, now=now):
        return None
    return session


def revoke_session(*, user_id: UUID, merchant_id: UUID | None, handle: str, now: datetime) -> None:
    """Sign one device out everywhere.

    :raises SessionNotFound: when the user has no such session.
    """
    hashes = run_transaction(
        lambda: sessions.revoke(user_id=user_id, merchant_id=merchant_id, handle=handle, now=now)
    )
    cache.bury_sessions(hashes)


def _is_alive(session: SessionView, *, now: datetime) -> bool:
    return rules.session_is_alive(last_seen_at=session.last_seen_at, expires_at=session.expires_at, now=now)


def _read(id_hash: str, *, now: datetime) -> SessionView | None:
    found = queries.resolve_session(id_hash)
    if found is None:
        return None
    user_id, merchant_id = found
    enter_tenant(merchant_id=merchant_id, user_id=user_id)
    session = queries.find_session(user_id, id_hash)
    if session is None or not _is_alive(session, now=now):
        leave_tenant()
        return None
    # A page that asks who is there from within its own transaction leaves the note to the next request.
    if now - session.last_seen_at >= rules.TOUCH_EVERY and not db.session().info.get("in_transaction"):
        run_transaction(lambda: sessions.touch(session_id=session.session_id, now=now))
    return session


def _freeze(session: SessionView) -> bytes:
    return json.dumps(asdict(session), default=str, separators=(",", ":")).encode()


def _thaw(kept: bytes) -> SessionView | None:
    """Return the cached session, or None for what another version of this program wrote."""
    try:
        fields: dict[str, Any] = json.loads(kept)
        for name in _MOMENTS:
            fields[name] = datetime.fromisoformat(fields[name])
        for name in _IDS:
            fields[name] = None if fields[name] is None else UUID(fields[name])
        return SessionView(**fields)
    except (ValueError, TypeError, KeyError):
        return None
