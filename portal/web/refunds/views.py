"""Refunds: asked for, looked over, signed in the merchant's own wallet, and followed until the network shows them."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.domain.idempotency.rules import IdempotencyInProgress, KeptAnswer
from portal.domain.payments import queries as payments
from portal.domain.refunds import queries
from portal.domain.refunds.models import Refund
from portal.domain.refunds.obstacles import ConfirmationMissing
from portal.flows import prepare_refund as flow
from portal.flows.once import Hooks, Outcome, answer_once
from portal.flows.settle_refund import submit_refund_hash, withdraw_refund_hash
from portal.kernel.clock import utc_now
from portal.kernel.errors import Conflict, Invalid, TagihError, Unavailable
from portal.kernel.refs import from_ref, to_ref
from portal.web.access import merchant_required, user
from portal.web.errors import status_of
from portal.web.forms import add_error, checked
from portal.web.paging import pager_links, window_of
from portal.web.refunds import words
from portal.web.refunds.forms import PrepareForm, RefundForm, SentForm
from portal.web.refunds.page import form_page, new_form, refund_page, review_page
from portal.web.repeats import attempt_of

bp = Blueprint("refunds", __name__)

TABS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("All", "", ()),
    ("To be sent", "open", ("PENDING", "PROCESSING")),
    ("Sent back", "completed", ("COMPLETED",)),
    ("Not sent", "closed", ("CANCELLED", "FAILED")),
)
STATUSES_OF = {value: statuses for _, value, statuses in TABS}
ANSWERS = {
    200: "This refund was completed by that transaction before.",
    201: "The refund is confirmed by the network and in your books.",
    202: "The network does not show this transaction yet. We keep looking and complete the refund as soon as it is there.",
}
SENT_BEFORE = (
    "It was sent before: the refund is confirmed by the network and in your books. Sign nothing more."
)


@bp.get("/refunds")
@merchant_required("viewer")
def index() -> ResponseReturnValue:
    wanted, window = request.args.get("status", ""), window_of(request.args)
    status = wanted if wanted in STATUSES_OF else ""
    page = queries.list_page(
        merchant_id=user().merchant_id,
        network=user().network,
        statuses=STATUSES_OF[status],
        after=window.after,
        before=window.before,
    )
    first = queries.place_of(page.refunds[0]) if page.refunds else None
    pager = pager_links("refunds.index", {"status": status} if status else {}, first, page)
    return render_template(
        "refunds/index.html",
        refunds=page.refunds,
        status=status,
        tabs=TABS,
        pager=pager,
        states=words.STATUS_WORDS,
    )


@bp.get("/payments/<ref>/refunds/new")
@merchant_required("admin")
def new(ref: str) -> ResponseReturnValue:
    return form_page(ref, new_form(ref))


@bp.post("/payments/<ref>/refunds/review")
@merchant_required("admin")
def review(ref: str) -> ResponseReturnValue:
    """Ask the network about both accounts and show what is about to be promised; nothing is written."""
    form = RefundForm()
    if "change" in request.form:
        return form_page(ref, form)
    plan = form.plan()
    if plan is None:
        return form_page(ref, form, status=422)
    try:
        found = flow.review_refund(**_scope(), payment_id=from_ref("pay", ref), plan=plan)
    except (Invalid, Conflict) as refusal:
        return _refused(ref, form, refusal)
    return review_page(ref, form, plan, found)


@bp.post("/payments/<ref>/refunds")
@merchant_required("admin")
def create(ref: str) -> ResponseReturnValue:
    form = RefundForm()
    plan = form.plan()
    if plan is None:
        return form_page(ref, form, status=422)
    try:
        outcome = _create_once(ref, plan)
    except IdempotencyInProgress:
        return redirect(url_for(".of_payment", ref=ref), 303)
    except ConfirmationMissing as refusal:
        add_error(form.confirmed, refusal)
        return review_page(ref, form, plan, flow.Review(True, refusal.detail), status=422)
    except (Invalid, Conflict) as refusal:
        return _refused(ref, form, refusal)
    if not outcome.replayed:
        flash(outcome.answer.body.decode(), "success")
    return redirect(url_for(".show", ref=outcome.answer.headers["Refund"]), 303)


@bp.get("/payments/<ref>/refunds")
@merchant_required("viewer")
def of_payment(ref: str) -> ResponseReturnValue:
    """List the refunds of one payment; also where whoever reloads the form's address arrives."""
    merchant_id, payment_id = user().merchant_id, from_ref("pay", ref)
    payments.get(merchant_id=merchant_id, payment_id=payment_id)
    made = queries.list_for_payment(merchant_id=merchant_id, payment_id=payment_id)
    return render_template(
        "refunds/index.html", refunds=made, payment_ref=ref, pager={}, tabs=(), states=words.STATUS_WORDS
    )


@bp.get("/payments/<ref>/refunds/review", endpoint="review_again")
@merchant_required("admin")
def again(ref: str) -> ResponseReturnValue:
    """Lead back to the form whoever reloads the address that it was sent to."""
    return redirect(url_for(".new", ref=ref), 303)


@bp.get("/refunds/<ref>")
@merchant_required("viewer")
def show(ref: str) -> ResponseReturnValue:
    return refund_page(ref)


@bp.post("/refunds/<ref>/submissions")
@merchant_required("admin")
def submit(ref: str) -> ResponseReturnValue:
    """Look up the transaction that was sent and complete the refund if it is it."""
    form = SentForm()
    if not form.validate_on_submit():
        return refund_page(ref, status=422, sent_form=form)
    text = checked(form.transaction_hash)
    try:
        answer = submit_refund_hash(**_scope(), refund_id=from_ref("rfd", ref), text=text, now=utc_now())
    except Conflict as refusal:
        add_error(form.transaction_hash, refusal)
        return refund_page(ref, status=409, sent_form=form)
    if answer.code is not None:
        refusal_words = words.refusal_of(answer.code, answer.rules)
        return refund_page(ref, status=answer.status, sent_form=form, refusal=refusal_words)
    flash(ANSWERS[answer.status], "success")
    return redirect(url_for(".show", ref=ref), 303)


@bp.post("/refunds/<ref>/withdrawals")
@merchant_required("admin")
def withdraw(ref: str) -> ResponseReturnValue:
    try:
        withdraw_refund_hash(**_scope(), refund_id=from_ref("rfd", ref), now=utc_now())
    except Conflict as refusal:
        return refund_page(ref, status=409, obstacle=refusal.detail)
    flash("We do not look for that transaction any more.", "success")
    return redirect(url_for(".show", ref=ref), 303)


@bp.post("/refunds/<ref>/preparations")
@merchant_required("admin")
def prepare(ref: str) -> ResponseReturnValue:
    form = PrepareForm()
    try:
        refund = flow.prepare_again(
            **_scope(), refund_id=from_ref("rfd", ref), is_confirmed=bool(form.confirmed.data), now=utc_now()
        )
    except ConfirmationMissing as refusal:
        add_error(form.confirmed, refusal)
        return refund_page(ref, status=422, prepare_form=form)
    except (Invalid, Conflict, Unavailable) as refusal:
        return refund_page(ref, status=status_of(refusal), obstacle=refusal.detail)
    is_sent = refund.status == "COMPLETED"
    flash(SENT_BEFORE if is_sent else "The transaction is ready. Sign it with your wallet.", "success")
    return redirect(url_for(".show", ref=ref), 303)


@bp.post("/refunds/<ref>/cancel")
@merchant_required("admin")
def cancel(ref: str) -> ResponseReturnValue:
    try:
        flow.cancel_refund(**_scope(), refund_id=from_ref("rfd", ref), now=utc_now())
    except Conflict as refusal:
        return refund_page(ref, status=409, obstacle=refusal.detail)
    flash("The refund is cancelled. Its amount is free again.", "success")
    return redirect(url_for(".show", ref=ref), 303)


@bp.get("/refunds/<ref>/submissions", endpoint="submit_again")
@bp.get("/refunds/<ref>/withdrawals", endpoint="withdraw_again")
@bp.get("/refunds/<ref>/preparations", endpoint="prepare_again")
@bp.get("/refunds/<ref>/cancel", endpoint="cancel_again")
@merchant_required("viewer")
def back(ref: str) -> ResponseReturnValue:
    """Lead back whoever opens the address of a form again."""
    return redirect(url_for(".show", ref=ref), 303)


def _scope() -> dict[str, Any]:
    return {"merchant_id": user().merchant_id, "network": user().network}


def _create_once(ref: str, plan: flow.Plan) -> Outcome:
    """Promise a refund, or find the one that this form made before."""
    payment_id, now = from_ref("pay", ref), utc_now()

    def effect(hooks: Hooks) -> None:
        flow.create_refund(
            **_scope(), payment_id=payment_id, plan=plan, now=now,
            prepare=hooks.prepare, finish=lambda refund: hooks.finish(_kept(refund)),
        )  # fmt: skip

    return answer_once(attempt_of("/refunds/new"), effect, now=now, asks_network=True)


def _kept(refund: Refund) -> KeptAnswer:
    words_of_it = _promised(refund.envelope_xdr is not None)
    return KeptAnswer(303, words_of_it.encode(), {"Refund": to_ref("rfd", refund.id)})


def _refused(ref: str, form: RefundForm, refusal: TagihError) -> ResponseReturnValue:
    form.refuse(refusal)
    return form_page(ref, form, status=status_of(refusal))


def _promised(is_prepared: bool) -> str:
    if is_prepared:
        return "The refund is ready. Sign it with your wallet; nothing has been sent yet."
    return "The refund is noted. The network does not answer right now: prepare its transaction in a moment."
