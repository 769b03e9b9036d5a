"""A transaction the watcher saw: recorded merchant by merchant, each in a transaction of its own."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portal.db import run_transaction
from portal.domain.merchants import queries as merchants
from portal.domain.payments import service
from portal.kernel.chain import CLAWBACK, ObservedTransaction
from portal.kernel.errors import TagihError, Unavailable

# What a bad record may raise: a constraint that refuses it, or a fact that our own code did not expect.
RECORD_FAILURES = (SQLAlchemyError, TagihError, AssertionError, ValueError, LookupError)


def record_observed(
    transaction: ObservedTransaction, *, network: str, owners: dict[str, UUID], now: datetime
) -> int:
    """Record what `transaction` brought each merchant, or took back, and return how many credits were new.

    `owners` maps watched addresses to merchants. Safe to repeat: every credit counts once. What goes wrong
    with one merchant's part is raised after the others have theirs.
    """
    touched = {credit.destination for credit in transaction.credits}
    touched |= {debit.source for debit in transaction.debits if debit.kind == CLAWBACK}
    reached = {owners[address] for address in touched if address in owners}
    new = 0
    failure: Exception | None = None
    for merchant_id in sorted(reached):

        def record(merchant_id: UUID = merchant_id) -> int:
            merchant = merchants.get_merchant(merchant_id=merchant_id)
            recorded = service.record_transaction(
                merchant=merchant, network=network, transaction=transaction, now=now
            )
            return len(recorded.new_payment_ids)

        try:
            new += run_transaction(record)
        except RECORD_FAILURES as broken:
            failure = failure or broken
    if failure is not None:
        raise failure
    return new


def is_outage(failure: Exception) -> bool:
    """Say whether something that recording needs is away, which is no fault of the record."""
    return bool(getattr(failure, "connection_invalidated", False)) or isinstance(
        failure, Unavailable | OperationalError | InterfaceError | PoolTimeout
    )
