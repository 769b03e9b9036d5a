"""The public JSON of a refund: refs and strings only, the same for events and the mirror."""

from datetime import datetime, timedelta
from typing import Any

from portal.domain.refunds.models import Refund
from portal.domain.refunds.rules import OPEN
from portal.kernel.clock import iso, iso_or_none
from portal.kernel.money import format_units
from portal.kernel.refs import to_ref

# A ledger closes in about this time, and what it holds is final.
LEDGER_CLOSES = timedelta(seconds=5)


def refund_document(refund: Refund) -> dict[str, Any]:
    """Return the whole public JSON of a refund at its present version."""
    return {
        "object": "refund",
        "id": to_ref("rfd", refund.id),
        "network": refund.network,
        "status": refund.status,
        "code": refund.code,
        "payment": to_ref("pay", refund.payment_id),
        "asset": refund.asset,
        "amount": format_units(refund.amount),
        "from": refund.source,
        "to": refund.destination,
        "memo_type": refund.memo_type,
        "memo": refund.memo,
        "reason": refund.reason,
        "transaction_hash": refund.transaction_hash,
        "operation_index": refund.operation_index,
        "borne_by": {
            "suspense": format_units(refund.from_suspense),
            "client_credit": format_units(refund.from_credit),
            "revenue": format_units(refund.from_revenue),
        },
        "estimated_arrival": iso_or_none(_arrival(refund)),
        "created_at": iso(refund.created_at),
        "completed_at": iso_or_none(refund.completed_at),
    }


def _arrival(refund: Refund) -> datetime | None:
    """Return when the money is with its receiver, or will be if it is sent at once; None if it never will."""
    if refund.completed_at is not None:
        return refund.completed_at
    return refund.created_at + LEDGER_CLOSES if refund.status in OPEN else None
