"""Security headers, the request id and the nonce of scripts (design, section 11).

`init_headers` goes before every other hook of the app, so that whatever a later hook refuses has its
request id, and so that error pages carry the headers too.
"""

import re
import secrets

from flask import Flask, Response, current_app, g, request

NONCE_BYTES = 16
# Two years, the least that browsers' preload lists take.
HSTS_SECONDS = 63_072_000
# Files whose URL carries the hash of their content never change under that URL.
FOREVER = "public, max-age=31536000, immutable"
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")

_FIXED = {
    "X-Content-Type-Options": "nosniff",
    # Payment pages carry a capability in their path, which must not reach other sites; Flask-WTF's check
    # of the referrer on https needs our own pages to send theirs to us.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_FIXED_NAMES = tuple((name.lower(), name, value) for name, value in _FIXED.items())


def init_headers(app: Flask) -> None:
    app.before_request(_name_request)
    app.after_request(_set_headers)
    app.jinja_env.globals["csp_nonce"] = csp_nonce
    app.jinja_env.globals["request_id"] = request_id


def new_nonce() -> str:
    return secrets.token_urlsafe(NONCE_BYTES)


def csp_nonce() -> str:
    """Return this request's script nonce; a page that is cached sets `g.csp_nonce` to a mark of its own
    while it renders, then to `new_nonce()`, and puts that in place of the mark."""
    if "csp_nonce" not in g:
        g.csp_nonce = new_nonce()
    return str(g.csp_nonce)


def request_id() -> str:
    """Return this request's id, which logs, audit rows, problem JSON and error pages share."""
    if "request_id" not in g:
        _name_request()
    return str(g.request_id)


def content_security_policy(nonce: str) -> str:
    """Return the policy of our pages: scripts by nonce alone, styles and fonts our own, nothing framed."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


def _name_request() -> None:
    inbound = request.headers.get("X-Request-Id", "")
    g.request_id = inbound if _SANE_REQUEST_ID.fullmatch(inbound) else secrets.token_hex(12)


def _set_headers(response: Response) -> Response:
    headers = response.headers
    # Compared once: `setdefault` reads the whole list again for each name.
    present = {name.lower() for name, _ in headers}
    if "x-request-id" not in present:
        headers.add("X-Request-Id", request_id())
    if "content-security-policy" not in present:
        headers.add("Content-Security-Policy", content_security_policy(csp_nonce()))
    for lowered, name, value in _FIXED_NAMES:
        if lowered not in present:
            headers.add(name, value)
    config = current_app.config.get("TAGIH")
    if config is not None and config.is_production:
        headers.setdefault("Strict-Transport-Security", f"max-age={HSTS_SECONDS}")
    if request.endpoint == "static":
        if "v" in request.args and response.status_code in (200, 304):
            headers["Cache-Control"] = FOREVER
    else:
        headers.setdefault("Cache-Control", "no-store")
    return response
