"""What people decide about a payment: give it to invoices, undo that, mark it for refund, ignore it, restore it."""

from collections.abc import Callable
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.domain.invoices.models import Invoice
from portal.domain.invoices.queries import InvoiceNotFound
from portal.domain.payments import inbox, queries
from portal.domain.payments.booking import Desk
from portal.domain.payments.decisions import (
    NOTE_MAX,
    NoteMissing,
    Part,
    PartsInvalid,
    PaymentNotUnmatched,
)
from portal.domain.payments.matching import NEVER_MATCHED, MatchRefused
from portal.flows import settle_payment as flow
from portal.flows.settle_payment import Given, PreviewOutdated
from portal.kernel.clock import utc_now
from portal.kernel.errors import Conflict
from portal.kernel.refs import from_ref
from portal.web.access import merchant_required, user
from portal.web.clients.forms import TypedField
from portal.web.filters import asset_code, display_amount
from portal.web.payments import words
from portal.web.payments.blueprint import bp
from portal.web.payments.forms import MatchForm
from portal.web.payments.page import payment_page


@bp.get("/<ref>/match")
@merchant_required("admin")
def preview(ref: str) -> ResponseReturnValue:
    """Say what a match would do, before anything is done."""
    return _preview_page(ref, MatchForm.read(request.args))


@bp.get("/<ref>/split")
@merchant_required("admin")
def split(ref: str) -> ResponseReturnValue:
    """Show the rows in which a payment is shared out; asked again with what was typed, it adds some more."""
    form = MatchForm.read({name: text for name, text in request.args.items() if name != "invoice"})
    form.add_rows()
    try:
        return _split_page(ref, form, status=200)
    except PaymentNotUnmatched as refusal:
        return payment_page(ref, status=409, refusal=refusal.detail)


@bp.post("/<ref>/match")
@merchant_required("admin")
def match(ref: str) -> ResponseReturnValue:
    form = MatchForm.read(request.form)

    def work(parts: list[Part]) -> ResponseReturnValue:
        said = form.announced()
        given = flow.match_payment(
            desk=_desk(), payment_id=from_ref("pay", ref), parts=parts, note=form.note, announced=said
        )
        flash(_said(given), "success")
        return redirect(url_for("payments.show", ref=ref), 303)

    try:
        return _attempt(ref, form, work)
    except PreviewOutdated as refusal:
        return _preview_page(ref, form, status=409, refusal=refusal.detail)


@bp.get("/<ref>/unmatch")
@merchant_required("admin")
def ask_unmatch(ref: str) -> ResponseReturnValue:
    """Say what undoing a match takes from which invoice."""
    try:
        taken = flow.preview_undo(desk=_desk(), payment_id=from_ref("pay", ref))
    except Conflict as refusal:
        return payment_page(ref, status=409, refusal=refusal.detail)
    seen = queries.get(merchant_id=user().merchant_id, payment_id=from_ref("pay", ref))
    return render_template("payments/undo.html", ref=ref, payment=seen.payment, taken=taken)


@bp.post("/<ref>/unmatch")
@merchant_required("admin")
def unmatch(ref: str) -> ResponseReturnValue:
    return _decided(
        ref,
        lambda desk: flow.undo_match(desk=desk, payment_id=from_ref("pay", ref)),
        "The match is undone. The money is unmatched again.",
    )


@bp.post("/<ref>/ignore")
@merchant_required("admin")
def ignore(ref: str) -> ResponseReturnValue:
    note = request.form.get("note", "")
    try:
        flow.ignore_payment(desk=_desk(), payment_id=from_ref("pay", ref), note=note)
    except NoteMissing as refusal:
        return payment_page(ref, status=422, note=TypedField("note", note, [refusal.detail]))
    except Conflict as refusal:
        return payment_page(ref, status=409, refusal=refusal.detail, note=TypedField("note", note))
    flash("It is set aside. It stays in your books as unmatched money.", "success")
    return redirect(url_for("payments.show", ref=ref), 303)


@bp.post("/<ref>/restore")
@merchant_required("admin")
def restore(ref: str) -> ResponseReturnValue:
    return _decided(
        ref,
        lambda desk: flow.restore_payment(desk=desk, payment_id=from_ref("pay", ref)),
        "It is back in the inbox.",
    )


@bp.post("/<ref>/refund-due")
@merchant_required("admin")
def mark_for_refund(ref: str) -> ResponseReturnValue:
    return _decided(
        ref,
        lambda desk: flow.mark_for_refund(desk=desk, payment_id=from_ref("pay", ref), is_due=True),
        "Marked for refund.",
    )


@bp.post("/<ref>/refund-not-due")
@merchant_required("admin")
def unmark_for_refund(ref: str) -> ResponseReturnValue:
    return _decided(
        ref,
        lambda desk: flow.mark_for_refund(desk=desk, payment_id=from_ref("pay", ref), is_due=False),
        "It is not marked for refund any more.",
    )


@bp.get("/<ref>/ignore", endpoint="ignore_again")
@bp.get("/<ref>/restore", endpoint="restore_again")
@bp.get("/<ref>/refund-due", endpoint="mark_again")
@bp.get("/<ref>/refund-not-due", endpoint="unmark_again")
@merchant_required("viewer")
def back(ref: str) -> ResponseReturnValue:
    """Lead back whoever opens the address of a form again."""
    return redirect(url_for("payments.show", ref=ref), 303)


def _desk() -> Desk:
    return Desk(user().merchant_id, user().network, utc_now())


def _decided(ref: str, work: Callable[[Desk], object], said: str) -> ResponseReturnValue:
    try:
        work(_desk())
    except Conflict as refusal:
        return payment_page(ref, status=409, refusal=refusal.detail)
    flash(said, "success")
    return redirect(url_for("payments.show", ref=ref), 303)


def _attempt(
    ref: str, form: MatchForm, work: Callable[[list[Part]], ResponseReturnValue]
) -> ResponseReturnValue:
    """Do `work` with the parts that the form names, or show it again with what is wrong."""
    try:
        parts = _parts(ref, form)
        return _refused_page(ref, form) if parts is None else work(parts)
    except PaymentNotUnmatched as refusal:
        return payment_page(ref, status=409, refusal=refusal.detail)
    except (MatchRefused, PartsInvalid, InvoiceNotFound) as refusal:
        form.refused(refusal)
        return _refused_page(ref, form)


def _parts(ref: str, form: MatchForm) -> list[Part] | None:
    """Return what the form says, or None after noting what is wrong with it.

    :raises PaymentNotFound: for another merchant's.
    :raises PaymentNotUnmatched: before anything of the form is looked at.
    """
    seen = _unmatched(ref)

    def find(name: str) -> Invoice:
        return inbox.find_invoice(merchant_id=user().merchant_id, network=user().network, name=name)

    def refuse(invoice: Invoice) -> MatchRefused | None:
        return inbox.refusal_of(seen.payment, seen.transaction, invoice)

    return form.parse(left=inbox.left_of(seen.payment), find=find, refuse=refuse)


def _unmatched(ref: str) -> queries.SeenPayment:
    seen = queries.get(merchant_id=user().merchant_id, payment_id=from_ref("pay", ref))
    if seen.payment.status != "UNMATCHED":
        raise PaymentNotUnmatched("Somebody decided about this payment in the meantime.")
    if seen.payment.reason in NEVER_MATCHED:
        raise PaymentNotUnmatched("The money is no longer there, so it cannot pay an invoice.")
    return seen


def _preview_page(
    ref: str, form: MatchForm, *, status: int = 200, refusal: str | None = None
) -> ResponseReturnValue:
    def work(parts: list[Part]) -> ResponseReturnValue:
        given = flow.preview_match(desk=_desk(), payment_id=from_ref("pay", ref), parts=parts)
        form.settle(parts)
        html = render_template(
            "payments/match.html",
            ref=ref,
            payment=_unmatched(ref).payment,
            given=given,
            form=form,
            refusal=refusal,
            overruled=words.OVERRULED,
            note_max=NOTE_MAX,
            back=_way_back(ref, form),
        )
        return html, status

    return _attempt(ref, form, work)


def _way_back(ref: str, form: MatchForm) -> str:
    """Return where the parts were chosen, with all of them still there."""
    if form.is_single:
        return url_for("payments.show", ref=ref)
    typed: dict[str, Any] = {field.id: field.value for field in form}
    return url_for("payments.split", ref=ref, **typed)


def _refused_page(ref: str, form: MatchForm) -> ResponseReturnValue:
    """Show the form again where it was filled in."""
    if form.is_single:
        return payment_page(ref, status=form.status, match_form=form)
    return _split_page(ref, form, status=form.status)


def _split_page(ref: str, form: MatchForm, *, status: int) -> ResponseReturnValue:
    seen = _unmatched(ref)
    found = inbox.propose(merchant_id=user().merchant_id, network=user().network, seen=[seen])
    html = render_template(
        "payments/split.html",
        ref=ref,
        payment=seen.payment,
        left=inbox.left_of(seen.payment),
        form=form,
        proposals=found.get(seen.payment.id, []),
        likelihoods=words.likelihoods,
    )
    return html, status


def _said(given: list[Given]) -> str:
    parts = [f"{display_amount(each.amount)} {asset_code(each.asset)} to {each.number}" for each in given]
    return f"Matched: {', '.join(parts)}."
