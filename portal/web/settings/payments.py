"""How money that does not fit exactly is taken: too little, too late, and how long invoices wait for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal.db import run_transaction
from portal.domain.invoices.documents import plain
from portal.domain.merchants import queries, service
from portal.domain.merchants.service import PaymentSettings
from portal.domain.payments.settling import tolerance_for
from portal.kernel.clock import utc_now
from portal.kernel.money import from_stroops, to_stroops
from portal.web.access import merchant_required, user
from portal.web.forms import checked
from portal.web.settings.blueprint import bp
from portal.web.settings.forms import PaymentsForm

# A usual invoice and one so small that a tenth of it is less than most tolerances.
EXAMPLES = (Decimal(100), Decimal(2))


@dataclass(frozen=True, slots=True)
class Example:
    """From how much on an invoice of `amount` counts as paid; `is_capped` where a tenth is the limit."""

    amount: Decimal
    enough: Decimal
    is_capped: bool


@bp.get("/payments")
@merchant_required(role="admin")
def payments() -> ResponseReturnValue:
    merchant = queries.get_merchant(user().merchant_id)
    form = PaymentsForm(
        expiry_hours=str(merchant.expiry_hours),
        tolerance=plain(merchant.tolerance),
        late_policy=merchant.late_policy,
    )
    return _page(form)


@bp.post("/payments")
@merchant_required(role="admin")
def save_payments() -> ResponseReturnValue:
    form = PaymentsForm()
    if not form.validate_on_submit():
        return _page(form, status=422)
    settings = PaymentSettings(
        expiry_hours=checked(form.expiry_hours),
        late_policy=form.late_policy.data,
        tolerance=checked(form.tolerance),
    )
    merchant_id, now = user().merchant_id, utc_now()
    run_transaction(lambda: service.update_settings(merchant_id=merchant_id, settings=settings, now=now))
    flash("Payment settings saved.", "success")
    return redirect(url_for(".payments"), 303)


def examples_of(tolerance: Decimal) -> Sequence[Example]:
    """Return what a tolerance (units of any asset) means for an invoice of each example's amount."""
    found = []
    for amount in EXAMPLES:
        stroops = to_stroops(amount)
        waived = tolerance_for(amount_stroops=stroops, policy_stroops=to_stroops(tolerance))
        found.append(Example(amount, from_stroops(stroops - waived), waived < to_stroops(tolerance)))
    return found


def _page(form: PaymentsForm, *, status: int = 200) -> ResponseReturnValue:
    merchant = queries.get_merchant(user().merchant_id)
    html = render_template(
        "settings/payments.html",
        form=form,
        tolerance=merchant.tolerance,
        examples=examples_of(merchant.tolerance),
        code="XLM" if merchant.default_asset == "native" else merchant.default_asset.partition(":")[0],
    )
    return html, status
