"""Preparing a refund: what the network says about both accounts, and the transaction for the wallet to sign.

The accounts are read with no transaction open. When the network does not answer, the refund is promised all the
same and its transaction is built later: nothing is lost, and the wallet can send it by hand meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from flask import current_app

from portal.adapters.chain import chain_source, look_up_place
from portal.adapters.refund_xdr import VALID_FOR, build_refund
from portal.db import release, run_transaction
from portal.domain.payments import queries as payments
from portal.domain.payments.booking import Desk
from portal.domain.refunds import queries, service
from portal.domain.refunds.models import Refund
from portal.domain.refunds.obstacles import check_memo, check_receiver, check_wallet, warning_for
from portal.domain.refunds.rules import (
    Envelope,
    Memo,
    Refundable,
    RefundStatus,
    check_not_taken_back,
    check_refundable,
)
from portal.domain.refunds.service import AmountTooLarge
from portal.flows.settle_refund import settle_prepared
from portal.kernel.chain import AccountState
from portal.kernel.errors import Unavailable
from portal.kernel.money import to_stroops

# A person waits for both accounts together.
LOOK_SECONDS = 3.0
# Half of a prepared transaction's life: whoever gets the same one again has time to sign it.
REUSED_FOR = VALID_FOR / 2


@dataclass(frozen=True, slots=True)
class Plan:
    """A refund as a person wants it; `is_confirmed` when a warning of a shared account was read and set aside."""

    amount: Decimal
    reason: str
    memo: Memo
    is_confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """What a person should know before promising a refund; `is_checked` is False when the network was away."""

    is_checked: bool
    warning: str | None


@dataclass(frozen=True, slots=True)
class _Trip:
    """Where the money goes, and the accounts at both ends if the network told us of them."""

    source: str
    destination: str
    asset: str
    amount: Decimal
    memo: Memo
    pays_for_several: bool
    wallet: AccountState | None = None
    sender: AccountState | None = None
    is_known: bool = False


def review_refund(*, merchant_id: UUID, network: str, payment_id: UUID, plan: Plan) -> Review:
    """Check a refund before it is promised and return what to warn of.

    :raises NotRefundable: when this payment cannot be refunded.
    :raises AmountTooLarge: for more than is left.
    :raises CannotReach: when the sender's account cannot receive it.
    :raises CannotSend: when the wallet lacks the money.
    :raises MemoRequired: when the sender's account takes nothing without a memo.
    """
    trip = _trip_of_payment(merchant_id, network, payment_id, plan)
    _check(trip, is_confirmed=True)
    warning = warning_for(trip.sender, memo=trip.memo, pays_for_several=trip.pays_for_several)
    return Review(trip.is_known, warning)


def create_refund(
    *,
    merchant_id: UUID,
    network: str,
    payment_id: UUID,
    plan: Plan,
    now: datetime,
    prepare: Callable[[], None] | None = None,
    finish: Callable[[Refund], None] | None = None,
) -> Refund:
    """Promise a refund and build its transaction if the network answers.

    `prepare` runs first and `finish` last inside the transaction, for what must be stored with the effect
    (idempotency).

    :raises ConfirmationMissing: when the sender looks shared and nobody confirmed that.
    :raises TagihError: whatever `review_refund` raises.
    """
    trip = _trip_of_payment(merchant_id, network, payment_id, plan)
    _check(trip, is_confirmed=plan.is_confirmed)
    envelope = _build(trip, now)
    desk = Desk(merchant_id, network, now)

    def work() -> Refund:
        if prepare is not None:
            prepare()
        refund = service.create(
            desk=desk,
            payment_id=payment_id,
            amount=plan.amount,
            reason=plan.reason,
            memo=plan.memo,
            envelope=envelope,
        )
        if finish is not None:
            finish(refund)
        return refund

    return run_transaction(work)


def prepare_again(
    *, merchant_id: UUID, network: str, refund_id: UUID, is_confirmed: bool, now: datetime
) -> Refund:
    """Build the transaction of an open refund anew, by the wallet's present sequence number.

    One that was sent meanwhile completes the refund instead. It is looked for after the sequence number was
    read, so of two transactions only one can ever go through.

    :raises NotRefundable: when the issuer took the payment back meanwhile.
    :raises Unavailable: when the network does not answer; the refund stays as it is.
    :raises TagihError: whatever `create_refund` raises about the accounts.
    """
    refund = queries.get(merchant_id=merchant_id, refund_id=refund_id)
    payment = payments.get(merchant_id=merchant_id, payment_id=refund.payment_id).payment
    check_not_taken_back(payment.status)
    trip = _look(
        _Trip(
            source=refund.source,
            destination=refund.destination,
            asset=refund.asset,
            amount=refund.amount,
            memo=Memo(refund.memo_type, refund.memo),
            pays_for_several=queries.pays_for_several(
                merchant_id=merchant_id, network=network, sender=refund.destination
            ),
        )
    )
    if not trip.is_known:
        raise Unavailable("The network does not answer right now. The refund stays as it is; try again soon.")
    _check(trip, is_confirmed=is_confirmed)
    if _fits_still(refund, trip, now):
        return refund
    if refund.status == RefundStatus.PENDING:
        refund = settle_prepared(merchant_id=merchant_id, refund_id=refund_id, now=now)
        if refund.status == RefundStatus.COMPLETED:
            return refund
    envelope = _build(trip, now)
    assert envelope is not None, "both accounts are known"
    desk = Desk(merchant_id, network, now)
    return run_transaction(lambda: service.prepare(desk=desk, refund_id=refund_id, envelope=envelope))


def cancel_refund(*, merchant_id: UUID, network: str, refund_id: UUID, now: datetime) -> Refund:
    """Give a refund up that was not sent."""
    desk = Desk(merchant_id, network, now)
    return run_transaction(lambda: service.cancel(desk=desk, refund_id=refund_id))


def _fits_still(refund: Refund, trip: _Trip, now: datetime) -> bool:
    """Say whether what was prepared can still be sent and stays so for a while.

    Somebody may have signed it already: it would go through, and we would be looking for another hash.
    """
    prepared_at = refund.updated_at
    if refund.status != RefundStatus.PENDING or refund.envelope_xdr is None or now - prepared_at > REUSED_FOR:
        return False
    same = _build(trip, prepared_at)
    return same is not None and same.hash == refund.expected_hashes[-1]


def _trip_of_payment(merchant_id: UUID, network: str, payment_id: UUID, plan: Plan) -> _Trip:
    payment = payments.get(merchant_id=merchant_id, payment_id=payment_id).payment
    if payment.network != network:
        raise payments.PaymentNotFound("No such payment.")
    left = service.left_of(payment)
    check_refundable(Refundable(payment.status, payment.reason, payment.sender, left))
    if plan.amount > left:
        raise AmountTooLarge(f"Only {left.normalize():f} of this payment is left.", pointer="/amount")
    return _look(
        _Trip(
            source=payment.destination,
            destination=payment.sender,
            asset=payment.asset,
            amount=plan.amount,
            memo=plan.memo,
            pays_for_several=queries.pays_for_several(
                merchant_id=merchant_id, network=network, sender=payment.sender
            ),
        )
    )


def _look(trip: _Trip) -> _Trip:
    """Return the trip with both accounts, or as it was when the network does not answer."""
    release()
    try:
        with look_up_place() as waited_seconds:
            chain, each_seconds = chain_source(), (LOOK_SECONDS - waited_seconds) / 2
            wallet = chain.account(trip.source, within_seconds=each_seconds)
            sender = chain.account(trip.destination, within_seconds=each_seconds)
    except Unavailable:
        return trip
    return _Trip(
        trip.source,
        trip.destination,
        trip.asset,
        trip.amount,
        trip.memo,
        trip.pays_for_several,
        wallet,
        sender,
        is_known=True,
    )


def _check(trip: _Trip, *, is_confirmed: bool) -> None:
    if trip.is_known:
        stroops = to_stroops(trip.amount)
        check_receiver(trip.sender, asset=trip.asset, stroops=stroops)
        check_wallet(trip.wallet, asset=trip.asset, stroops=stroops)
    check_memo(trip.sender, memo=trip.memo, pays_for_several=trip.pays_for_several, is_confirmed=is_confirmed)


def _build(trip: _Trip, now: datetime) -> Envelope | None:
    if trip.wallet is None:
        return None
    return build_refund(
        source=trip.source,
        sequence=trip.wallet.sequence,
        destination=trip.destination,
        asset=trip.asset,
        amount=trip.amount,
        memo=trip.memo,
        passphrase=current_app.config["TAGIH"].network_passphrase,
        now=now,
    )
