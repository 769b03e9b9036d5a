"""The public JSON of an invoice (design, section 9): refs and strings only, the same for API and events."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from portal.domain.invoices.models import DiscountLine, Invoice, InvoiceItem, TaxLine
from portal.domain.invoices.rules import InvoiceStatus
from portal.extensions import site
from portal.kernel.addresses import muxed
from portal.kernel.assets import asset_code, asset_issuer
from portal.kernel.clock import iso, iso_or_none
from portal.kernel.money import Settlement, format_units, settlement_for
from portal.kernel.refs import to_ref, to_ref_or_none

# SEP-7 limits `msg` to 300 characters.
MESSAGE_MAX = 300


def checkout_url(token: str) -> str:
    return f"{site.public_base_url}/i/{token}"


def settlement_of(invoice: Invoice) -> Settlement:
    return settlement_for(
        due=invoice.amount, received=invoice.amount_received, overpaid="overpaid" in invoice.flags
    )


def pay_uri(*, destination: str, amount: str, asset: str, memo: str, message: str = "") -> str:
    """Return the SEP-7 payment request: percent-encoded, `asset_code` left out for XLM.

    `network_passphrase` is named whenever it is not the public network's, as SEP-7 asks.
    """
    parameters = {"destination": destination, "amount": amount, "memo": memo, "memo_type": "MEMO_ID"}
    if issuer := asset_issuer(asset):
        parameters |= {"asset_code": asset_code(asset), "asset_issuer": issuer}
    if message:
        parameters["msg"] = message[:MESSAGE_MAX]
    if site.network == "test":
        parameters["network_passphrase"] = site.network_passphrase
    return "web+stellar:pay?" + urlencode(parameters, quote_via=quote)


def pay_to(invoice: Invoice) -> dict[str, Any] | None:
    """Return where and how to pay what is still due; None for a draft."""
    if invoice.status == InvoiceStatus.DRAFT or invoice.destination is None or invoice.pay_ref is None:
        return None
    due = invoice.amount - invoice.amount_received
    memo = str(invoice.pay_ref)
    return {
        "address": invoice.destination,
        "muxed_address": muxed(invoice.destination, invoice.pay_ref),
        "memo_type": "id",
        "memo": memo,
        "uri": pay_uri(
            destination=invoice.destination,
            amount=format_units(due if due > 0 else invoice.amount),
            asset=invoice.asset,
            memo=memo,
            message=invoice.number or "",
        ),
    }


def invoice_document(
    invoice: Invoice,
    items: Sequence[InvoiceItem],
    discounts: Sequence[DiscountLine],
    taxes: Sequence[TaxLine],
) -> dict[str, Any]:
    """Return the whole public JSON of an invoice at its present version."""
    document = invoice_summary(invoice)
    document["items"] = [
        {
            "description": item.description,
            "quantity": plain(item.quantity),
            "unit_price": format_units(item.unit_price),
            "amount": format_units(item.total),
        }
        for item in items
    ]
    for name, lines in (("discounts", discounts), ("taxes", taxes)):
        document[name] = [
            {
                "label": line.label,
                "percent": None if line.percent is None else plain(line.percent),
                "amount": format_units(line.total),
            }
            for line in lines
        ]
    return document


def invoice_summary(invoice: Invoice) -> dict[str, Any]:
    """Return the public JSON without its lines, as lists show it."""
    return {
        "object": "invoice",
        "id": to_ref("inv", invoice.id),
        "network": invoice.network,
        "number": invoice.number,
        "status": invoice.status,
        "settlement": settlement_of(invoice).value,
        "subtotal": format_units(invoice.subtotal),
        "amount": format_units(invoice.amount),
        "amount_received": format_units(invoice.amount_received),
        "amount_due": format_units(invoice.amount - invoice.amount_received),
        "overpaid_by": format_units(invoice.overpaid_by),
        "asset": invoice.asset,
        "description": invoice.description,
        "client": to_ref_or_none("cli", invoice.client_id),
        "link": None,
        "external_id": invoice.external_id,
        "pay_to": pay_to(invoice),
        "flags": sorted(invoice.flags),
        "issued_at": iso_or_none(invoice.issued_at),
        "due_at": iso_or_none(invoice.due_at),
        "expires_in": invoice.expires_in_seconds,
        "expires_at": iso_or_none(invoice.expires_at),
        "paid_at": iso_or_none(invoice.paid_at),
        "metadata": invoice.metadata_,
        "checkout_url": checkout_url(invoice.token),
        "created_at": iso(invoice.created_at),
        "updated_at": iso(invoice.updated_at),
    }


def plain(number: Any) -> str:
    """Return a quantity or percent without trailing zeros and never in exponent form."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
