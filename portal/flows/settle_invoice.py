"""What a person does about an invoice's money besides the chain: cash, client credit, and both taken back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from portal.db import run_transaction
from portal.domain.merchants import queries as merchants
from portal.domain.merchants.models import Merchant
from portal.domain.payments import credit, external
from portal.domain.payments.booking import Desk

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Received:
    """Money that came outside the network; `amount` in units of the invoice's asset."""

    amount: Decimal
    method: str
    reason: str
    received_on: date


@dataclass(frozen=True, slots=True)
class Place:
    """Whose invoice is settled, and when."""

    merchant_id: UUID
    network: str
    invoice_id: UUID
    now: datetime


def record_external(
    place: Place,
    received: Received,
    *,
    prepare: Callable[[], None] | None = None,
    finish: Callable[[], None] | None = None,
) -> None:
    """Count money for an invoice that the network does not show; errors as `payments.external` names them.

    `prepare` runs first and `finish` last inside the transaction, for what must be stored with the effect.
    """

    def work(merchant: Merchant, desk: Desk) -> None:
        external.record_external(
            merchant=merchant,
            desk=desk,
            invoice_id=place.invoice_id,
            amount=received.amount,
            method=received.method,
            reason=received.reason,
            received_on=received.received_on,
        )

    _settle(place, work, prepare, finish)


def undo_external(place: Place, *, external_id: UUID, reason: str) -> None:
    """Take money recorded by hand off the invoice again; the record stays with the reason."""
    _settle(
        place,
        lambda merchant, desk: external.undo_external(
            merchant=merchant, desk=desk, external_id=external_id, reason=reason
        ),
    )


def apply_credit(
    place: Place,
    amount: Decimal,
    *,
    prepare: Callable[[], None] | None = None,
    finish: Callable[[], None] | None = None,
) -> None:
    """Pay an invoice from its client's credit; `prepare` and `finish` as for `record_external`."""
    _settle(
        place,
        lambda merchant, desk: credit.apply_credit(
            merchant=merchant, desk=desk, invoice_id=place.invoice_id, amount=amount
        ),
        prepare,
        finish,
    )


def move_to_credit(place: Place) -> Decimal:
    """Make what an open invoice received its client's credit and return how much that was."""
    return _settle(
        place,
        lambda merchant, desk: credit.move_to_credit(
            merchant=merchant, desk=desk, invoice_id=place.invoice_id
        ),
    )


def _settle(
    place: Place,
    work: Callable[[Merchant, Desk], T],
    prepare: Callable[[], None] | None = None,
    finish: Callable[[], None] | None = None,
) -> T:
    def whole() -> T:
        if prepare is not None:
            prepare()
        merchant = merchants.get_merchant(place.merchant_id)
        done = work(merchant, Desk(place.merchant_id, place.network, place.now))
        if finish is not None:
            finish()
        return done

    return run_transaction(whole)
