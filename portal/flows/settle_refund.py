"""A refund on its way: the hash a person names, or the one we expect, looked up and judged.

Three steps, never joined: a short read, the network call with no transaction open, one transaction that books.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from portal.adapters.chain import chain_source, look_up_place
from portal.adapters.refund_xdr import VALID_FOR
from portal.db import release, run_transaction
from portal.domain.payments.booking import Desk
from portal.domain.payments.rules import RuleResult, parse_hash
from portal.domain.payments.submissions import GIVE_UP_AFTER
from portal.domain.refunds import queries, service
from portal.domain.refunds.models import Refund
from portal.domain.refunds.rules import OPEN, RefundStatus
from portal.domain.refunds.service import Outcome
from portal.kernel.chain import ChainContradiction, ChainUnavailable, NotConfirmed, ObservedTransaction
from portal.kernel.errors import Unavailable

# A person waits for the answer: what takes longer is followed by the worker.
LOOK_UP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Answer:
    """201 completed now, 200 before, 202 looked for, 409 or 422 refused with `code` and the rules asked."""

    status: int
    refund: Refund
    code: str | None = None
    rules: tuple[RuleResult, ...] = ()


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look-up found; `not_before` is when the source, which is away, may be asked again."""

    found: ObservedTransaction | None = None
    is_answered: bool = True
    is_away: bool = False
    not_before: datetime | None = None


def submit_refund_hash(
    *, merchant_id: UUID, network: str, refund_id: UUID, text: str, now: datetime
) -> Answer:
    """Complete a refund by the transaction that `text` names, or follow it when the network lacks it yet.

    :raises HashMalformed: before any look-up, when `text` is not a hash.
    :raises RefundClosed: for a refund that another transaction completed, that was cancelled or given up.
    """
    transaction_hash = parse_hash(text.strip(" \t\r\n"))
    refund = queries.get(merchant_id=merchant_id, refund_id=refund_id)
    if refund.network != network:
        raise queries.RefundNotFound("No such refund.")
    desk = Desk(merchant_id, network, now)
    release()
    look = _look_up(transaction_hash, now)
    found = look.found
    if found is None:
        expected = run_transaction(
            lambda: service.expect(desk=desk, refund_id=refund_id, transaction_hash=transaction_hash)
        )
        return Answer(200 if expected.status == RefundStatus.COMPLETED else 202, expected)
    return _answer(run_transaction(lambda: service.settle(desk=desk, refund_id=refund_id, transaction=found)))


def withdraw_refund_hash(*, merchant_id: UUID, network: str, refund_id: UUID, now: datetime) -> Refund:
    """Forget a hash that was named by mistake."""
    desk = Desk(merchant_id, network, now)
    return run_transaction(lambda: service.withdraw(desk=desk, refund_id=refund_id))


def follow_refund(*, merchant_id: UUID, refund_id: UUID, now: datetime) -> Refund:
    """Look once for the transaction of an open refund: the one that was named, then those we prepared."""
    refund = queries.get(merchant_id=merchant_id, refund_id=refund_id)
    desk = Desk(merchant_id, refund.network, now)
    hashes = _hashes_of(refund)
    since, status = refund.updated_at, refund.status
    release()
    if status not in OPEN:
        return refund
    look = _look_for(hashes, now)
    if look.found is not None:
        return _settle(desk, refund_id, look.found)
    is_over = look.is_answered and _is_over(since, now)
    return run_transaction(
        lambda: service.postpone(desk=desk, refund_id=refund_id, not_before=look.not_before, is_over=is_over)
    )


def settle_prepared(*, merchant_id: UUID, refund_id: UUID, now: datetime) -> Refund:
    """Settle an open refund by what was prepared for it, if the network shows it: another one would pay twice.

    :raises Unavailable: when the network does not say.
    """
    refund = queries.get(merchant_id=merchant_id, refund_id=refund_id)
    desk, hashes = Desk(merchant_id, refund.network, now), _hashes_of(refund)
    release()
    for transaction_hash in hashes:
        look = _look_up(transaction_hash, now)
        if not look.is_answered:
            raise Unavailable(
                "The network does not say right now whether this refund was sent. It stays as it is; try again soon."
            )
        if look.found is not None:
            refund = _settle(desk, refund_id, look.found)
        if refund.status not in OPEN:
            break
    return refund


def _settle(desk: Desk, refund_id: UUID, found: ObservedTransaction) -> Refund:
    try:
        outcome = run_transaction(lambda: service.settle(desk=desk, refund_id=refund_id, transaction=found))
    except service.RefundClosed:
        # A person was quicker; what he decided stands.
        return queries.get(merchant_id=desk.merchant_id, refund_id=refund_id)
    return outcome.refund


def _answer(outcome: Outcome) -> Answer:
    if outcome.code is None:
        return Answer(201 if outcome.is_new else 200, outcome.refund, None, outcome.rules)
    status = 409 if outcome.code == "hash_used" else 422
    return Answer(status, outcome.refund, outcome.code, outcome.rules)


def _hashes_of(refund: Refund) -> list[str]:
    known = (refund.transaction_hash, *reversed(refund.expected_hashes))
    return list(dict.fromkeys(each for each in known if each is not None))


def _look_for(hashes: Sequence[str], now: datetime) -> _Look:
    """Return the first that the network shows; it has answered when it lacks each of them."""
    silent = None
    for transaction_hash in hashes:
        look = _look_up(transaction_hash, now)
        if look.found is not None or look.is_away:
            return look
        if not look.is_answered:
            silent = look
    return silent or _Look()


def _look_up(transaction_hash: str, now: datetime) -> _Look:
    try:
        with look_up_place() as waited_seconds:
            within = LOOK_UP_SECONDS - waited_seconds
            found = chain_source().find_transaction(transaction_hash, within_seconds=within)
    except (NotConfirmed, ChainContradiction):
        # One that a second source lacks, or that contradicts its envelope, proves nothing: look again later.
        return _Look(None, is_answered=False)
    except ChainUnavailable as outage:
        seconds = outage.retry_after_seconds
        not_before = None if seconds is None else now + timedelta(seconds=seconds)
        return _Look(None, is_answered=False, is_away=True, not_before=not_before)
    return _Look(found)


def _is_over(since: datetime, now: datetime) -> bool:
    """Say whether the network itself has gone past the time of what was prepared at `since` or before."""
    if now - since < GIVE_UP_AFTER:
        return False
    try:
        closed_at = chain_source().network().latest_closed_at
    except Unavailable:
        return False
    return closed_at is not None and closed_at > since + VALID_FOR
