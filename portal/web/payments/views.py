"""Payments as the chain brought them: all of them, the unmatched ones, and why one counts."""

from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from portal.domain.invoices import figures as invoice_figures
from portal.domain.payments import figures, queries
from portal.kernel.refs import from_ref, to_ref
from portal.web.access import merchant_required, user
from portal.web.invoices.words import FLAG_WORDS, reason_words
from portal.web.paging import pager_links, window_of
from portal.web.payments.words import rules_of

bp = Blueprint("payments", __name__, url_prefix="/payments")

TABS = (("All", ""), ("Credited", "confirmed"), ("Unmatched", "unmatched"), ("Ignored", "ignored"))
STATUSES = frozenset(status for _, status in TABS if status)


@bp.get("")
@merchant_required("viewer")
def index() -> ResponseReturnValue:
    scope: dict[str, Any] = {"merchant_id": user().merchant_id, "network": user().network}
    wanted, window = request.args.get("status", "").lower(), window_of(request.args)
    status = wanted if wanted in STATUSES else ""
    page = queries.list_page(**scope, status=status.upper() or None, after=window.after, before=window.before)
    first = _place(page)
    return render_template(
        "payments/index.html",
        payments=page.payments,
        labels=_labels(page.payments),
        status=status,
        tabs=TABS,
        unmatched=queries.count_unmatched(**scope),
        pager=pager_links("payments.index", {"status": status} if status else {}, first, page),
        reason_words=reason_words,
    )


@bp.get("/unmatched")
@merchant_required("viewer")
def unmatched() -> ResponseReturnValue:
    scope: dict[str, Any] = {"merchant_id": user().merchant_id, "network": user().network}
    shows_dust, window = request.args.get("dust") == "1", window_of(request.args)
    page = queries.list_page(
        **scope, status="UNMATCHED", dust=shows_dust, after=window.after, before=window.before
    )
    return render_template(
        "payments/unmatched.html",
        payments=page.payments,
        dust=figures.dust_sums(**scope),
        shows_dust=shows_dust,
        pager=pager_links("payments.unmatched", {"dust": "1"} if shows_dust else {}, _place(page), page),
        reason_words=reason_words,
    )


@bp.get("/<ref>")
@merchant_required("viewer")
def show(ref: str) -> ResponseReturnValue:
    merchant_id = user().merchant_id
    seen = queries.get(merchant_id=merchant_id, payment_id=from_ref("pay", ref))
    allocations = queries.allocations_of(merchant_id=merchant_id, payment_id=seen.payment.id)
    label = _labels([seen]).get(seen.payment.invoice_id) if seen.payment.invoice_id else None
    allocated = sum(each.amount for each in allocations if each.source == "payment")
    return render_template(
        "payments/show.html",
        payment=seen.payment,
        transaction=seen.transaction,
        invoice=label,
        invoice_ref=seen.payment.invoice_id and to_ref("inv", seen.payment.invoice_id),
        allocated=allocated,
        excess=seen.payment.amount - allocated,
        rules=rules_of(seen.payment.evidence),
        flags=[FLAG_WORDS[flag] for flag in seen.payment.flags if flag in FLAG_WORDS],
        reason=reason_words(seen.payment.reason) if seen.payment.reason else "",
    )


def _labels(seen: Any) -> dict[Any, invoice_figures.Label]:
    """Return number and client of the invoices that these payments are for."""
    ids = sorted({each.payment.invoice_id for each in seen if each.payment.invoice_id})
    return invoice_figures.labels_of(merchant_id=user().merchant_id, invoice_ids=ids)


def _place(page: queries.Page) -> tuple[Any, Any] | None:
    if not page.payments:
        return None
    newest = page.payments[0].payment
    return newest.created_at, newest.id
