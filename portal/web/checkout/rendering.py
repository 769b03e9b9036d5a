"""Pages and statuses as bytes, kept in Redis and finished on the way out.

What differs from request to request (nonce, server time, the slow-confirmation banner) is a mark in the
kept bytes. Marks derive from the secret key: every process makes the same, nobody else can write one.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from flask import Response, current_app, g, render_template, request

from portal.adapters import page_cache
from portal.domain.payments.checkout import Checkout, get_checkout
from portal.extensions import site
from portal.kernel.clock import iso, iso_or_none
from portal.kernel.money import format_units
from portal.web.checkout import watcher
from portal.web.checkout.page import CheckoutPage, build_page, settlement_of
from portal.web.headers import new_nonce

LOCALE = "en"
ETAG_DIGITS = 24
POLL_OPEN_MS = 2_000
POLL_CLOSED_MS = 10_000
ADDRESS_CHARACTERS = 56


def page_response(token: str, now: datetime) -> Response:
    """Answer the page, from Redis when it is there.

    :raises InvoiceNotFound: for a token without a page.
    """
    part = f"page:{LOCALE}:{_edition()}"
    body = _kept(token, part, now, lambda checkout: _render(build_page(token, checkout, now=now)))
    return _finished(body, now)


def fresh_page(page: CheckoutPage, now: datetime, *, status: int = 200) -> Response:
    """Answer a page that is one visitor's own, such as the answer to what he typed; never kept."""
    _remember_look(page.checkout, now)
    return _finished(_render(page), now, status=status)


def status_response(token: str, now: datetime) -> Response:
    """Answer the JSON of design section 9, or 304 when the reader has this state already."""
    kept = _kept(token, "status", now, _status)
    etag, body = kept[:ETAG_DIGITS].decode(), kept[ETAG_DIGITS:]
    if request.if_none_match.contains_weak(etag):
        response = Response(status=304)
    else:
        response = Response(body.replace(_mark("now"), iso(now).encode()), mimetype="application/json")
    response.set_etag(etag, weak=True)
    response.headers["Cache-Control"] = "no-cache"
    return response


def _kept(token: str, part: str, now: datetime, make: Callable[[Checkout], bytes]) -> bytes:
    """Return the bytes of `part`; one round trip and no SQL on a hit."""
    held = page_cache.read(token, part)
    if held.content is not None:
        return held.content
    # The order decides: whoever changes the rows after this line changes the generation too.
    generation = held.generation or page_cache.generation(token)
    checkout = get_checkout(token=token)
    content = make(checkout)
    page_cache.fill(
        token, part, generation=generation, content=content, seconds=_seconds_until_it_changes(checkout, now)
    )
    _remember_look(checkout, now)
    return content


def _remember_look(checkout: Checkout, now: datetime) -> None:
    watcher.remember(checkout.network, checkout.destination, checkout.watcher_seen_at, now)


def _seconds_until_it_changes(checkout: Checkout, now: datetime) -> int:
    """Return how long a copy may live: time alone expires an invoice that can be paid."""
    left = int((checkout.expires_at - now).total_seconds())
    if _may_be_paid(checkout) and left > 0:
        return min(page_cache.PAGE_SECONDS, left)
    return page_cache.PAGE_SECONDS


def _may_be_paid(checkout: Checkout) -> bool:
    return checkout.status == "PENDING" or checkout.is_owed_again


def _render(page: CheckoutPage) -> bytes:
    g.time_zone = page.checkout.time_zone
    g.csp_nonce = _mark("nonce").decode()
    # Whose look decides travels in the kept page: a hit knows nothing else of the invoice.
    slow_mark = _mark("slow").decode() + page.checkout.destination
    html = render_template(
        "checkout/page.html", page=page, now_mark=_mark("now").decode(), slow_mark=slow_mark
    )
    return html.encode()


def _finished(body: bytes, now: datetime, *, status: int = 200) -> Response:
    g.csp_nonce = new_nonce()
    body = body.replace(_mark("nonce"), g.csp_nonce.encode())
    body = body.replace(_mark("now"), iso(now).encode())
    return Response(_with_banner(body, now), status=status, mimetype="text/html")


def _with_banner(body: bytes, now: datetime) -> bytes:
    before, mark, after = body.partition(_mark("slow"))
    if not mark:
        return body
    address, after = after[:ADDRESS_CHARACTERS].decode(), after[ADDRESS_CHARACTERS:]
    is_behind = watcher.is_behind(watcher.last_seen_at(site.network, address, now), now)
    return before + (_banner() if is_behind else b"") + after


@cache
def _banner() -> bytes:
    return current_app.jinja_env.get_template("checkout/slow.html").render().encode()


def _status(checkout: Checkout) -> bytes:
    latest = checkout.latest
    document: dict[str, Any] = {
        "status": checkout.status,
        "settlement": settlement_of(checkout).value,
        "amount_received": format_units(checkout.amount_received),
        "amount_due": format_units(checkout.amount - checkout.amount_received),
        "flags": sorted(checkout.flags),
        "expires_at": iso_or_none(checkout.expires_at),
        "server_now": _mark("now").decode(),
        "poll_after_ms": POLL_OPEN_MS if _may_be_paid(checkout) else POLL_CLOSED_MS,
        "submission": None if latest is None else {"state": latest.state, "code": latest.code},
    }
    body = json.dumps(document, separators=(",", ":")).encode()
    return hashlib.sha256(body).hexdigest()[:ETAG_DIGITS].encode() + body


def _mark(name: str) -> bytes:
    secret = current_app.config["TAGIH"].secret_key
    return _mark_of(secret, name)


@cache
def _mark_of(secret: str, name: str) -> bytes:
    return hmac.new(secret.encode(), f"checkout {name}".encode(), hashlib.sha256).hexdigest()[:32].encode()


@cache
def _edition() -> str:
    """Return a digest of templates and styles, so that a new release never shows pages of the old one."""
    root = Path(current_app.root_path).parent
    sources = sorted((root / "templates/checkout").glob("*.html"))
    sources += sorted((root / "templates/layouts").glob("*.html")) + sorted(
        (root / "static/css").glob("*.css")
    )
    sources += [root / "static/js/checkout.js", root / "static/js/copy.js"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
