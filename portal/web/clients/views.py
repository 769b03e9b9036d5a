"""The merchant's clients: list, detail, create, edit, archive."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.db import run_transaction
from portal.domain.clients import queries, service
from portal.domain.clients.rules import SEARCH_MIN_CHARACTERS
from portal.domain.invoices import figures
from portal.domain.invoices import queries as invoices
from portal.domain.payments import credit
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref, to_ref
from portal.web.access import merchant_required, user
from portal.web.clients.forms import ClientForm
from portal.web.paging import clean_needle, pager_links, window_of

bp = Blueprint("clients", __name__, url_prefix="/clients")
INVOICES_SHOWN = 10


@bp.get("")
@merchant_required("viewer")
def index() -> ResponseReturnValue:
    needle, archived = clean_needle(request.args.get("q")), request.args.get("archived") == "1"
    window = window_of(request.args)
    page = queries.list_page(
        merchant_id=user().merchant_id,
        text=needle,
        archived=archived,
        after=window.after,
        before=window.before,
    )
    first = (page.clients[0].created_at, page.clients[0].id) if page.clients else None
    kept = ({"q": needle} if needle else {}) | ({"archived": "1"} if archived else {})
    return render_template(
        "clients/index.html",
        clients=page.clients,
        pager=pager_links("clients.index", kept, first, page),
        q=needle,
        archived=archived,
        too_short=0 < len(needle) < SEARCH_MIN_CHARACTERS,
    )


@bp.get("/new")
@merchant_required("seller")
def new() -> ResponseReturnValue:
    return render_template("clients/form.html", form=ClientForm(), client=None)


@bp.post("/new")
@merchant_required("seller")
def create() -> ResponseReturnValue:
    form = ClientForm(request.form)
    details = form.parse()
    if details is None:
        return _form_page(form)
    try:
        client = run_transaction(
            lambda: service.create(merchant_id=user().merchant_id, details=details, now=utc_now())
        )
    except service.ClientExists as refusal:
        return _form_page(form, refusal)
    flash(f"{client.name} is saved.", "success")
    return redirect(url_for("clients.show", ref=to_ref("cli", client.id)), 303)


@bp.get("/<ref>")
@merchant_required("viewer")
def show(ref: str) -> ResponseReturnValue:
    client_id = from_ref("cli", ref)
    scope: dict[str, Any] = {"merchant_id": user().merchant_id, "network": user().network}
    client = queries.get(merchant_id=user().merchant_id, client_id=client_id)
    page = invoices.list_page(**scope, filters=invoices.Filters(client_id=client_id), limit=INVOICES_SHOWN)
    return render_template(
        "clients/show.html",
        client=client,
        ref=ref,
        figures=figures.client_figures(**scope, client_id=client_id),
        credits=credit.credits_of(**scope, debtor_id=client_id),
        invoices=page.invoices,
        has_more=page.next_after is not None,
        may_write=user().may("seller"),
    )


@bp.get("/<ref>/edit")
@merchant_required("seller")
def edit(ref: str) -> ResponseReturnValue:
    client = queries.get(merchant_id=user().merchant_id, client_id=from_ref("cli", ref))
    return render_template("clients/form.html", form=ClientForm.of(client), client=client, ref=ref)


@bp.post("/<ref>/edit")
@merchant_required("seller")
def update(ref: str) -> ResponseReturnValue:
    merchant_id, client_id = user().merchant_id, from_ref("cli", ref)
    client = queries.get(merchant_id=merchant_id, client_id=client_id)
    form = ClientForm(request.form)
    details = form.parse()
    if details is None:
        return _form_page(form, client=client, ref=ref)
    try:
        run_transaction(
            lambda: service.update(
                merchant_id=merchant_id, client_id=client_id, details=details, now=utc_now()
            )
        )
    except service.ClientExists as refusal:
        return _form_page(form, refusal, client=client, ref=ref)
    flash("The changes are saved.", "success")
    return redirect(url_for("clients.show", ref=ref), 303)


@bp.post("/<ref>/archive")
@merchant_required("seller")
def archive(ref: str) -> ResponseReturnValue:
    merchant_id, client_id = user().merchant_id, from_ref("cli", ref)
    run_transaction(lambda: service.archive(merchant_id=merchant_id, client_id=client_id, now=utc_now()))
    flash("The client is archived. Invoices keep what they say.", "success")
    return redirect(url_for("clients.show", ref=ref), 303)


@bp.post("/<ref>/restore")
@merchant_required("seller")
def restore(ref: str) -> ResponseReturnValue:
    merchant_id, client_id = user().merchant_id, from_ref("cli", ref)
    run_transaction(lambda: service.restore(merchant_id=merchant_id, client_id=client_id, now=utc_now()))
    flash("The client is back in your lists.", "success")
    return redirect(url_for("clients.show", ref=ref), 303)


def _form_page(
    form: ClientForm, refusal: service.ClientExists | None = None, **context: object
) -> ResponseReturnValue:
    if refusal is not None:
        form.note(refusal)
        form.existing_ref = refusal.existing_ref
    return render_template("clients/form.html", form=form, **{"client": None, **context}), 422
