"""The pages of one refund, also as answers to forms on them that were refused."""

from typing import Any
from urllib.parse import quote

from flask import current_app, render_template, request
from flask.typing import ResponseReturnValue

from portal.adapters.qr import qr_svg
from portal.domain.payments import queries as payments
from portal.domain.refunds import queries
from portal.domain.refunds.models import Refund
from portal.domain.refunds.rules import OPEN, NotRefundable, Refundable, check_refundable
from portal.domain.refunds.service import left_of
from portal.extensions import site
from portal.flows.prepare_refund import Plan, Review
from portal.kernel.assets import asset_code
from portal.kernel.money import InvalidAmount, format_units, parse_amount
from portal.kernel.refs import from_ref, to_ref
from portal.kernel.sep7 import transaction_uri
from portal.web.access import user
from portal.web.refunds import words
from portal.web.refunds.forms import PrepareForm, RefundForm, SentForm
from portal.web.repeats import once_text

# Above this a phone's camera has trouble with the code; SEP-7 itself sets no limit.
QR_CHARACTERS_MAX = 1200


def form_page(ref: str, form: RefundForm, *, status: int = 200) -> ResponseReturnValue:
    """Render the form of a new refund, or why there can be none.

    :raises PaymentNotFound: for another merchant's.
    """
    payment = payments.get(merchant_id=user().merchant_id, payment_id=from_ref("pay", ref)).payment
    left = left_of(payment)
    obstacle = None
    try:
        check_refundable(Refundable(payment.status, payment.reason, payment.sender, left))
    except NotRefundable as refusal:
        obstacle = refusal.detail
    made = queries.list_for_payment(merchant_id=user().merchant_id, payment_id=payment.id)
    html = render_template(
        "refunds/new.html",
        ref=ref,
        form=form,
        payment=payment,
        left=left,
        made=made,
        obstacle=obstacle,
        states=words.STATUS_WORDS,
    )
    return html, status


def new_form(ref: str) -> RefundForm:
    """Return a form that asks for what the address says, such as an excess, or for the whole rest of a payment."""
    payment = payments.get(merchant_id=user().merchant_id, payment_id=from_ref("pay", ref)).payment
    left = left_of(payment)
    try:
        asked = parse_amount(request.args.get("amount", ""))
    except InvalidAmount:
        asked = left
    return RefundForm(formdata=None, amount=f"{(asked if 0 < asked < left else left).normalize():f}")


def review_page(
    ref: str, form: RefundForm, plan: Plan, review: Review, *, status: int = 200
) -> ResponseReturnValue:
    payment = payments.get(merchant_id=user().merchant_id, payment_id=from_ref("pay", ref)).payment
    html = render_template(
        "refunds/review.html",
        ref=ref,
        form=form,
        payment=payment,
        plan=plan,
        review=review,
        once=once_text(),
        memo_word=words.MEMO_WORDS[plan.memo.kind],
    )
    return html, status


def refund_page(ref: str, *, status: int = 200, **sent: Any) -> ResponseReturnValue:
    """Render a refund; `sent` holds a form as it was typed, and what stood in its way.

    :raises RefundNotFound: for another merchant's.
    """
    merchant_id, refund_id = user().merchant_id, from_ref("rfd", ref)
    refund = queries.get(merchant_id=merchant_id, refund_id=refund_id)
    payment = payments.get(merchant_id=merchant_id, payment_id=refund.payment_id).payment
    is_taken_back = payment.status == "REVERSED"
    forms = {"sent_form": SentForm(formdata=None), "prepare_form": PrepareForm(formdata=None)}
    html = render_template(
        "refunds/show.html",
        ref=ref,
        refund=refund,
        badge=words.STATUS_WORDS[refund.status],
        is_open=refund.status in OPEN,
        is_taken_back=is_taken_back,
        payment_ref=to_ref("pay", refund.payment_id),
        memo_word=words.MEMO_WORDS[refund.memo_type],
        why=words.why(refund.code),
        timeline=words.timeline_of(queries.timeline(merchant_id=merchant_id, refund_id=refund_id)),
        may_write=user().may("admin"),
        **({"uri": None} if is_taken_back else _signing(ref, refund)),
        **{**forms, "refusal": None, "obstacle": None, **sent},
    )
    return html, status


def _signing(ref: str, refund: Refund) -> dict[str, Any]:
    """Return the ways to hand the prepared transaction to a wallet."""
    if refund.envelope_xdr is None or refund.status != "PENDING":
        return {"uri": None}
    config = current_app.config["TAGIH"]
    amount = f"{format_units(refund.amount)} {asset_code(refund.asset)}"
    uri = transaction_uri(
        refund.envelope_xdr,
        signer=refund.source,
        network_passphrase=site.network_passphrase if site.network == "test" else None,
        message=f"Refund of {amount}: {refund.reason}",
    )
    sandbox_url = None
    if config.is_sandbox:
        back = quote(f"{site.public_base_url}/refunds/{ref}", safe="")
        sandbox_url = f"{config.horizon_url}/wallet?uri={quote(uri, safe='')}&return={back}"
    return {
        "uri": uri,
        "qr": qr_svg(uri) if len(uri) <= QR_CHARACTERS_MAX else None,
        "qr_text": f"QR code that opens the refund of {amount} in your wallet",
        "sandbox_url": sandbox_url,
    }
