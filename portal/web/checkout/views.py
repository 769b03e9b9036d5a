"""The public page of an invoice: anybody who holds its link may see it, pay it and report a payment."""

import re
from functools import partial
from uuid import UUID

from flask import Blueprint, Response, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_limiter.util import get_remote_address

from portal.adapters.qr import qr_svg
from portal.db import enter_tenant
from portal.domain.invoices import queries as invoices
from portal.domain.invoices.documents import plain
from portal.domain.payments.checkout import get_checkout
from portal.domain.payments.rules import HashMalformed
from portal.extensions import csrf, limiter, site
from portal.flows.submit_hash import submit_hash
from portal.kernel.clock import utc_now
from portal.kernel.refs import InvalidRef, from_ref, to_ref
from portal.web.access import checkout_public
from portal.web.checkout.origin import refuse_foreign
from portal.web.checkout.page import build_page
from portal.web.checkout.rendering import fresh_page, page_response, status_response

bp = Blueprint("checkout", __name__, url_prefix="/i")
bp.add_app_template_filter(plain, "plain")

# Each new hash may cost a look at the network; a person needs a handful, a shop's proxy some more.
SUBMISSIONS_LIMIT = "240 per minute;2000 per hour"
HASH_CHARACTERS = 64
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,64}")


def _submissions_limit() -> str:
    return str(current_app.config.get("CHECKOUT_SUBMISSIONS_LIMIT", SUBMISSIONS_LIMIT))


def _visitor_at_page() -> str:
    return f"{get_remote_address()}:{(request.view_args or {}).get('token')}"


@bp.get("/<token>")
@checkout_public
def show(token: str) -> ResponseReturnValue:
    _check_shape(token)
    now = utc_now()
    submission_id = _submission_id()
    if submission_id is None:
        return page_response(token, now)
    checkout = get_checkout(token=token, submission_id=submission_id)
    return fresh_page(build_page(token, checkout, now=now), now)


@bp.get("/<token>/status")
@checkout_public
def status(token: str) -> ResponseReturnValue:
    _check_shape(token)
    return status_response(token, utc_now())


@bp.get("/<token>/qr.svg")
@checkout_public
def qr(token: str) -> ResponseReturnValue:
    _check_shape(token)
    page = build_page(token, get_checkout(token=token), now=utc_now())
    if page.how is None:
        raise invoices.InvoiceNotFound("This invoice is not open for payment.")
    response = Response(
        qr_svg(page.how.uri, title=page.how.qr_text, standalone=True), mimetype="image/svg+xml"
    )
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    return response.make_conditional(request)


@bp.post("/<token>/submissions")
@checkout_public
@limiter.limit(_submissions_limit, key_func=_visitor_at_page)
def submit(token: str) -> ResponseReturnValue:
    refuse_foreign(request)
    merchant_id, invoice_id = _enter(token)
    typed, now = request.form.get("transaction_hash", ""), utc_now()
    submit_here = partial(submit_hash, merchant_id=merchant_id, network=site.network, invoice_id=invoice_id)
    try:
        answer = submit_here(text=typed, origin="page", now=now)
    except HashMalformed as refusal:
        error = _sentence(typed, refusal)
        page = build_page(token, get_checkout(token=token), now=now, typed=typed, error=error)
        return fresh_page(page, now, status=422)
    submission = to_ref("sub", answer.submission.id)
    return redirect(url_for(".show", token=token, submission=submission), 303)


# It has no session that a foreign form could ride on; `refuse_foreign` keeps other sites out.
csrf.exempt(submit)


@bp.get("/<token>/submissions")
@checkout_public
def back(token: str) -> ResponseReturnValue:
    """Lead back whoever reloads the address of a form that was refused."""
    return redirect(url_for(".show", token=token), 303)


def _enter(token: str) -> tuple[UUID, UUID]:
    _check_shape(token)
    found = invoices.resolve_checkout(token)
    if found is None:
        raise invoices.InvoiceNotFound("No such invoice.")
    enter_tenant(merchant_id=found[0])
    return found


def _check_shape(token: str) -> None:
    """Keep what cannot be a token from the database, which refuses a NUL with an error."""
    if _TOKEN.fullmatch(token) is None:
        raise invoices.InvoiceNotFound("No such invoice.")


def _submission_id() -> UUID | None:
    """Return the submission the address names; a mistyped one shows the page without it."""
    ref = request.args.get("submission")
    if ref is None:
        return None
    try:
        return from_ref("sub", ref)
    except InvalidRef:
        return None


def _sentence(typed: str, refusal: HashMalformed) -> str:
    count = len(typed.strip())
    if count == 0:
        return "Enter the transaction hash that your wallet shows for the payment."
    return f"{refusal.detail} This has {'other characters' if count == HASH_CHARACTERS else count}."
