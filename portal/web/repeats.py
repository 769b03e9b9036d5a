"""Forms that are sent twice: their own random text and all that was typed make two sendings one request."""

import secrets

from flask import request

from portal.domain.idempotency.rules import Attempt, hash_of_body
from portal.web.access import user

ONCE_MAX = 64


def once_text() -> str:
    """Return the random text of the form that was sent, or of a form that is shown for the first time."""
    return request.form.get("once", "")[:ONCE_MAX] or secrets.token_urlsafe(16)


def attempt_of(route: str) -> Attempt | None:
    """Return what a repetition of this form is known by; None when it carries no usable random text."""
    once = request.form.get("once", "")[:ONCE_MAX]
    typed = sorted((name, value) for name, value in request.form.items() if name != "csrf_token")
    if not once or not once.isascii() or not once.isprintable():
        return None
    body_hash = hash_of_body([request.path, typed])
    return Attempt(user().merchant_id, user().network, f"page:{route}", f"{once}-{body_hash}", body_hash)
