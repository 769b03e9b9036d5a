"""Writes refunds: promised, prepared, followed, booked once the network shows them, or given up.

Locks are taken in the order of the chain's hash, the payment, the refund, the accounts. The money goes from the
merchant's wallet straight to its sender: nothing here can move it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from portal.domain.audit import service as audit
from portal.domain.events import service as events
from portal.domain.ledger import rules as postings
from portal.domain.payments.booking import Desk
from portal.domain.payments.decisions import REFUND_DUE, lock_payment
from portal.domain.payments.models import ChainTransaction, Payment
from portal.domain.payments.rules import RuleResult
from portal.domain.payments.service import store_transaction
from portal.domain.payments.settlement import announce
from portal.domain.payments.submissions import FIRST_DELAYS_SECONDS, LAST_DELAY, next_attempt_at
from portal.domain.refunds import queries
from portal.domain.refunds.burden import bearers_of
from portal.domain.refunds.documents import refund_document
from portal.domain.refunds.models import Refund
from portal.domain.refunds.rules import (
    OPEN,
    PREPARED_MAX,
    Envelope,
    Expected,
    Memo,
    Refundable,
    RefundStatus,
    RefundVerdict,
    check_not_taken_back,
    check_refundable,
    judge_refund,
    may_become,
)
from portal.extensions import db
from portal.kernel.chain import ObservedTransaction
from portal.kernel.errors import Conflict, Invalid
from portal.kernel.money import ZERO, to_stroops
from portal.kernel.refs import new_id, to_ref

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
_FIRST_LOOK = timedelta(seconds=FIRST_DELAYS_SECONDS[0])
REFUNDED = "refunded"
NOT_FOUND, NOT_SENT, WITHDRAWN = "not_found", "not_sent", "withdrawn"


class AmountTooLarge(Invalid):
    code = "amount_too_large"


class RefundClosed(Conflict):
    code = "refund_closed"


class RefundUnderWay(Conflict):
    """A hash was named for it and is looked for: it may be sent already."""

    code = "refund_under_way"


class PreparedTooOften(Conflict):
    code = "prepared_too_often"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction came to for a refund; `is_new` when it was completed by just this call."""

    refund: Refund
    code: str | None = None
    rules: tuple[RuleResult, ...] = ()
    is_new: bool = False


def create(
    *,
    desk: Desk,
    payment_id: UUID,
    amount: Decimal,
    reason: str,
    memo: Memo,
    envelope: Envelope | None = None,
) -> Refund:
    """Promise to send `amount` of a payment back to its sender and hold it back from everything else.

    :raises NotRefundable: when this payment cannot be refunded at all.
    :raises AmountTooLarge: for more than is left of it.
    """
    payment, _ = lock_payment(desk, payment_id)
    left = left_of(payment)
    check_refundable(Refundable(payment.status, payment.reason, payment.sender, left))
    if amount > left:
        raise AmountTooLarge(f"Only {left.normalize():f} of this payment is left.", pointer="/amount")
    assert amount > 0, amount
    refund = Refund(
        id=new_id(),
        merchant_id=desk.merchant_id,
        network=desk.network,
        payment_id=payment.id,
        wallet_id=payment.wallet_id,
        source=payment.destination,
        destination=payment.sender,
        asset=payment.asset,
        amount=amount,
        memo_type=memo.kind,
        memo=memo.text,
        reason=reason,
        status=RefundStatus.PENDING,
        envelope_xdr=envelope and envelope.xdr,
        expected_hashes=[] if envelope is None else [envelope.hash],
        from_suspense=ZERO,
        from_credit=ZERO,
        from_revenue=ZERO,
        attempts=0,
        next_attempt_at=desk.now + _FIRST_LOOK,
        version=0,
        created_at=desk.now,
        updated_at=desk.now,
    )
    db.session.add(refund)
    payment.refund_reserved += amount
    _announce(desk, "refund.created", refund)
    return refund


def prepare(*, desk: Desk, refund_id: UUID, envelope: Envelope) -> Refund:
    """Keep a newly built transaction for an open refund and follow it, beside the earlier ones, from now on.

    :raises RefundClosed: for one that is done or given up.
    :raises RefundUnderWay: while a hash is looked for, so that nobody sends the money twice.
    :raises NotRefundable: when the issuer took the payment back meanwhile.
    :raises PreparedTooOften: when there are so many that could still be sent.
    """
    payment, _, refund = _lock(desk, refund_id)
    if refund.status == RefundStatus.PROCESSING:
        raise RefundUnderWay("A transaction is looked for already. Do not send the money twice.")
    _check_open(refund)
    check_not_taken_back(payment.status)
    earlier = [each for each in refund.expected_hashes if each != envelope.hash]
    if len(earlier) >= PREPARED_MAX:
        raise PreparedTooOften("It was prepared too often in one day. Send it by hand and enter its hash.")
    refund.envelope_xdr, refund.code = envelope.xdr, None
    refund.expected_hashes = [*earlier, envelope.hash]
    _follow_anew(desk, refund)
    _announce(desk, "refund.updated", refund)
    return refund


def cancel(*, desk: Desk, refund_id: UUID) -> Refund:
    """Give a refund up that nobody has sent and release what it held back.

    :raises RefundUnderWay: while a hash is looked for.
    :raises RefundClosed: for one that is done or given up.
    """
    payment, _, refund = _lock(desk, refund_id)
    if refund.status == RefundStatus.CANCELLED:
        return refund
    if refund.status == RefundStatus.PROCESSING:
        raise RefundUnderWay(
            "A transaction was named for this refund and is looked for. It cannot be cancelled meanwhile."
        )
    _check_open(refund)
    _release(desk, payment, refund, RefundStatus.CANCELLED)
    return refund


def expect(*, desk: Desk, refund_id: UUID, transaction_hash: str) -> Refund:
    """Note that somebody says this transaction, which the network does not show yet, is the refund.

    :raises RefundClosed: for one that is done or given up.
    """
    refund = _lock(desk, refund_id)[2]
    if refund.status == RefundStatus.COMPLETED and refund.transaction_hash == transaction_hash:
        return refund
    _check_open(refund)
    if refund.status == RefundStatus.PROCESSING and refund.transaction_hash == transaction_hash:
        return refund
    refund.transaction_hash, refund.code = transaction_hash, None
    _follow_anew(desk, refund)
    _become(desk, refund, RefundStatus.PROCESSING)
    return refund


def withdraw(*, desk: Desk, refund_id: UUID) -> Refund:
    """Forget a hash that was named by mistake, so that the refund may be sent or cancelled.

    :raises RefundClosed: for one that is done or given up.
    """
    refund = _lock(desk, refund_id)[2]
    _check_open(refund)
    if refund.status == RefundStatus.PROCESSING:
        refund.code, refund.transaction_hash = WITHDRAWN, None
        _follow_anew(desk, refund)
        _become(desk, refund, RefundStatus.PENDING)
    return refund


def settle(*, desk: Desk, refund_id: UUID, transaction: ObservedTransaction) -> Outcome:
    """Complete a refund by a transaction that is it, or say why it is not; a refusal is a value and is committed.

    :raises RefundClosed: for one that was completed by another transaction, cancelled or given up.
    """
    # Two refunds may claim one transaction at once: whoever comes second sees what the first one used.
    db.session.execute(_LOCK, {"key": f"refund/{desk.network}/{transaction.canonical_hash}"})
    refund = queries.get(merchant_id=desk.merchant_id, refund_id=refund_id)
    ledger = queries.ledger_of(merchant_id=desk.merchant_id, payment_id=refund.payment_id)
    verdict, stored = judge_refund(transaction, _expected(refund, ledger)), None
    if verdict.operation_index is not None:
        stored = store_transaction(desk.network, transaction, desk.now)
        used = queries.used_operations(merchant_id=desk.merchant_id, transaction_id=stored.id)
        verdict = judge_refund(transaction, _expected(refund, ledger, used))
    payment, paid_in, refund = _lock(desk, refund_id)
    if refund.status == RefundStatus.COMPLETED and refund.transaction_hash in transaction.hashes:
        return Outcome(refund)
    _check_open(refund)
    if verdict.operation_index is None:
        _refuse(desk, refund, transaction, verdict)
        return Outcome(refund, verdict.reason, verdict.rules)
    assert stored is not None, "only a successful transaction is a refund"
    _complete(desk, payment, paid_in, refund, stored, verdict.operation_index)
    return Outcome(refund, None, verdict.rules, is_new=True)


def postpone(
    *, desk: Desk, refund_id: UUID, not_before: datetime | None = None, is_over: bool = False
) -> Refund:
    """Leave an open refund to a later look; a day after it was prepared it is given up.

    `is_over` says that the network has gone past the time of what was prepared without showing it. A hash that
    never came lets the refund be sent by another one first.
    """
    payment, _, refund = _lock(desk, refund_id)
    refund.lease_until = refund.lease_token = None
    if refund.status not in OPEN:
        return refund
    refund.attempts += 1
    due = next_attempt_at(started_at=refund.updated_at, attempts=refund.attempts, now=desk.now)
    if due is not None or not is_over:
        due = due or desk.now + LAST_DELAY
        refund.next_attempt_at = due if not_before is None else max(due, not_before)
        db.session.flush()
    elif refund.status == RefundStatus.PROCESSING:
        refund.code, refund.transaction_hash = NOT_FOUND, None
        _follow_anew(desk, refund)
        _become(desk, refund, RefundStatus.PENDING)
    else:
        refund.code = NOT_SENT
        _release(desk, payment, refund, RefundStatus.FAILED)
    return refund


def left_of(payment: Payment) -> Decimal:
    """Return how much of a payment is neither refunded nor promised to be."""
    return payment.amount - payment.refunded - payment.refund_reserved


def _complete(
    desk: Desk,
    payment: Payment,
    paid_in: ChainTransaction,
    refund: Refund,
    stored: ChainTransaction,
    operation_index: int,
) -> None:
    debtor = payment.client_id or payment.invoice_id
    borne = bearers_of(desk, payment, refund.amount, debtor)
    lines = postings.refund_postings(
        wallet_id=refund.wallet_id,
        debtor_id=debtor,
        suspense=borne.suspense,
        credit=borne.credit,
        revenue=borne.revenue,
    )
    desk.post("refund", refund.asset, refund.id, lines)
    refund.from_suspense, refund.from_credit = borne.suspense, borne.credit
    refund.from_revenue = borne.revenue
    refund.transaction_id, refund.operation_index = stored.id, operation_index
    refund.transaction_hash, refund.code = stored.canonical_hash, None
    refund.completed_at = desk.now
    refund.lease_until = refund.lease_token = None
    payment.refund_reserved -= refund.amount
    payment.refunded += refund.amount
    payment.flags = sorted({*payment.flags} - {REFUND_DUE})
    if payment.status in {"UNMATCHED", "IGNORED"} and payment.refunded == payment.amount:
        payment.decision = {
            "action": "refund",
            "note": refund.reason,
            "reason": payment.reason,
            "parts": [],
            "refund": to_ref("rfd", refund.id),
        }
        payment.decided_at, payment.status, payment.reason = desk.now, "IGNORED", REFUNDED
    _become(desk, refund, RefundStatus.COMPLETED)
    announce(desk, "payment.updated", payment, paid_in, detail={"refund": to_ref("rfd", refund.id)})


def _expected(refund: Refund, paid_ledger: int, used: frozenset[int] = frozenset()) -> Expected:
    return Expected(
        source=refund.source,
        destination=refund.destination,
        asset=refund.asset,
        stroops=to_stroops(refund.amount),
        memo=Memo(refund.memo_type, refund.memo),
        paid_ledger=paid_ledger,
        used=used,
    )


def _refuse(desk: Desk, refund: Refund, transaction: ObservedTransaction, verdict: RefundVerdict) -> None:
    """Note why a transaction is not the refund; what was waited for in vain is waited for no longer."""
    refund.lease_until = refund.lease_token = None
    detail = {"code": verdict.reason, "transaction_hash": transaction.canonical_hash}
    _audit(desk, "refund.refused", refund, detail)
    was_prepared = not {*transaction.hashes}.isdisjoint(refund.expected_hashes)
    if was_prepared:
        # Its sequence number is used up, so it can never be sent again.
        if refund.expected_hashes[-1] in transaction.hashes:
            refund.envelope_xdr = None
        refund.expected_hashes = [each for each in refund.expected_hashes if each not in transaction.hashes]
    if refund.status == RefundStatus.PROCESSING and refund.transaction_hash in transaction.hashes:
        refund.code, refund.transaction_hash = verdict.reason, None
        _follow_anew(desk, refund)
        _become(desk, refund, RefundStatus.PENDING)
    elif was_prepared:
        refund.code = verdict.reason
        _announce(desk, "refund.updated", refund)


def _lock(desk: Desk, refund_id: UUID) -> tuple[Payment, ChainTransaction, Refund]:
    """Lock the payment and then its refund, and return them with the transaction that brought the payment."""
    known = queries.get(merchant_id=desk.merchant_id, refund_id=refund_id)
    payment, paid_in = lock_payment(desk, known.payment_id)
    return payment, paid_in, queries.get_for_update(merchant_id=desk.merchant_id, refund_id=refund_id)


def _check_open(refund: Refund) -> None:
    if refund.status not in OPEN:
        word = {
            "COMPLETED": "was completed by another transaction",
            "CANCELLED": "was cancelled",
            "FAILED": "was given up",
        }[refund.status]
        raise RefundClosed(f"This refund {word}. To send more money back, make a new refund of the payment.")


def _follow_anew(desk: Desk, refund: Refund) -> None:
    refund.attempts, refund.updated_at = 0, desk.now
    refund.next_attempt_at = desk.now + _FIRST_LOOK
    refund.lease_until = refund.lease_token = None


def _release(desk: Desk, payment: Payment, refund: Refund, status: RefundStatus) -> None:
    payment.refund_reserved -= refund.amount
    _become(desk, refund, status)


def _become(desk: Desk, refund: Refund, status: RefundStatus) -> None:
    assert may_become(refund.status, status), (refund.status, status)
    event_type = "refund.updated" if status == RefundStatus.PENDING else f"refund.{status.lower()}"
    refund.status, refund.updated_at = status, desk.now
    _announce(desk, event_type, refund)


def _announce(desk: Desk, event_type: str, refund: Refund) -> None:
    refund.version += 1
    db.session.flush()
    events.record(
        event_type,
        merchant_id=desk.merchant_id,
        network=desk.network,
        aggregate_id=refund.id,
        version=refund.version,
        payload=refund_document(refund),
        at=desk.now,
    )
    _audit(desk, event_type, refund, {"status": refund.status, "code": refund.code})


def _audit(desk: Desk, action: str, refund: Refund, detail: dict[str, Any]) -> None:
    document = refund_document(refund)
    named = {name: document[name] for name in ("payment", "amount", "asset", "to", "transaction_hash")}
    audit.record(
        action,
        merchant_id=desk.merchant_id,
        object_ref=to_ref("rfd", refund.id),
        after={**named, **detail},
        at=desk.now,
    )
