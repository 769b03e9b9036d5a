"""Writing and changing drafts: one form, with totals that the server computes."""

import copy
from typing import Any
from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.db import run_transaction
from portal.domain.clients import queries as clients
from portal.domain.clients import service as client_service
from portal.domain.idempotency.rules import KeptAnswer
from portal.domain.invoices import queries, rules, service
from portal.domain.merchants import queries as merchants
from portal.flows.issue_invoice import WalletMissing, WalletNotReady, create_invoice, issue_invoice
from portal.flows.once import Hooks, answer_once
from portal.kernel.assets import NATIVE, asset_code, asset_issuer
from portal.kernel.clock import utc_now
from portal.kernel.errors import Conflict, NotFound, TagihError
from portal.kernel.refs import from_ref, to_ref
from portal.web.access import merchant_required, user
from portal.web.filters import short_hash, zone
from portal.web.invoices.forms import NEW_CLIENT, OTHER_ASSET, InvoiceForm, Parsed, choice_of
from portal.web.invoices.views import bp
from portal.web.repeats import attempt_of, once_text

__all__ = ["bp"]

REFUSALS = (WalletMissing, WalletNotReady, client_service.ClientExists, clients.ClientNotFound)


@bp.get("/invoices/new")
@merchant_required("seller")
def new() -> ResponseReturnValue:
    merchant = merchants.get_merchant(user().merchant_id)
    texts = {"asset": merchant.default_asset, "client": request.args.get("client", "")}
    return _form_page(InvoiceForm(texts, {}))


@bp.post("/invoices/new")
@merchant_required("seller")
def create() -> ResponseReturnValue:
    return _create(issue=False)


@bp.post("/invoices/new/issue")
@merchant_required("seller")
def create_issued() -> ResponseReturnValue:
    return _create(issue=True)


@bp.get("/invoices/new/rows", endpoint="rows_again")
@bp.get("/invoices/new/issue", endpoint="issue_again")
@merchant_required("seller")
def form_again() -> ResponseReturnValue:
    """Whoever opens the address of a sent form gets an empty one instead of an error."""
    return redirect(url_for("invoices.new"), 303)


@bp.post("/invoices/new/rows")
@merchant_required("seller")
def rows() -> ResponseReturnValue:
    return _changed_rows()


@bp.post("/invoices/preview")
@merchant_required("seller")
def preview() -> ResponseReturnValue:
    form = InvoiceForm.read(request.form)
    return render_template("invoices/totals.html", **_totals(form))


@bp.get("/invoices/<ref>/edit")
@merchant_required("seller")
def edit(ref: str) -> ResponseReturnValue:
    invoice = queries.get(merchant_id=user().merchant_id, invoice_id=from_ref("inv", ref))
    if invoice.status != rules.InvoiceStatus.DRAFT:
        flash("An issued invoice cannot be changed. Cancel it and duplicate it instead.", "error")
        return redirect(url_for("invoices.show", ref=ref), 303)
    draft = service.draft_of(merchant_id=user().merchant_id, invoice_id=invoice.id)
    return _form_page(InvoiceForm.of(draft, zone=zone()), ref=ref)


@bp.post("/invoices/<ref>/edit")
@merchant_required("seller")
def update(ref: str) -> ResponseReturnValue:
    return _update(ref) or redirect(url_for("invoices.show", ref=ref), 303)


@bp.post("/invoices/<ref>/edit/issue")
@merchant_required("seller")
def update_and_issue(ref: str) -> ResponseReturnValue:
    refused = _update(ref)
    if refused is not None:
        return refused
    try:
        written = issue_invoice(
            merchant_id=user().merchant_id,
            network=user().network,
            invoice_id=from_ref("inv", ref),
            now=utc_now(),
        )
        flash(f"Invoice {written.invoice.number} is open for payment.", "success")
    except Conflict as refusal:
        flash(refusal.detail, "error")
    return redirect(url_for("invoices.show", ref=ref), 303)


@bp.post("/invoices/<ref>/edit/rows")
@merchant_required("seller")
def edit_rows(ref: str) -> ResponseReturnValue:
    queries.get(merchant_id=user().merchant_id, invoice_id=from_ref("inv", ref))
    return _changed_rows(ref=ref)


def _create(*, issue: bool) -> ResponseReturnValue:
    form, now = InvoiceForm.read(request.form), utc_now()
    parsed = form.parse(zone=zone(), today=now.astimezone(zone()).date())
    if parsed is None:
        return _form_page(form, status=422)
    merchant_id, network, new_client = user().merchant_id, user().network, parsed.new_client

    def effect(hooks: Hooks) -> None:
        create_invoice(
            merchant_id=merchant_id, network=network, draft=parsed.draft, now=now, issue=issue,
            prepare=hooks.prepare, finish=lambda written: hooks.finish(_answer(written.invoice.id)),
            make_client=None if new_client is None else (
                lambda: client_service.create(merchant_id=merchant_id, details=new_client, now=now)
            ),
        )  # fmt: skip

    try:
        outcome = answer_once(attempt_of("/invoices/new"), effect, now=now, asks_network=issue)
    except REFUSALS as refusal:
        return _refused(form, refusal)
    if not outcome.replayed:
        flash("The invoice is open for payment." if issue else "The draft is saved.", "success")
    return redirect(url_for("invoices.show", ref=outcome.answer.headers["Invoice"]), 303)


def _update(ref: str) -> ResponseReturnValue | None:
    """Replace a draft by what the form says; None when it is done, else the form with what was wrong."""
    form, now = InvoiceForm.read(request.form), utc_now()
    merchant_id, invoice_id = user().merchant_id, from_ref("inv", ref)
    before = queries.get(merchant_id=merchant_id, invoice_id=invoice_id)
    parsed = form.parse(zone=zone(), today=now.astimezone(zone()).date(), metadata_before=before.metadata_)
    if parsed is None:
        return _form_page(form, ref=ref, status=422)

    def work() -> None:
        client = _client_of(merchant_id, parsed)
        merchant = merchants.get_merchant(merchant_id)
        service.update_draft(
            merchant=merchant, invoice_id=invoice_id, draft=parsed.draft, client=client, now=now
        )

    try:
        run_transaction(work)
    except REFUSALS as refusal:
        return _refused(form, refusal, ref=ref)
    except service.InvoiceNotDraft as refusal:
        flash(refusal.detail, "error")
    else:
        flash("The draft is saved.", "success")
    return None


def _client_of(merchant_id: UUID, parsed: Parsed) -> Any:
    if parsed.new_client is not None:
        return client_service.create(merchant_id=merchant_id, details=parsed.new_client, now=utc_now())
    client_id = parsed.draft.client_id
    return None if client_id is None else clients.get(merchant_id=merchant_id, client_id=client_id)


def _answer(invoice_id: UUID) -> KeptAnswer:
    return KeptAnswer(303, b"", {"Invoice": to_ref("inv", invoice_id)})


def _refused(form: InvoiceForm, refusal: TagihError, ref: str | None = None) -> ResponseReturnValue:
    name = ""
    if isinstance(refusal, client_service.ClientExists):
        name = "client_email"
    elif isinstance(refusal, clients.ClientNotFound):
        name = "client"
    form.note(refusal, name=name)
    return _form_page(form, ref=ref, status=422)


def _changed_rows(ref: str | None = None) -> ResponseReturnValue:
    """Show the form with a row more, less or elsewhere, or with its totals: for browsers without scripts."""
    form = InvoiceForm.read(request.form)
    form.change(request.form.get("change", ""))
    return _form_page(form, ref=ref)


def _form_page(form: InvoiceForm, *, ref: str | None = None, status: int = 200) -> ResponseReturnValue:
    merchant_id = user().merchant_id
    html = render_template(
        "invoices/form.html",
        form=form,
        ref=ref,
        once=once_text(),
        clients=_client_choices(merchant_id, form["client"].value),
        new_client=NEW_CLIENT,
        assets=_asset_choices(merchant_id, form["asset"].value),
        other_asset=OTHER_ASSET,
        expiry_hours=merchants.get_merchant(merchant_id).expiry_hours,
        **_totals(form),
    )
    return html, status


def _client_choices(merchant_id: UUID, chosen: str) -> list[tuple[str, str]]:
    """Return (ref, words) of the clients to choose from, and of the chosen one though archived since."""
    choices = [choice_of(client) for client in clients.list_choices(merchant_id=merchant_id)]
    if not chosen.startswith("cli_") or any(ref == chosen for ref, _ in choices):
        return choices
    try:
        return [choice_of(clients.get(merchant_id=merchant_id, client_id=from_ref("cli", chosen))), *choices]
    except NotFound:
        return choices


def _asset_choices(merchant_id: UUID, chosen: str) -> list[tuple[str, str]]:
    """Return (asset, words): XLM, what the wallet can hold, the merchant's default, and what is chosen now."""
    known = {NATIVE: None, merchants.get_merchant(merchant_id).default_asset: None}
    wallet = merchants.default_wallet(merchant_id, user().network)
    if wallet is not None:
        known |= {each.asset: None for each in merchants.list_readiness(merchant_id, [wallet.id])}
    if asset_issuer(chosen or NATIVE):
        known[chosen] = None
    return [(asset, _asset_words(asset)) for asset in known]


def _asset_words(asset: str) -> str:
    issuer = asset_issuer(asset)
    return "XLM" if issuer is None else f"{asset_code(asset)} of {short_hash(issuer)}"


def _totals(form: InvoiceForm) -> dict[str, Any]:
    """Return what the preview shows: totals when the lines make an invoice, else the first thing missing."""
    trial = copy.deepcopy(form)
    chosen = trial["asset_other" if trial["asset"].value == OTHER_ASSET else "asset"].value or NATIVE
    lines = trial.parse_lines()
    if lines is None:
        return {"totals": None, "totals_asset": chosen}
    items, discounts, taxes = lines
    sums = rules.totals(items, discounts, taxes)
    return {
        "totals": sums,
        "totals_asset": chosen,
        "total_items": list(zip(items, sums.items, strict=True)),
        "total_discounts": list(zip(discounts, sums.discounts, strict=True)),
        "total_taxes": list(zip(taxes, sums.taxes, strict=True)),
    }
