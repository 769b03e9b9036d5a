"""Money that a person brings to an invoice: a transaction named by its hash."""

from flask import flash, redirect, url_for
from flask.typing import ResponseReturnValue

from portal.flows.submit_hash import submit_hash
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref
from portal.web.access import merchant_required, user
from portal.web.forms import checked
from portal.web.invoices.editing import bp
from portal.web.invoices.page import invoice_page
from portal.web.invoices.receiving_forms import HashForm
from portal.web.invoices.refusals import refusal_of

__all__ = ["bp"]

ANSWERS = {
    200: "This transaction was credited to this invoice before. It counts once.",
    201: "The transaction is found and credited to this invoice.",
    202: "The network does not show this transaction yet. We keep checking and credit it as soon as it is there.",
}


@bp.post("/invoices/<ref>/submissions")
@merchant_required("seller")
def record(ref: str) -> ResponseReturnValue:
    """Look up the transaction that somebody names and credit what it pays, by the rules of every other entry."""
    form, merchant_id, network = HashForm(), user().merchant_id, user().network
    if not form.validate_on_submit():
        return invoice_page(ref, status=422, hash_form=form)
    text, invoice_id = checked(form.transaction_hash), from_ref("inv", ref)
    answer = submit_hash(
        merchant_id=merchant_id,
        network=network,
        invoice_id=invoice_id,
        text=text,
        origin="portal",
        now=utc_now(),
    )
    if answer.status >= 400:
        refusal = refusal_of(answer.submission, merchant_id=merchant_id, network=network)
        return invoice_page(ref, status=answer.status, hash_form=form, refusal=refusal)
    flash(ANSWERS[answer.status], "success")
    return redirect(url_for("invoices.show", ref=ref), 303)


@bp.get("/invoices/<ref>/submissions")
@merchant_required("viewer")
def back(ref: str) -> ResponseReturnValue:
    """Lead back whoever reloads the address of a form that was refused."""
    return redirect(url_for("invoices.show", ref=ref), 303)
