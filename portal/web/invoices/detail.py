"""Everything the page of one invoice shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from portal.domain.invoices import queries
from portal.domain.invoices.documents import checkout_url, pay_to, settlement_of
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.receipts import debtor_of
from portal.domain.invoices.rules import InvoiceStatus
from portal.domain.payments import booking, credit, external, figures
from portal.domain.payments import queries as payments
from portal.domain.payments.models import Allocation, ExternalPayment
from portal.kernel.money import ZERO
from portal.kernel.refs import to_ref, to_ref_or_none
from portal.web.invoices import words
from portal.web.invoices.receiving_forms import METHOD_WORDS
from portal.web.invoices.timeline import timeline_of


@dataclass(frozen=True, slots=True)
class Other:
    """Money beside the network's payments: recorded by hand, from credit, or a small rest that was waived.

    `external_ref` names what was recorded by hand; `counts` is False once it was undone.
    """

    at: datetime
    what: str
    note: str
    amount: Decimal
    counts: bool = True
    external_ref: str | None = None
    received_on: date | None = None


def detail_of(*, merchant_id: UUID, invoice_id: UUID) -> dict[str, Any]:
    """Return what the template needs; :raises InvoiceNotFound: for another merchant's."""
    invoice = queries.get(merchant_id=merchant_id, invoice_id=invoice_id)
    is_draft = invoice.status == InvoiceStatus.DRAFT
    is_reversed = "reversed" in invoice.flags
    due = invoice.amount - invoice.amount_received
    money = _no_money() if is_draft else _money(invoice)
    submissions = [] if is_draft else figures.list_submissions(merchant_id=merchant_id, invoice_id=invoice_id)
    return {
        "invoice": invoice,
        "is_draft": is_draft,
        "is_open": invoice.status == InvoiceStatus.PENDING or is_reversed,
        "is_reversed": is_reversed,
        "is_closed": invoice.status in {InvoiceStatus.EXPIRED, InvoiceStatus.CANCELLED},
        "takes_money": due > 0 and invoice.status not in {InvoiceStatus.DRAFT, InvoiceStatus.CANCELLED},
        "settlement": settlement_of(invoice),
        "due": due,
        "lines": queries.lines_of(merchant_id=merchant_id, invoice_id=invoice_id),
        **money,
        "client_ref": to_ref_or_none("cli", invoice.client_id),
        "checkout_url": checkout_url(invoice.token),
        "pay_to": pay_to(invoice),
        "flags": words.flag_words(
            sorted(invoice.flags),
            has_client=invoice.client_id is not None,
            has_excess=money["credit"] > 0,
        ),
        "timeline": timeline_of(invoice, money["seen"], submissions),
        "can_cancel": invoice.status == InvoiceStatus.PENDING,
        "can_move": invoice.amount_received > 0
        and invoice.status in {InvoiceStatus.PENDING, InvoiceStatus.EXPIRED},
    }


def _no_money() -> dict[str, Any]:
    return {"seen": [], "payments": [], "others": [], "credit": ZERO}


def _money(invoice: Invoice) -> dict[str, Any]:
    """Return the payments that concern an issued invoice, what else it got, and its client's credit."""
    merchant_id = invoice.merchant_id
    seen = payments.list_for_invoice(merchant_id=merchant_id, invoice_id=invoice.id)
    ids = [each.payment.id for each in seen]
    given = payments.list_allocations(merchant_id=merchant_id, payment_ids=ids) if ids else {}
    standing = booking.live_allocations(merchant_id, invoice_id=invoice.id) if invoice.amount_received else []
    by_hand = external.list_external(merchant_id=merchant_id, invoice_id=invoice.id)
    return {
        "seen": seen,
        "payments": [_payment(each, given[each.payment.id], invoice.id) for each in seen],
        "others": _others(by_hand, standing),
        "credit": credit.credit_of(
            merchant_id=merchant_id,
            network=invoice.network,
            debtor_id=debtor_of(invoice),
            asset=invoice.asset,
        ),
    }


def _payment(seen: payments.SeenPayment, given: Sequence[Allocation], invoice_id: UUID) -> dict[str, Any]:
    payment = seen.payment
    paid = [each for each in given if each.source == "payment"]
    allocated = sum((each.amount for each in paid), ZERO)
    is_credited = payment.status == "CONFIRMED"
    return {
        "ref": to_ref("pay", payment.id),
        "closed_at": seen.transaction.closed_at,
        "ledger": seen.transaction.ledger,
        "hash": seen.transaction.canonical_hash,
        "sender": payment.sender,
        "status": payment.status,
        "is_matched": "matched" in payment.flags,
        "reason": words.reason_words(payment.reason),
        "asset": payment.asset,
        "amount": payment.amount,
        "credited": sum((each.amount for each in paid if each.invoice_id == invoice_id), ZERO)
        if is_credited
        else None,
        "refunded": payment.refunded,
        "excess": max(payment.amount - allocated - payment.refunded, ZERO) if is_credited else ZERO,
    }


def _others(by_hand: Sequence[tuple[ExternalPayment, bool]], standing: Sequence[Allocation]) -> list[Other]:
    found = [
        Other(
            row.created_at,
            METHOD_WORDS[row.method],
            row.reason,
            row.amount,
            counts,
            to_ref("ext", row.id),
            row.received_on,
        )
        for row, counts in by_hand
    ]
    for each in standing:
        if each.source == "client_credit":
            found.append(Other(each.created_at, "Credit", "from what was paid too much before", each.amount))
        elif each.source == "rounding":
            found.append(Other(each.created_at, "Waived", "a small rest within your tolerance", each.amount))
    return sorted(found, key=lambda other: other.at, reverse=True)
