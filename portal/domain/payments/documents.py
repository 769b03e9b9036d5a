"""The public JSON of payments and submissions (design, section 9)."""

from collections.abc import Sequence
from typing import Any

from portal.domain.payments.models import Allocation, ChainTransaction, Payment, Submission
from portal.kernel.clock import iso
from portal.kernel.money import format_units
from portal.kernel.refs import to_ref, to_ref_or_none


def payment_document(
    payment: Payment, transaction: ChainTransaction, allocations: Sequence[Allocation]
) -> dict[str, Any]:
    """Return the whole public JSON of a payment, with the rules that decided it."""
    taken_back = {each.reverses_id for each in allocations if each.reverses_id is not None}
    standing = [each for each in allocations if each.reverses_id is None and each.id not in taken_back]
    return {
        "object": "payment",
        "id": to_ref("pay", payment.id),
        "network": payment.network,
        "status": payment.status,
        "reason": payment.reason,
        "invoice": to_ref_or_none("inv", payment.invoice_id),
        "client": to_ref_or_none("cli", payment.client_id),
        "transaction_hash": transaction.canonical_hash,
        "operation_index": payment.operation_index,
        "credit_index": payment.credit_index,
        "asset": payment.asset,
        "amount": format_units(payment.amount),
        "from": payment.sender,
        "to": payment.destination,
        "muxed_id": None if payment.muxed_id is None else str(payment.muxed_id),
        "memo_type": transaction.memo_type,
        "memo": transaction.memo,
        "ledger": transaction.ledger,
        "closed_at": iso(transaction.closed_at),
        "flags": sorted(payment.flags),
        "allocations": [
            {
                "invoice": to_ref("inv", each.invoice_id),
                "source": each.source,
                "amount": format_units(each.amount),
            }
            for each in standing
        ],
        "refunded": format_units(payment.refunded),
        "rules": payment.evidence,
        "created_at": iso(payment.created_at),
    }


def submission_document(submission: Submission) -> dict[str, Any]:
    return {
        "object": "submission",
        "id": to_ref("sub", submission.id),
        "state": submission.state,
        "code": submission.code,
        "transaction_hash": submission.transaction_hash,
        "payment": to_ref_or_none("pay", submission.payment_id),
        "invoice": to_ref("inv", submission.invoice_id),
        "rules": submission.rules,
        "created_at": iso(submission.created_at),
        "updated_at": iso(submission.updated_at),
    }
