"""Helpers of tests about money: record, decide, and read the books back."""

from decimal import Decimal
from typing import Any

from sqlalchemy import select

from portal.db import run_transaction
from portal.domain.ledger import queries as books
from portal.domain.merchants.models import Merchant
from portal.domain.payments import service
from portal.domain.payments.booking import Desk
from portal.domain.payments.models import Payment
from portal.domain.payments.service import Recorded
from portal.extensions import db
from portal.flows.invariants import check_invariants
from portal.kernel.chain import ObservedTransaction
from tests.support.builders import NETWORK, NOON, Shop


def make_desk(shop: Shop, now: Any = NOON) -> Desk:
    return Desk(shop.id, NETWORK, now)


def decide(shop: Shop, work: Any, **arguments: Any) -> Any:
    """Run a decision of `shop` in one transaction; the merchant is handed in where it is asked for."""

    def whole() -> Any:
        given = {**arguments, "desk": arguments.get("desk", make_desk(shop))}
        if "merchant" in work.__annotations__:
            given["merchant"] = db.session.get_one(Merchant, shop.id)
        return work(**given)

    shop.enter()
    result = run_transaction(whole)
    db.session.expire_all()
    return result


def record(shop: Shop, transfer: ObservedTransaction, *, now: Any = NOON) -> Recorded:
    def work() -> Recorded:
        merchant = db.session.get_one(Merchant, shop.id)
        return service.record_transaction(merchant=merchant, network=NETWORK, transaction=transfer, now=now)

    shop.enter()
    recorded = run_transaction(work)
    db.session.expire_all()
    return recorded


def balances(shop: Shop, asset: str = "native") -> dict[str, Decimal]:
    """Return debits minus credits by kind of account, those at zero left out."""
    lines = books.list_trial_balance(merchant_id=shop.id, network=NETWORK)
    return {line.kind: line.balance for line in lines if line.asset == asset and line.balance}


def only_payment(shop: Shop) -> Payment:
    return db.session.scalars(select(Payment).where(Payment.merchant_id == shop.id)).one()


def broken_invariants() -> list[str]:
    """Return the names of what does not hold; needs the worker's rights."""
    return [finding.name for finding in check_invariants() if not finding.holds]
