"""Everything the page of one invoice shows."""

from typing import Any
from uuid import UUID

from portal.domain.invoices import queries
from portal.domain.invoices.documents import checkout_url, pay_to, settlement_of
from portal.domain.invoices.rules import InvoiceStatus
from portal.domain.payments import figures
from portal.domain.payments import queries as payments
from portal.kernel.refs import to_ref, to_ref_or_none
from portal.web.invoices import words


def detail_of(*, merchant_id: UUID, invoice_id: UUID) -> dict[str, Any]:
    """Return what the template needs; :raises InvoiceNotFound: for another merchant's."""
    invoice = queries.get(merchant_id=merchant_id, invoice_id=invoice_id)
    is_draft = invoice.status == InvoiceStatus.DRAFT
    is_reversed = "reversed" in invoice.flags
    seen = [] if is_draft else payments.list_for_invoice(merchant_id=merchant_id, invoice_id=invoice_id)
    credited = payments.list_allocations(
        merchant_id=merchant_id, payment_ids=[each.payment.id for each in seen]
    ) if seen else {}  # fmt: skip
    submissions = [] if is_draft else figures.list_submissions(merchant_id=merchant_id, invoice_id=invoice_id)
    events = queries.timeline(merchant_id=merchant_id, invoice_id=invoice_id)
    return {
        "invoice": invoice,
        "is_draft": is_draft,
        "is_open": invoice.status == InvoiceStatus.PENDING or is_reversed,
        "is_reversed": is_reversed,
        "is_closed": invoice.status in {InvoiceStatus.EXPIRED, InvoiceStatus.CANCELLED},
        "settlement": settlement_of(invoice),
        "due": invoice.amount - invoice.amount_received,
        "lines": queries.lines_of(merchant_id=merchant_id, invoice_id=invoice_id),
        "payments": [_payment(each, credited, invoice_id) for each in seen],
        "client_ref": to_ref_or_none("cli", invoice.client_id),
        "checkout_url": checkout_url(invoice.token),
        "pay_to": pay_to(invoice),
        "flags": words.flag_words(sorted(invoice.flags)),
        "timeline": words.timeline_of(events, submissions),
        "can_cancel": invoice.status == InvoiceStatus.PENDING,
    }


def _payment(seen: payments.SeenPayment, credited: dict[UUID, list[Any]], invoice_id: UUID) -> dict[str, Any]:
    allocated = [each.amount for each in credited.get(seen.payment.id, []) if each.invoice_id == invoice_id]
    return {
        "ref": to_ref("pay", seen.payment.id),
        "closed_at": seen.transaction.closed_at,
        "ledger": seen.transaction.ledger,
        "hash": seen.transaction.canonical_hash,
        "sender": seen.payment.sender,
        "status": seen.payment.status,
        "reason": words.reason_words(seen.payment.reason),
        "asset": seen.payment.asset,
        "amount": seen.payment.amount,
        "credited": sum(allocated[1:], allocated[0]) if allocated else None,
    }
