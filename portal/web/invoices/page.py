"""The page of one invoice, also as the answer to a form on it that was refused."""

from typing import Any

from flask import render_template
from flask.typing import ResponseReturnValue

from portal.kernel.refs import from_ref
from portal.web.access import user
from portal.web.invoices.detail import detail_of
from portal.web.invoices.receiving_forms import HashForm


def invoice_page(ref: str, *, status: int = 200, **sent: Any) -> ResponseReturnValue:
    """Render the invoice; `sent` holds a form as it was typed, and what was wrong with it.

    :raises InvoiceNotFound: for another merchant's.
    """
    detail = detail_of(merchant_id=user().merchant_id, invoice_id=from_ref("inv", ref))
    forms: dict[str, Any] = {"hash_form": sent.pop("hash_form", None) or HashForm(formdata=None)}
    html = render_template(
        "invoices/show.html", ref=ref, may_write=user().may("seller"), **detail, **forms, **sent
    )
    return html, status
