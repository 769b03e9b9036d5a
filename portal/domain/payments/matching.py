"""What a person may do with unmatched money, and which invoices it may have been meant for: pure.

The same facts as in `rules`, asked by the same names: a person's word stands in for the reference, the address
and the time, and for nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from uuid import UUID

from portal.domain.payments.rules import InvoiceFacts, RuleResult, is_late
from portal.kernel.errors import Conflict

# The money is no longer there, so no word of a person gives it to an invoice.
NEVER_MATCHED = frozenset({"pay_and_return", "self_payment"})
SUGGESTIONS_MAX = 5


class MatchRefused(Conflict):
    """The payment cannot pay this invoice; `code` is the rule's, as a submission would name it."""

    code = "match_refused"

    def __init__(self, code: str, detail: str, *, pointer: str | None = None) -> None:
        super().__init__(detail, pointer=pointer)
        self.code = code


_SENTENCES = {
    "pay_and_return": "The wallet sent this money out again in the same transaction.",
    "self_payment": "The wallet paid itself, so nobody paid anything.",
    "wrong_asset": "This invoice is priced in another asset.",
    "invoice_cancelled": "This invoice was cancelled.",
    "invoice_draft": "This invoice is a draft. Issue it first.",
}


def judge_match(
    *, reason: str | None, asset: str, closed_at: datetime, invoice: InvoiceFacts
) -> tuple[RuleResult, ...]:
    """Return the rules by which a person's choice of `invoice` stands.

    :raises MatchRefused: with the code of the first rule that no person may set aside.
    """
    if reason in NEVER_MATCHED:
        raise MatchRefused(str(reason), _SENTENCES[str(reason)])
    if asset != invoice.asset:
        raise MatchRefused("wrong_asset", _SENTENCES["wrong_asset"])
    if invoice.status == "CANCELLED":
        raise MatchRefused("invoice_cancelled", _SENTENCES["invoice_cancelled"])
    closed = f"closed at {closed_at.isoformat()}"
    if is_late(invoice.expires_at, closed_at):
        closed += ", after the invoice expired"
    return (
        RuleResult("chosen", True, f"a person chose the invoice with reference {invoice.pay_ref}"),
        RuleResult("asset", True, asset),
        RuleResult("not_cancelled", True, invoice.status),
        RuleResult("in_time", True, closed),
    )


class Likelihood(IntEnum):
    """Why an invoice is suggested, the weakest first; what adds up counts more."""

    EXACT_AMOUNT = 1
    OPEN_CHECKOUT = 2
    KNOWN_PAYER = 4
    NEAR_REFERENCE = 8
    NAMED = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """An invoice that may be paid, with what speaks for it."""

    invoice_id: UUID
    number: str
    client_name: str
    pay_ref: int
    due: Decimal
    issued_at: datetime
    is_known_payer: bool = False
    has_open_checkout: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    candidate: Candidate
    reasons: tuple[Likelihood, ...]

    @property
    def weight(self) -> int:
        return sum(self.reasons)


def rank(
    candidates: Iterable[Candidate], *, amount: Decimal, named: int | None, digits: Sequence[str]
) -> list[Suggestion]:
    """Return what the money was most likely meant for, the likeliest first; an aid to a person, never a match.

    `named` is a valid reference in the memo or muxed id, `digits` every run of digits found there.
    """
    found = []
    for candidate in candidates:
        reasons = []
        if named is not None and candidate.pay_ref == named:
            reasons.append(Likelihood.NAMED)
        elif any(is_near(text, candidate.pay_ref) for text in digits):
            reasons.append(Likelihood.NEAR_REFERENCE)
        if candidate.is_known_payer:
            reasons.append(Likelihood.KNOWN_PAYER)
        if candidate.has_open_checkout:
            reasons.append(Likelihood.OPEN_CHECKOUT)
        if candidate.due == amount:
            reasons.append(Likelihood.EXACT_AMOUNT)
        if reasons and reasons != [Likelihood.OPEN_CHECKOUT]:
            found.append(Suggestion(candidate, tuple(reasons)))
    found.sort(key=lambda each: (-each.weight, each.candidate.issued_at, each.candidate.number))
    return found[:SUGGESTIONS_MAX]


def is_near(text: str, pay_ref: int) -> bool:
    """Say whether `text` is the reference with one digit wrong, missing, doubled, or two neighbours swapped.

    The check digit catches every one of these, so a near miss never pays an invoice by itself.
    """
    wanted = str(pay_ref)
    if text == wanted:
        return True
    if len(text) == len(wanted):
        wrong = [place for place in range(len(text)) if text[place] != wanted[place]]
        if len(wrong) == 1:
            return True
        return len(wrong) == 2 and wrong[1] == wrong[0] + 1 and (
            text[wrong[0]], text[wrong[1]]
        ) == (wanted[wrong[1]], wanted[wrong[0]])  # fmt: skip
    short, long = sorted((text, wanted), key=len)
    if len(long) - len(short) != 1:
        return False
    return any(long[:place] + long[place + 1 :] == short for place in range(len(long)))
