"""Client credit on an invoice: used to pay it, or made of what it received so that it can be cancelled."""

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal.domain.invoices import queries
from portal.domain.payments import external
from portal.flows import settle_invoice
from portal.flows.once import Hooks, answer_once
from portal.kernel.assets import asset_code
from portal.kernel.errors import Conflict, Invalid
from portal.kernel.money import display
from portal.kernel.refs import from_ref
from portal.web.access import merchant_required, user
from portal.web.forms import checked
from portal.web.invoices.page import invoice_page, refused_page
from portal.web.invoices.receiving import DONE, bp, place_of, to_invoice
from portal.web.invoices.receiving_forms import CreditForm
from portal.web.repeats import attempt_of

__all__ = ["bp"]


@bp.post("/invoices/<ref>/credit")
@merchant_required("admin")
def use_credit(ref: str) -> ResponseReturnValue:
    form, place = CreditForm(), place_of(ref)
    if not form.validate_on_submit():
        return invoice_page(ref, status=422, credit_form=form)
    amount = checked(form.amount)

    def effect(hooks: Hooks) -> None:
        settle_invoice.apply_credit(place, amount, prepare=hooks.prepare, finish=lambda: hooks.finish(DONE))

    try:
        answer_once(attempt_of("/invoices/credit"), effect, now=place.now)
    except (Conflict, Invalid) as refusal:
        return refused_page(ref, form, refusal, credit_form=form)
    flash("The credit is used and counts for this invoice.", "success")
    return to_invoice(ref)


@bp.get("/invoices/<ref>/move-to-credit")
@merchant_required("admin")
def ask_move(ref: str) -> ResponseReturnValue:
    invoice = queries.get(merchant_id=user().merchant_id, invoice_id=from_ref("inv", ref))
    if invoice.status not in {"PENDING", "EXPIRED"} or invoice.amount_received == 0:
        return to_invoice(ref)
    by_hand = external.list_external(merchant_id=invoice.merchant_id, invoice_id=invoice.id)
    if any(counts for _, counts in by_hand):
        flash("Undo the payments recorded by hand first.", "error")
        return to_invoice(ref)
    return render_template("invoices/move.html", ref=ref, invoice=invoice)


@bp.post("/invoices/<ref>/move-to-credit")
@merchant_required("admin")
def move(ref: str) -> ResponseReturnValue:
    place = place_of(ref)
    invoice = queries.get(merchant_id=place.merchant_id, invoice_id=place.invoice_id)
    try:
        moved = settle_invoice.move_to_credit(place)
    except Conflict as refusal:
        flash(refusal.detail, "error")
        return to_invoice(ref)
    flash(
        f"{display(moved)} {asset_code(invoice.asset)} is credit now, and this invoice holds no money.",
        "success",
    )
    return redirect(
        url_for("invoices.ask_cancel" if invoice.status == "PENDING" else "invoices.show", ref=ref), 303
    )
