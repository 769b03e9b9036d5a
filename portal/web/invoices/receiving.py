"""Money that a person brings to an invoice: a transaction named by its hash, or cash and bank transfers."""

from uuid import UUID

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal.domain.idempotency.rules import KeptAnswer
from portal.domain.invoices import queries
from portal.domain.payments import external
from portal.domain.payments.models import ExternalPayment
from portal.flows import settle_invoice
from portal.flows.once import Hooks, answer_once
from portal.flows.settle_invoice import Place, Received
from portal.flows.submit_hash import submit_hash
from portal.kernel.clock import utc_now
from portal.kernel.errors import Conflict, Invalid
from portal.kernel.refs import from_ref
from portal.web.access import merchant_required, user
from portal.web.errors import status_of
from portal.web.forms import checked
from portal.web.invoices.editing import bp
from portal.web.invoices.page import invoice_page, refused_page
from portal.web.invoices.receiving_forms import METHOD_WORDS, ExternalForm, HashForm, UndoForm, note
from portal.web.invoices.refusals import refusal_of
from portal.web.repeats import attempt_of

__all__ = ["bp"]

ANSWERS = {
    200: "This transaction was credited to this invoice before. It counts once.",
    201: "The transaction is found and credited to this invoice.",
    202: "The network does not show this transaction yet. We keep checking and credit it as soon as it is there.",
}
DONE = KeptAnswer(303, b"", {})


@bp.post("/invoices/<ref>/submissions")
@merchant_required("seller")
def record(ref: str) -> ResponseReturnValue:
    """Look up the transaction that somebody names and credit what it pays, by the rules of every other entry."""
    form, merchant_id, network = HashForm(), user().merchant_id, user().network
    if not form.validate_on_submit():
        return invoice_page(ref, status=422, hash_form=form)
    text, invoice_id = checked(form.transaction_hash), from_ref("inv", ref)
    answer = submit_hash(
        merchant_id=merchant_id, network=network, invoice_id=invoice_id, text=text, origin="portal", now=utc_now()
    )  # fmt: skip
    if answer.status >= 400:
        refusal = refusal_of(answer.submission, merchant_id=merchant_id, network=network)
        return invoice_page(ref, status=answer.status, hash_form=form, refusal=refusal)
    flash(ANSWERS[answer.status], "success")
    return to_invoice(ref)


@bp.post("/invoices/<ref>/external-payments")
@merchant_required("admin")
def record_external(ref: str) -> ResponseReturnValue:
    form, place = ExternalForm(), place_of(ref)
    if not form.validate_on_submit():
        return invoice_page(ref, status=422, external_form=form)
    received = Received(
        checked(form.amount), form.method.data, checked(form.reason), checked(form.received_on)
    )

    def effect(hooks: Hooks) -> None:
        settle_invoice.record_external(
            place, received, prepare=hooks.prepare, finish=lambda: hooks.finish(DONE)
        )

    try:
        answer_once(attempt_of("/invoices/external-payments"), effect, now=place.now)
    except (Conflict, Invalid) as refusal:
        return refused_page(ref, form, refusal, external_form=form)
    flash("The payment is recorded and counts for this invoice.", "success")
    return to_invoice(ref)


@bp.get("/invoices/<ref>/external-payments/<external_ref>/undo")
@merchant_required("admin")
def ask_undo_external(ref: str, external_ref: str) -> ResponseReturnValue:
    return _undo_page(ref, external_ref, UndoForm(formdata=None))


@bp.post("/invoices/<ref>/external-payments/<external_ref>/undo")
@merchant_required("admin")
def undo_external(ref: str, external_ref: str) -> ResponseReturnValue:
    form, place = UndoForm(), place_of(ref)
    row, _ = _external_of(place.invoice_id, external_ref)
    if not form.validate_on_submit():
        return _undo_page(ref, external_ref, form, status=422)
    try:
        settle_invoice.undo_external(place, external_id=row.id, reason=checked(form.reason))
    except (Conflict, Invalid) as refusal:
        note(form, refusal)
        return _undo_page(ref, external_ref, form, status=status_of(refusal))
    flash("The payment is undone. It stays in the list, with your reason in the timeline.", "success")
    return to_invoice(ref)


@bp.get("/invoices/<ref>/submissions", endpoint="back_from_submissions")
@bp.get("/invoices/<ref>/external-payments", endpoint="back_from_external_payments")
@bp.get("/invoices/<ref>/credit", endpoint="back_from_credit")
@merchant_required("viewer")
def back(ref: str) -> ResponseReturnValue:
    """Lead back whoever reloads the address of a form that was refused."""
    return to_invoice(ref)


def place_of(ref: str) -> Place:
    return Place(user().merchant_id, user().network, from_ref("inv", ref), utc_now())


def to_invoice(ref: str) -> ResponseReturnValue:
    return redirect(url_for("invoices.show", ref=ref), 303)


def _external_of(invoice_id: UUID, external_ref: str) -> tuple[ExternalPayment, bool]:
    """Return a payment of this invoice that was recorded by hand, and whether it still counts."""
    wanted = from_ref("ext", external_ref)
    for row, counts in external.list_external(merchant_id=user().merchant_id, invoice_id=invoice_id):
        if row.id == wanted:
            return row, counts
    raise external.ExternalPaymentNotFound("No such payment.")


def _undo_page(ref: str, external_ref: str, form: UndoForm, *, status: int = 200) -> ResponseReturnValue:
    invoice = queries.get(merchant_id=user().merchant_id, invoice_id=from_ref("inv", ref))
    row, counts = _external_of(invoice.id, external_ref)
    html = render_template(
        "invoices/undo_external.html",
        ref=ref,
        external_ref=external_ref,
        invoice=invoice,
        row=row,
        is_standing=counts,
        method=METHOD_WORDS[row.method],
        left=invoice.amount_received - row.amount,
        form=form,
    )
    return html, status
