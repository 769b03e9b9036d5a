"""Builders of tests about refunds: promise one, and the transaction that the merchant's wallet would send."""

import hashlib
import secrets
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from portal.domain.payments.models import Payment
from portal.domain.refunds import service
from portal.domain.refunds.models import Refund
from portal.domain.refunds.rules import Memo
from portal.extensions import db
from portal.kernel.chain import Credit, ObservedTransaction
from portal.kernel.money import to_stroops
from tests.support.builders import NOON, Shop
from tests.support.money import decide

PAID_LEDGER = 51_203_904


def promise(shop: Shop, payment: Payment, amount: str | None = None, **changes: Any) -> Refund:
    """Promise to refund a payment, all of it unless told how much."""
    facts = {"amount": payment.amount if amount is None else Decimal(amount), "reason": "sent twice"}
    return decide(shop, service.create, payment_id=payment.id, **{"memo": Memo(), **facts, **changes})


def settle(shop: Shop, refund_id: UUID, transaction: ObservedTransaction, **changes: Any) -> service.Outcome:
    return decide(shop, service.settle, refund_id=refund_id, transaction=transaction, **changes)


def sending(*refunds: Refund, **changes: Any) -> ObservedTransaction:
    """Return a transaction whose operations are these refunds, as the wallet would send them."""
    credits = tuple(
        Credit(
            operation_index=index, credit_index=0, kind="payment", source=refund.source, asset=refund.asset,
            destination=refund.destination, stroops=to_stroops(refund.amount),
        )
        for index, refund in enumerate(refunds)
    )  # fmt: skip
    canonical = hashlib.sha256(secrets.token_bytes(16)).hexdigest()
    facts: dict[str, Any] = {
        "canonical_hash": canonical,
        "hashes": (canonical,),
        "ledger": PAID_LEDGER + 10,
        "closed_at": NOON + timedelta(minutes=6),
        "source_account": refunds[0].source,
        "successful": True,
        "memo_type": "none",
        "memo": None,
        "memo_bytes": None,
        "envelope_xdr": "AAAA",
        "credits": credits,
        "debits": (),
        "raw": {"hash": canonical, "successful": True, "operations": []},
    }
    return ObservedTransaction(**{**facts, **changes})


def short_of(transaction: ObservedTransaction, stroops: int) -> ObservedTransaction:
    """Return the transaction with its first payment so much smaller."""
    first, *rest = transaction.credits
    return replace(transaction, credits=(replace(first, stroops=first.stroops - stroops), *rest))


def again(refund: Refund) -> Refund:
    """Return the refund as it stands now."""
    return db.session.get_one(Refund, refund.id, populate_existing=True)
