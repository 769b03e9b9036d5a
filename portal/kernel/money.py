"""Amounts of Stellar assets: `Decimal` in asset units with 7 places, integer stroops at the network edge.

One unit is 10**7 stroops and the ledger keeps a signed 64-bit integer, so the largest amount is
922337203685.4775807 (Stellar's `INT64_MAX`).
"""

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum

from portal.kernel.errors import Invalid

PLACES = Decimal("0.0000001")
STROOPS_PER_UNIT = 10_000_000
MAX_STROOPS = 2**63 - 1
MAX_AMOUNT = Decimal("922337203685.4775807")
ZERO = Decimal("0.0000000")

# ASCII only: str.isdigit() and \d would let full-width digits through.
_PLAIN = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,7})?")
# Sums over an instance exceed one amount's range; 38 digits is what Numeric(38, 7) holds.
_WIDE = Context(prec=60)


class InvalidAmount(Invalid):
    code = "amount_invalid"


class Settlement(StrEnum):
    """How far an invoice is paid: a second axis beside its status, always computed."""

    UNPAID = "UNPAID"
    PARTIAL = "PARTIAL"
    PAID = "PAID"
    OVERPAID = "OVERPAID"


def parse_amount(text: object, *, pointer: str | None = None) -> Decimal:
    """Return a positive amount in asset units from plain decimal text ("12.5").

    :raises InvalidAmount: for anything else: signs, exponents, grouping, over 7 places, zero, too large.
    """
    if not isinstance(text, str) or _PLAIN.fullmatch(text) is None:
        raise InvalidAmount(
            "Write the amount in plain digits, such as 12.5, with at most 7 decimals.", pointer=pointer
        )
    amount = Decimal(text).quantize(PLACES, context=_WIDE)
    if amount == 0:
        raise InvalidAmount("The amount must be above zero.", pointer=pointer)
    if amount > MAX_AMOUNT:
        raise InvalidAmount(f"The largest amount is {MAX_AMOUNT}.", pointer=pointer)
    return amount


def to_stroops(amount: Decimal) -> int:
    """Return `amount` (asset units) as stroops; exact, so more than 7 places is our own mistake."""
    stroops = _WIDE.multiply(amount, Decimal(STROOPS_PER_UNIT))
    assert stroops == stroops.to_integral_value(), amount
    return int(stroops)


def from_stroops(stroops: int) -> Decimal:
    return _WIDE.divide(Decimal(stroops), Decimal(STROOPS_PER_UNIT)).quantize(PLACES, context=_WIDE)


def round_half_up(amount: Decimal) -> Decimal:
    """Round a product to 7 places where it arises; the one rounding of invoice totals (design, section 5)."""
    return amount.quantize(PLACES, rounding=ROUND_HALF_UP, context=_WIDE)


def multiply(left: Decimal, right: Decimal) -> Decimal:
    """Return left x right in asset units, rounded half up to 7 places."""
    return round_half_up(_WIDE.multiply(left, right))


def format_units(amount: Decimal) -> str:
    """Return all 7 places ("60.0000000"): the form of the API, of copy fields and of SEP-7."""
    return f"{amount.quantize(PLACES, context=_WIDE):f}"


def display(amount: Decimal) -> str:
    """Return text for people: grouped, at least 2 decimals, zeros beyond them dropped ("1,240.00")."""
    whole, _, fraction = format_units(amount.copy_abs()).partition(".")
    fraction = fraction.rstrip("0").ljust(2, "0")
    sign = "\u2212" if amount < 0 else ""
    return f"{sign}{int(whole):,}.{fraction}"


def settlement_for(*, due: Decimal, received: Decimal, overpaid: bool = False) -> Settlement:
    """Return how far `received` covers `due`, both in units of the invoice asset.

    Allocations never exceed the amount, so an excess shows in the `overpaid` flag, not in `received`.
    """
    assert due > 0, due
    assert received >= 0, received
    if received == 0:
        return Settlement.UNPAID
    if received < due:
        return Settlement.PARTIAL
    if received == due and not overpaid:
        return Settlement.PAID
    return Settlement.OVERPAID
