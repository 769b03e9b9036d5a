"""Sign-up and the mailed code: the same answer, in about the same time, whether or not the address is known."""

from dataclasses import replace
from datetime import datetime

from portal.adapters import mail
from portal.db import run_transaction
from portal.domain.merchants import accounts, codes, queries, rules, sessions
from portal.domain.merchants.accounts import NewAccount, Registration
from portal.domain.merchants.passwords import hash_password
from portal.domain.merchants.sessions import OpenedSession
from portal.kernel.actor import acting_as, current_actor
from portal.kernel.refs import to_ref
from portal.kernel.tokens import new_numeric_code, new_token

# Binds a code to the browser that asked for it.
NONCE_BITS = 128


def sign_up(
    *, business_name: str, name: str, email: str, password: str, time_zone: str, now: datetime
) -> str:
    """Write the unproven account, mail its code, and return the nonce that this browser redeems it with.

    The owner of a known address is told that somebody tried; whoever tried is told nothing else.
    """
    account = NewAccount(business_name, name, email, hash_password(password), time_zone)
    nonce, code = new_token(NONCE_BITS), new_numeric_code(rules.CODE_DIGITS)

    def work() -> tuple[Registration, bool]:
        registration = accounts.register(account=account, now=now)
        # A known address gets a code too, which nothing accepts: it counts the mails, so that nobody's inbox
        # is filled by trying to sign up in his name, and it makes both cases the same work.
        return registration, codes.issue_code(
            user_id=registration.user_id, purpose="verify_email", nonce=nonce, code=code, now=now
        )

    registration, is_sent = run_transaction(work)
    if is_sent and registration.is_known:
        mail.send("known_email", to=email, now=now)
    elif is_sent:
        mail.send("verify_email", to=email, now=now, code=code)
    return nonce


def send_code(*, email: str, nonce: str, now: datetime) -> None:
    """Mail another code to an address whose sign-up waits for one; any other address gets nothing."""
    code = new_numeric_code(rules.CODE_DIGITS)

    def work() -> bool:
        user_id = queries.resolve_user(email)
        if user_id is None or not accounts.is_unverified(user_id=user_id):
            return False
        if not codes.was_bound_to(user_id=user_id, purpose="verify_email", nonce=nonce):
            return False
        return codes.issue_code(user_id=user_id, purpose="verify_email", nonce=nonce, code=code, now=now)

    if run_transaction(work):
        mail.send("verify_email", to=email, now=now, code=code)


def verify_email(
    *, email: str, nonce: str, code: str, network: str, ip: str | None, user_agent: str | None, now: datetime
) -> OpenedSession | None:
    """Redeem a code: the address is proven, the business opens, and the browser is signed in; else None."""

    def work() -> OpenedSession | None:
        user_id = queries.resolve_user(email)
        if user_id is None or not accounts.is_unverified(user_id=user_id):
            return None
        if not codes.redeem_code(user_id=user_id, purpose="verify_email", nonce=nonce, code=code, now=now):
            return None
        with acting_as(replace(current_actor(), name=to_ref("usr", user_id))):
            accounts.mark_verified(user_id=user_id, now=now)
            return sessions.open_session(
                user_id=user_id, network=network, ip=ip, user_agent=user_agent, now=now
            )

    return run_transaction(work)
