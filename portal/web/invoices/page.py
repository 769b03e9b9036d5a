"""The page of one invoice, also as the answer to a form on it that was refused."""

from typing import Any

from flask import flash, render_template
from flask.typing import ResponseReturnValue

from portal.domain.invoices.documents import plain
from portal.kernel.errors import TagihError
from portal.kernel.refs import from_ref
from portal.web.access import user
from portal.web.errors import status_of
from portal.web.forms import Form
from portal.web.invoices.detail import detail_of
from portal.web.invoices.receiving_forms import CreditForm, ExternalForm, HashForm, note
from portal.web.repeats import once_text


def invoice_page(ref: str, *, status: int = 200, **sent: Any) -> ResponseReturnValue:
    """Render the invoice; `sent` holds a form as it was typed, and what was wrong with it.

    :raises InvoiceNotFound: for another merchant's.
    """
    someone = user()
    detail = detail_of(merchant_id=someone.merchant_id, invoice_id=from_ref("inv", ref))
    offered = plain(min(detail["due"], max(detail["credit"], 0)))
    html = render_template(
        "invoices/show.html",
        ref=ref,
        may_write=someone.may("seller"),
        may_settle=someone.may("admin"),
        once=once_text(),
        hash_form=sent.get("hash_form") or HashForm(formdata=None),
        external_form=sent.get("external_form") or ExternalForm.of(detail["due"]),
        credit_form=sent.get("credit_form") or CreditForm(formdata=None, amount=offered),
        refusal=sent.get("refusal"),
        **detail,
    )
    return html, status


def refused_page(ref: str, form: Form, refusal: TagihError, **sent: Any) -> ResponseReturnValue:
    """Render the invoice with what the domain refused, beside the field or above the form that it is about."""
    note(form, refusal)
    if refusal.code == "invoice_draft":
        # A draft's page has none of these forms, so the words would stand nowhere.
        flash(refusal.detail, "error")
    return invoice_page(ref, status=status_of(refusal), **sent)
