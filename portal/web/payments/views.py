"""Payments as the chain brought them: all of them, the unmatched ones, and why one counts."""

import json
from typing import Any

from flask import Response, render_template, request
from flask.typing import ResponseReturnValue

from portal.domain.invoices import figures as invoice_figures
from portal.domain.payments import figures, inbox, queries
from portal.flows.explain_payment import explain_payment
from portal.kernel.refs import from_ref
from portal.web.access import merchant_required, user
from portal.web.paging import pager_links, window_of
from portal.web.payments import (
    deciding,  # noqa: F401  its views belong to this blueprint
    words,
)
from portal.web.payments.blueprint import bp
from portal.web.payments.page import payment_page

# The factory registers the blueprint by this module, whose import also brings the views.
__all__ = ["bp"]

TABS = (("All", ""), ("Credited", "confirmed"), ("Unmatched", "unmatched"), ("Set aside", "ignored"))
STATUSES = frozenset(status for _, status in TABS if status)
# What each tab of the inbox shows, as `queries.list_page` wants it.
INBOX: dict[str, dict[str, Any]] = {
    "": {"status": "UNMATCHED", "lacking": ("dust", "refund_due")},
    "refund": {"status": "UNMATCHED", "having": "refund_due", "lacking": ("dust",)},
    "ignored": {"status": "IGNORED", "decided": "ignore"},
    "dust": {"status": "UNMATCHED", "having": "dust"},
}


@bp.get("")
@merchant_required("viewer")
def index() -> ResponseReturnValue:
    scope: dict[str, Any] = {"merchant_id": user().merchant_id, "network": user().network}
    wanted, window = request.args.get("status", "").lower(), window_of(request.args)
    status = wanted if wanted in STATUSES else ""
    page = queries.list_page(**scope, status=status.upper() or None, after=window.after, before=window.before)
    return render_template(
        "payments/index.html",
        payments=page.payments,
        labels=_labels(page.payments),
        status=status,
        tabs=TABS,
        unmatched=queries.count_unmatched(**scope),
        pager=pager_links("payments.index", {"status": status} if status else {}, _place(page), page),
        reason_words=words.why_not,
    )


@bp.get("/unmatched")
@merchant_required("viewer")
def unmatched() -> ResponseReturnValue:
    scope: dict[str, Any] = {"merchant_id": user().merchant_id, "network": user().network}
    tab, asset, window = _tab(), _asset(), window_of(request.args)
    page = queries.list_page(**scope, **INBOX[tab], asset=asset, after=window.after, before=window.before)
    kept = {"tab": tab, "asset": asset or ""}
    return render_template(
        "payments/unmatched.html",
        payments=page.payments,
        proposals=inbox.propose(**scope, seen=[] if tab == "dust" else page.payments),
        tab=tab,
        waiting=figures.count_waiting(**scope),
        dust=figures.dust_sums(**scope),
        pager=pager_links(
            "payments.unmatched", {name: text for name, text in kept.items() if text}, _place(page), page
        ),
        words=words,
    )


@bp.get("/<ref>")
@merchant_required("viewer")
def show(ref: str) -> ResponseReturnValue:
    return payment_page(ref)


@bp.get("/<ref>.json")
@merchant_required("viewer")
def as_json(ref: str) -> ResponseReturnValue:
    """Give everything that says why a payment counts or not, to keep or to hand on."""
    told = explain_payment(merchant_id=user().merchant_id, payment_id=from_ref("pay", ref))
    headers = {"Content-Disposition": f'attachment; filename="{ref}.json"'}
    text = json.dumps(told, indent=2, ensure_ascii=False)
    return Response(text, mimetype="application/json", headers=headers)


def _tab() -> str:
    """Return the tab that is asked for; links to the dust are older than tabs."""
    if request.args.get("dust") == "1":
        return "dust"
    tab = request.args.get("tab", "")
    return tab if tab in INBOX else ""


def _asset() -> str | None:
    """Return the asset that a list of dust is narrowed to; what is none matches nothing of ours."""
    asset = request.args.get("asset", "")[:100]
    return asset if asset.isprintable() and asset else None


def _labels(seen: Any) -> dict[Any, invoice_figures.Label]:
    """Return number and client of the invoices that these payments are for."""
    ids = sorted({each.payment.invoice_id for each in seen if each.payment.invoice_id})
    return invoice_figures.labels_of(merchant_id=user().merchant_id, invoice_ids=ids)


def _place(page: queries.Page) -> tuple[Any, Any] | None:
    if not page.payments:
        return None
    newest = page.payments[0].payment
    return newest.created_at, newest.id
