"""The merchant's invoices: list, export, detail, and what can be done to one."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from portal.db import run_transaction
from portal.domain.audit import service as audit
from portal.domain.clients import queries as clients
from portal.domain.invoices import queries, service
from portal.domain.invoices.announcements import WrittenInvoice
from portal.domain.invoices.documents import plain, settlement_of
from portal.domain.invoices.rules import InvoiceStatus
from portal.domain.merchants import queries as merchants
from portal.domain.payments import external
from portal.flows.issue_invoice import issue_invoice
from portal.kernel.clock import utc_now
from portal.kernel.errors import Conflict
from portal.kernel.refs import from_ref, to_ref
from portal.web.access import merchant_required, user
from portal.web.filters import zone
from portal.web.invoices import export, listing
from portal.web.invoices.page import invoice_page
from portal.web.invoices.words import flag_hint
from portal.web.paging import pager_links, window_of

bp = Blueprint("invoices", __name__)
bp.add_app_template_filter(plain, "plain")
bp.add_app_template_filter(settlement_of, "settlement")
bp.add_app_template_filter(flag_hint, "flag_hint")


@bp.app_template_filter("ref")
def ref_of(identity: UUID, prefix: str) -> str:
    """Return the public name of a row, as links need it."""
    return to_ref(prefix, identity)


@bp.get("/invoices")
@merchant_required("viewer")
def index() -> ResponseReturnValue:
    scope: dict[str, Any] = {"merchant_id": user().merchant_id, "network": user().network}
    asked, window = listing.read_filters(request.args, zone=zone()), window_of(request.args)
    page = queries.list_page(**scope, filters=asked.filters, after=window.after, before=window.before)
    first = (page.invoices[0].created_at, page.invoices[0].id) if page.invoices else None
    counts = queries.count_by_status(**scope)
    chosen = asked.filters.client_id
    return render_template(
        "invoices/index.html",
        invoices=page.invoices,
        asked=asked,
        tabs=listing.tabs(asked, counts, has_reversed=queries.has_reversed(**scope)),
        has_any=any(counts.values()),
        pager=pager_links("invoices.index", asked.kept, first, page),
        client=chosen and clients.get(merchant_id=user().merchant_id, client_id=chosen),
    )


@bp.get("/invoices.csv")
@merchant_required("accountant", step_up=True)
def as_csv() -> ResponseReturnValue:
    asked, now = listing.read_filters(request.args, zone=zone()), utc_now()
    merchant_id, network = user().merchant_id, user().network
    run_transaction(
        lambda: audit.record("invoices.exported", merchant_id=merchant_id, after=asked.kept, at=now)
    )
    pieces = export.rows(merchant_id=merchant_id, network=network, filters=asked.filters)
    headers = {"Content-Disposition": f'attachment; filename="{listing.file_name(now)}"'}
    return Response(stream_with_context(pieces), mimetype="text/csv", headers=headers)


@bp.get("/invoices/<ref>")
@merchant_required("viewer")
def show(ref: str) -> ResponseReturnValue:
    return invoice_page(ref)


@bp.post("/invoices/<ref>/issue")
@merchant_required("seller")
def issue(ref: str) -> ResponseReturnValue:
    invoice_id, merchant_id, network = from_ref("inv", ref), user().merchant_id, user().network

    def work() -> str:
        written = issue_invoice(
            merchant_id=merchant_id, network=network, invoice_id=invoice_id, now=utc_now()
        )
        return f"Invoice {written.invoice.number} is open for payment."

    return _done(work, ref)


@bp.get("/invoices/<ref>/cancel")
@merchant_required("seller")
def ask_cancel(ref: str) -> ResponseReturnValue:
    invoice = queries.get(merchant_id=user().merchant_id, invoice_id=from_ref("inv", ref))
    if invoice.status != InvoiceStatus.PENDING:
        return redirect(url_for("invoices.show", ref=ref), 303)
    by_hand = external.list_external(merchant_id=user().merchant_id, invoice_id=invoice.id)
    has_external = any(counts for _, counts in by_hand)
    return render_template("invoices/cancel.html", invoice=invoice, ref=ref, has_external=has_external)


@bp.post("/invoices/<ref>/cancel")
@merchant_required("seller")
def cancel(ref: str) -> ResponseReturnValue:
    invoice_id, merchant_id = from_ref("inv", ref), user().merchant_id

    def work() -> str:
        run_transaction(lambda: service.cancel(merchant_id=merchant_id, invoice_id=invoice_id, now=utc_now()))
        return "The invoice is cancelled. Its number stays, its payment page says so."

    return _done(work, ref)


@bp.post("/invoices/<ref>/delete")
@merchant_required("seller")
def delete(ref: str) -> ResponseReturnValue:
    invoice_id, merchant_id = from_ref("inv", ref), user().merchant_id
    try:
        run_transaction(
            lambda: service.delete_draft(merchant_id=merchant_id, invoice_id=invoice_id, now=utc_now())
        )
    except Conflict as refusal:
        flash(refusal.detail, "error")
        return redirect(url_for("invoices.show", ref=ref), 303)
    flash("The draft is deleted.", "success")
    return redirect(url_for("invoices.index"), 303)


@bp.post("/invoices/<ref>/duplicate")
@merchant_required("seller")
def duplicate(ref: str) -> ResponseReturnValue:
    invoice_id, merchant_id, network = from_ref("inv", ref), user().merchant_id, user().network

    def work() -> WrittenInvoice:
        client_id = queries.get(merchant_id=merchant_id, invoice_id=invoice_id).client_id
        client = client_id and clients.get(merchant_id=merchant_id, client_id=client_id)
        merchant = merchants.get_merchant(merchant_id)
        return service.duplicate(
            merchant=merchant, network=network, invoice_id=invoice_id, client=client or None, now=utc_now()
        )

    written = run_transaction(work)
    flash("This is a new draft with the same lines.", "success")
    return redirect(url_for("invoices.edit", ref=to_ref("inv", written.invoice.id)), 303)


def _done(work: Callable[[], str], ref: str) -> ResponseReturnValue:
    """Do something to an invoice, say how it went and show the invoice again."""
    try:
        flash(work(), "success")
    except Conflict as refusal:
        flash(refusal.detail, "error")
    return redirect(url_for("invoices.show", ref=ref), 303)
