"""Sign-in, sign-out, and asking for the password again; hashing happens outside the transaction."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from portal.adapters import cache
from portal.db import enter_tenant, leave_tenant, release, run_transaction
from portal.domain.audit import service as audit
from portal.domain.merchants import accounts, queries, sessions
from portal.domain.merchants.accounts import PasswordWrong
from portal.domain.merchants.passwords import hash_password, needs_rehash, password_matches
from portal.domain.merchants.queries import SessionView
from portal.domain.merchants.sessions import OpenedSession
from portal.kernel.actor import acting_as, current_actor
from portal.kernel.errors import Unauthenticated
from portal.kernel.refs import to_ref, to_ref_or_none
from portal.kernel.tokens import digest


class CredentialsRefused(Unauthenticated):
    """One answer for every reason, so that nobody learns which addresses are known."""

    code = "credentials_refused"


def sign_in(
    *, email: str, password: str, network: str, ip: str | None, user_agent: str | None, now: datetime
) -> OpenedSession:
    """Open a session for a verified user, or keep the failed attempt in the audit log.

    :raises CredentialsRefused: for an unknown name, a wrong password, an unproven or deactivated account.
    """
    user_id = queries.resolve_user(email)
    user = None
    if user_id is not None:
        enter_tenant(user_id=user_id)
        user = queries.find_user(user_id)
    password_hash = None if user is None else user.password_hash
    is_open = user is not None and user.email_verified_at is not None and user.status == "ACTIVE"
    release()
    is_right = password_matches(password_hash, password)
    if user_id is None or not is_right or not is_open:
        _note_failure(user_id, "not_open" if is_right else "bad_password", now)
        raise CredentialsRefused("That email and password do not match an account.")
    fresh_hash = hash_password(password) if password_hash and needs_rehash(password_hash) else None

    def work() -> OpenedSession:
        if fresh_hash is not None:
            accounts.set_password_hash(
                user_id=user_id, merchant_id=None, password_hash=fresh_hash, action=None, now=now
            )
        return sessions.open_session(user_id=user_id, network=network, ip=ip, user_agent=user_agent, now=now)

    with acting_as(replace(current_actor(), name=to_ref("usr", user_id))):
        return run_transaction(work)


def _note_failure(user_id: UUID | None, reason: str, now: datetime) -> None:
    leave_tenant()
    run_transaction(
        lambda: audit.record(
            "session.refused",
            merchant_id=None,
            object_ref=to_ref_or_none("usr", user_id),
            after={"reason": "unknown_user" if user_id is None else reason},
            at=now,
        )
    )


def sign_out(*, token: str, session: SessionView, now: datetime) -> None:
    """End this session everywhere; a session that ended meanwhile is fine too."""

    def work() -> list[str]:
        handle = sessions.handle_of(digest(token))
        return sessions.revoke(
            user_id=session.user_id, merchant_id=session.merchant_id, handle=handle, now=now
        )

    try:
        hashes = run_transaction(work)
    except sessions.SessionNotFound:
        hashes = [session.id_hash]
    cache.bury_sessions(hashes)


def confirm_password(*, session: SessionView, password: str, now: datetime) -> str:
    """Ask for the password again and return the session's new cookie value, good for sensitive changes.

    :raises PasswordWrong: when it is not the user's; the attempt is kept in the audit log.
    """
    _check_password(session, password, now)

    def work() -> str:
        audit.record(
            "session.confirmed",
            merchant_id=session.merchant_id,
            object_ref=to_ref("usr", session.user_id),
            at=now,
        )
        return sessions.renew(session_id=session.session_id, confirmed_at=now)

    token = run_transaction(work)
    cache.bury_sessions([session.id_hash])
    return token


def change_password(*, session: SessionView, current: str, password: str, now: datetime) -> str:
    """Replace the password, sign every other device out, and return this one's new cookie value.

    :raises PasswordWrong: when `current` is not the user's password.
    """
    _check_password(session, current, now)
    password_hash = hash_password(password)

    def work() -> tuple[str, list[str]]:
        accounts.set_password_hash(
            user_id=session.user_id,
            merchant_id=session.merchant_id,
            password_hash=password_hash,
            action="user.password_changed",
            now=now,
        )
        ended = sessions.revoke_all(user_id=session.user_id, keep=session.session_id, now=now)
        return sessions.renew(session_id=session.session_id, confirmed_at=now), ended

    token, ended = run_transaction(work)
    cache.bury_sessions([*ended, session.id_hash])
    return token


def _check_password(session: SessionView, password: str, now: datetime) -> None:
    user = queries.find_user(session.user_id)
    password_hash = None if user is None else user.password_hash
    release()
    if password_matches(password_hash, password):
        return
    run_transaction(
        lambda: audit.record(
            "session.confirmation_refused",
            merchant_id=session.merchant_id,
            object_ref=to_ref("usr", session.user_id),
            at=now,
        )
    )
    raise PasswordWrong("That is not your password.")
