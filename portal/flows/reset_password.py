"""A forgotten password: a mailed link that works once within 30 minutes and signs every device out."""

from datetime import datetime
from uuid import UUID

from portal.adapters import cache, mail
from portal.db import enter_tenant, run_transaction
from portal.domain.audit import service as audit
from portal.domain.merchants import accounts, codes, queries, sessions
from portal.domain.merchants.passwords import hash_password
from portal.kernel.errors import NotFound
from portal.kernel.refs import to_ref
from portal.kernel.tokens import new_token

TOKEN_BITS = 256
TOKEN_MAX = 100


class LinkSpent(NotFound):
    """The link was used, is out of time, or never existed."""

    code = "reset_link_spent"


def ask_for_reset(*, email: str, now: datetime) -> None:
    """Mail a link to a known address; an unknown one gets nothing, and whoever asked cannot tell."""
    token = new_token(TOKEN_BITS)

    def work() -> str | None:
        user_id = queries.resolve_user(email)
        if user_id is None:
            return None
        enter_tenant(user_id=user_id)
        user = queries.find_user(user_id)
        if user is None or user.status != "ACTIVE" or user.email is None:
            return None
        if not codes.issue_link(user_id=user_id, purpose="reset_password", token=token, now=now):
            return None
        audit.record("user.password_reset_asked", merchant_id=None, object_ref=to_ref("usr", user_id), at=now)
        return user.email

    address = run_transaction(work)
    if address is not None:
        mail.send("reset_password", to=address, now=now, token=token)


def link_is_good(token: str, *, now: datetime) -> bool:
    """Say whether the page of this link may be shown; uses nothing up."""
    return (
        len(token) <= TOKEN_MAX
        and codes.find_link(purpose="reset_password", token=token, now=now) is not None
    )


def reset_password(*, token: str, password: str, now: datetime) -> None:
    """Set the password that a mailed link allows, and sign every device out.

    Whoever opens the link reads the mailbox, so the address is proven by it.

    :raises LinkSpent: when the link no longer works.
    """
    if len(token) > TOKEN_MAX:
        raise LinkSpent("This link no longer works.")
    password_hash = hash_password(password)

    def work() -> tuple[UUID | None, list[str], str | None]:
        user_id = codes.redeem_link(purpose="reset_password", token=token, now=now)
        if user_id is None:
            return None, [], None
        accounts.mark_verified(user_id=user_id, now=now)
        membership = queries.first_membership(user_id)
        merchant_id = None if membership is None else membership.merchant_id
        enter_tenant(merchant_id=merchant_id, user_id=user_id)
        accounts.set_password_hash(
            user_id=user_id,
            merchant_id=merchant_id,
            password_hash=password_hash,
            action="user.password_reset",
            now=now,
        )
        user = queries.find_user(user_id)
        return user_id, sessions.revoke_all(user_id=user_id, now=now), None if user is None else user.email

    user_id, ended, address = run_transaction(work)
    if user_id is None:
        raise LinkSpent("This link no longer works.")
    cache.bury_sessions(ended)
    if address is not None:
        mail.send("password_changed", to=address, now=now, at=now.strftime("%d %B %Y at %H:%M UTC"))
