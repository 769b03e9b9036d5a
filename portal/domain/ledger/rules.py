"""What each fact posts (design, section 6): pure, in units of one asset, debits equal to credits.

Receivable and client credit belong to the client, or to the invoice when it has none: callers pass that
id as `debtor_id`.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID, uuid5

# Any fixed UUID serves: it only keeps our derived ids apart from other people's.
_NAMESPACE = UUID("6f2b0c1e-7f0a-4c6b-9a55-0f6d3a1d7c42")


class Side(StrEnum):
    DEBIT = "DEBIT"
    CREDIT = "CREDIT"


@dataclass(frozen=True, slots=True)
class Posting:
    """One entry to be: an account named by kind and owner, and a positive amount on one side of it."""

    kind: str
    owner_id: UUID | None
    side: Side
    amount: Decimal


def account_id(*, merchant_id: UUID, network: str, kind: str, asset: str, owner_id: UUID | None) -> UUID:
    """Return the id of the account with this key; derived, so that posting needs no look-up."""
    return uuid5(_NAMESPACE, f"{merchant_id}/{network}/{kind}/{asset}/{owner_id or ''}")


def is_balanced(postings: list[Posting]) -> bool:
    debited = sum((each.amount for each in postings if each.side is Side.DEBIT), Decimal(0))
    credited = sum((each.amount for each in postings if each.side is Side.CREDIT), Decimal(0))
    return debited == credited and debited > 0


def reversed_postings(postings: list[Posting]) -> list[Posting]:
    other = {Side.DEBIT: Side.CREDIT, Side.CREDIT: Side.DEBIT}
    return [Posting(each.kind, each.owner_id, other[each.side], each.amount) for each in postings]


def issue_postings(
    *, debtor_id: UUID, total: Decimal, subtotal: Decimal, discount: Decimal, tax: Decimal
) -> list[Posting]:
    """Dr receivable (total), Dr discount; Cr income (subtotal), Cr tax payable."""
    return _nonzero(
        Posting("receivable", debtor_id, Side.DEBIT, total),
        Posting("discount", None, Side.DEBIT, discount),
        Posting("income", None, Side.CREDIT, subtotal),
        Posting("tax_payable", None, Side.CREDIT, tax),
    )


def allocation_postings(
    *, wallet_id: UUID, debtor_id: UUID, allocated: Decimal, excess: Decimal
) -> list[Posting]:
    """Dr wallet; Cr receivable up to the rest, Cr client credit for the excess."""
    return _nonzero(
        Posting("wallet", wallet_id, Side.DEBIT, allocated + excess),
        Posting("receivable", debtor_id, Side.CREDIT, allocated),
        Posting("client_credit", debtor_id, Side.CREDIT, excess),
    )


def short_postings(*, debtor_id: UUID, rest: Decimal) -> list[Posting]:
    """Dr rounding; Cr receivable: a payment short within the merchant's tolerance is accepted whole."""
    return [
        Posting("rounding", None, Side.DEBIT, rest),
        Posting("receivable", debtor_id, Side.CREDIT, rest),
    ]


def close_postings(*, debtor_id: UUID, rest: Decimal) -> list[Posting]:
    """Dr write-off; Cr receivable for what a cancelled or expired invoice will not bring."""
    return [
        Posting("write_off", None, Side.DEBIT, rest),
        Posting("receivable", debtor_id, Side.CREDIT, rest),
    ]


def unmatched_postings(*, wallet_id: UUID, amount: Decimal) -> list[Posting]:
    """Dr wallet; Cr suspense: the money is there, whose it is will be decided by a person."""
    return [
        Posting("wallet", wallet_id, Side.DEBIT, amount),
        Posting("suspense", None, Side.CREDIT, amount),
    ]


def match_postings(*, debtor_id: UUID, allocated: Decimal, excess: Decimal) -> list[Posting]:
    """Dr suspense; Cr receivable up to the rest, Cr client credit: a person said whose the money is."""
    return _nonzero(
        Posting("suspense", None, Side.DEBIT, allocated + excess),
        Posting("receivable", debtor_id, Side.CREDIT, allocated),
        Posting("client_credit", debtor_id, Side.CREDIT, excess),
    )


def credit_postings(*, debtor_id: UUID, amount: Decimal) -> list[Posting]:
    """Dr client credit; Cr receivable: what the client paid too much pays another invoice."""
    return [
        Posting("client_credit", debtor_id, Side.DEBIT, amount),
        Posting("receivable", debtor_id, Side.CREDIT, amount),
    ]


def external_postings(*, debtor_id: UUID, amount: Decimal) -> list[Posting]:
    """Dr external; Cr receivable: paid in cash or by bank, outside the network."""
    return [
        Posting("external", None, Side.DEBIT, amount),
        Posting("receivable", debtor_id, Side.CREDIT, amount),
    ]


def refund_postings(
    *, wallet_id: UUID, debtor_id: UUID | None, suspense: Decimal, credit: Decimal, revenue: Decimal
) -> list[Posting]:
    """Dr suspense, client credit and refunds, whichever bear it; Cr wallet."""
    return _nonzero(
        Posting("suspense", None, Side.DEBIT, suspense),
        Posting("client_credit", debtor_id, Side.DEBIT, credit),
        Posting("refunds", None, Side.DEBIT, revenue),
        Posting("wallet", wallet_id, Side.CREDIT, suspense + credit + revenue),
    )


def clawback_postings(*, wallet_id: UUID, amount: Decimal) -> list[Posting]:
    """Dr write-off; Cr wallet: the issuer took back what no single payment brought."""
    return [
        Posting("write_off", None, Side.DEBIT, amount),
        Posting("wallet", wallet_id, Side.CREDIT, amount),
    ]


def _nonzero(*postings: Posting) -> list[Posting]:
    return [each for each in postings if each.amount != 0]
