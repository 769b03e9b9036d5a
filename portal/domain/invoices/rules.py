"""Pure decisions about invoices: totals, the transition table, numbers, what people may still do."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from portal.kernel.errors import Conflict, Invalid
from portal.kernel.money import MAX_AMOUNT, ZERO, multiply

ITEMS_MAX = 200
ADJUSTMENTS_MAX = 20
HUNDRED = Decimal(100)


class InvoiceStatus(StrEnum):
    DRAFT = "DRAFT"
    PENDING = "PENDING"
    PAID = "PAID"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


# The one transition table; the service updates on condition and a trigger repeats it in the database.
TRANSITIONS: dict[InvoiceStatus, frozenset[InvoiceStatus]] = {
    InvoiceStatus.DRAFT: frozenset({InvoiceStatus.PENDING}),
    InvoiceStatus.PENDING: frozenset({InvoiceStatus.PAID, InvoiceStatus.EXPIRED, InvoiceStatus.CANCELLED}),
    InvoiceStatus.EXPIRED: frozenset({InvoiceStatus.PAID}),
    InvoiceStatus.PAID: frozenset(),
    InvoiceStatus.CANCELLED: frozenset(),
}


class TransitionRefused(Conflict):
    code = "invoice_transition"


class TotalsInvalid(Invalid):
    code = "totals_invalid"


@dataclass(frozen=True, slots=True)
class Item:
    """`quantity` has up to 6 places, `unit_price` is in units of the invoice's asset."""

    description: str
    quantity: Decimal
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class Discount:
    """Off the subtotal: a percent or an amount, never both."""

    label: str
    percent: Decimal | None = None
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Tax:
    label: str
    percent: Decimal


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person or program asks for; `client_id` was checked to be the merchant's."""

    asset: str
    items: tuple[Item, ...]
    discounts: tuple[Discount, ...] = ()
    taxes: tuple[Tax, ...] = ()
    description: str = ""
    client_id: UUID | None = None
    due_at: datetime | None = None
    expires_in_seconds: int | None = None
    metadata: dict[str, str] | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Every figure of an invoice in units of its asset; the tuples run parallel to the draft's lines."""

    items: tuple[Decimal, ...]
    subtotal: Decimal
    discounts: tuple[Decimal, ...]
    discount_total: Decimal
    taxes: tuple[Decimal, ...]
    tax_total: Decimal
    total: Decimal


def totals(
    items: tuple[Item, ...], discounts: tuple[Discount, ...] = (), taxes: tuple[Tax, ...] = ()
) -> Totals:
    """Compute an invoice; the only place that does, for portal, API, PDF and preview.

    Line = quantity x unit price; discounts come off the subtotal in order; each tax is its percent of the
    discounted subtotal, not compounded; every product is rounded half up to 7 places where it arises.

    :raises TotalsInvalid: when there is no line, a discount exceeds what is left, or the total is not in
        (0, 922337203685.4775807].
    """
    if not 1 <= len(items) <= ITEMS_MAX:
        raise TotalsInvalid(f"An invoice has 1 to {ITEMS_MAX} lines.", pointer="/items")
    for pointer, lines in (("/discounts", discounts), ("/taxes", taxes)):
        if len(lines) > ADJUSTMENTS_MAX:
            raise TotalsInvalid(f"At most {ADJUSTMENTS_MAX} of these.", pointer=pointer)
    item_totals = tuple(multiply(item.quantity, item.unit_price) for item in items)
    subtotal = sum(item_totals, ZERO)
    discount_totals: list[Decimal] = []
    rest = subtotal
    for index, discount in enumerate(discounts):
        off = discount.amount if discount.percent is None else multiply(subtotal, discount.percent / HUNDRED)
        assert off is not None, discount
        if off > rest:
            raise TotalsInvalid(
                "This discount is more than what is left to pay.", pointer=f"/discounts/{index}"
            )
        discount_totals.append(off)
        rest -= off
    tax_totals = tuple(multiply(rest, tax.percent / HUNDRED) for tax in taxes)
    total = rest + sum(tax_totals, ZERO)
    if total <= 0:
        raise TotalsInvalid("The total must be above zero.", pointer="/items")
    if max(total, subtotal) > MAX_AMOUNT:
        raise TotalsInvalid(f"The largest amount is {MAX_AMOUNT}.", pointer="/items")
    return Totals(
        items=item_totals,
        subtotal=subtotal,
        discounts=tuple(discount_totals),
        discount_total=subtotal - rest,
        taxes=tax_totals,
        tax_total=total - rest,
        total=total,
    )


def check_transition(current: str, wanted: InvoiceStatus) -> None:
    """:raises TransitionRefused: when the transition table has no such step."""
    if wanted not in TRANSITIONS[InvoiceStatus(current)]:
        raise TransitionRefused(f"A {current.lower()} invoice cannot become {wanted.lower()}.")


def period_of(issued_at: datetime, time_zone: str) -> str:
    """Return the numbering period: the month of `issued_at` in the merchant's time zone, as 2026-11."""
    return issued_at.astimezone(ZoneInfo(time_zone)).strftime("%Y-%m")


def number_of(prefix: str, period: str, value: int) -> str:
    return f"{prefix}-{period}-{value:04d}"


def search_text_of(*parts: str | None) -> str:
    """Return what search looks through: lower-case, one space between words."""
    return " ".join(" ".join(part for part in parts if part).lower().split())
