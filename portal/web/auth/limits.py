"""How often somebody may try: per address of the network and per mail address, counted in Redis, else in process.

Sign-ins count when they fail, so that a busy team behind one address is not locked out by signing in well.
"""

from flask import Response, request
from flask.typing import ResponseReturnValue
from flask_limiter import RateLimitExceeded
from flask_login import current_user

from portal.extensions import limiter
from portal.kernel.clock import utc_now
from portal.kernel.tokens import digest
from portal.web.access import user
from portal.web.errors import error_page


def _is_refused(response: Response) -> bool:
    return response.status_code >= 400


def _typed_email() -> str:
    # Hashed, because what is typed into this field may be anything, passwords included. NUL is left out as
    # it is where the name is looked up, or each one typed along would have a count of its own.
    return digest(request.form.get("email", "").replace("\x00", "").strip().lower()[:320])


def _who() -> str:
    # Counted before the guard turns strangers away, so there may be nobody yet.
    return user().ref if current_user.is_authenticated else request.remote_addr or "unknown"


failures_by_ip = limiter.limit("60 per 15 minutes", deduct_when=_is_refused)
failures_by_email = limiter.limit("10 per 15 minutes", key_func=_typed_email, deduct_when=_is_refused)
failures_by_user = limiter.limit("10 per 15 minutes", key_func=_who, deduct_when=_is_refused)
codes_by_ip = limiter.limit("60 per hour", deduct_when=_is_refused)
mails_by_ip = limiter.limit("60 per hour")
mails_by_email = limiter.limit("8 per hour", key_func=_typed_email)


def too_many(failure: RateLimitExceeded) -> ResponseReturnValue:
    """Answer 429 with the minutes until the next try."""
    current = limiter.current_limit
    window = int(failure.limit.limit.get_expiry())
    seconds = window if current is None else int(current.reset_at - utc_now().timestamp())
    return error_page(429, retry_after_seconds=min(max(1, seconds), window))
