"""States, steps and refusals of refunds in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from portal.domain.events.models import Event
from portal.domain.payments.rules import RuleResult
from portal.kernel.money import from_stroops
from portal.web.filters import display_amount, short_hash

# (word, tone of the badge)
STATUS_WORDS = {
    "PENDING": ("To be sent", "pending"),
    "PROCESSING": ("On its way", "partial"),
    "COMPLETED": ("Sent back", "paid"),
    "FAILED": ("Given up", "failed"),
    "CANCELLED": ("Cancelled", "cancelled"),
}
MEMO_WORDS = {"none": "No memo", "id": "Memo (ID)", "text": "Memo (text)", "hash": "Memo (hash)"}

CODE_WORDS = {
    "transaction_failed": "the transaction failed on the network, so no money moved",
    "not_a_payment": "it moves no money to an account",
    "wrong_source": "it was not paid by the wallet that received the payment",
    "wrong_receiver": "it does not pay the account that sent the payment",
    "wrong_asset": "it is another asset than the payment was",
    "wrong_amount": "it is another amount than was agreed",
    "wrong_memo": "it does not carry the memo that was agreed",
    "predates_payment": "it is older than the payment it should give back",
    "hash_used": "it is another refund already",
    "not_found": "the network never showed it",
    "withdrawn": "it was named by mistake",
    "not_sent": "nothing was sent within a day, and what was prepared cannot be sent any more",
}
STEPS = {
    "transaction_failed": "Prepare the refund again and sign the new transaction.",
    "wrong_amount": "If you meant to send that much, cancel this refund and make one of that amount.",
    "wrong_memo": "If it went out without the memo, ask the receiver's support to find it; cancel this refund and"
    " make one without a memo to record it.",
    "hash_used": "Each transaction counts once. Compare the hash with the one in your wallet.",
}
OTHER_STEP = "Compare the hash with the one in your wallet and enter it again. Nothing was changed."

# (what it means when the rule holds, when it does not); the rules are those of domain/refunds/rules.py.
_RULES = {
    "hash_verified": ("The transaction really hashes to this hash", "It does not hash to this hash"),
    "successful": ("The network accepted the transaction", "The transaction failed on the network"),
    "payment": ("It moves money to an account", "It moves no money to an account"),
    "source": ("Your wallet that was paid sent it", "It was sent by another account"),
    "receiver": ("It reached the account that had paid", "It reached another account"),
    "asset": ("It is the same asset", "It is another asset"),
    "exact": ("It is the exact amount", "It is another amount"),
    "memo": ("It carries the memo that was agreed", "It lacks the memo that was agreed"),
    "after_payment": ("It came after the payment", "It is older than the payment"),
    "unused": ("It is no other refund", "It is another refund already"),
}
_EVENTS = {
    "refund.created": ("Asked for", "on"),
    "refund.processing": ("A transaction was named", "on"),
    "refund.completed": ("Sent back, confirmed by the network", "paid"),
    "refund.failed": ("Given up", ""),
    "refund.cancelled": ("Cancelled", ""),
}


@dataclass(frozen=True, slots=True)
class Rule:
    text: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a named transaction is not the refund, rule by rule, and what to do."""

    text: str
    step: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline, in the shape that the macro takes."""

    text: str
    at: datetime
    tone: str = ""
    note: str = ""

    def __iter__(self) -> Iterator[object]:
        return iter((self.text, self.at, self.tone, self.note))


def why(code: str | None) -> str:
    return CODE_WORDS.get(code or "", (code or "").replace("_", " "))


def refusal_of(code: str, rules: Sequence[RuleResult]) -> Refusal:
    return Refusal(
        f"We looked it up on the network: {why(code)}.", STEPS.get(code, OTHER_STEP), tuple(map(_rule, rules))
    )


def timeline_of(events: Sequence[Event]) -> list[Moment]:
    """Return what happened, newest first as the events come."""
    return [_moment(event) for event in events]


def _rule(result: RuleResult) -> Rule:
    good, bad = _RULES.get(result.code, (result.code.replace("_", " "),) * 2)
    detail = result.detail
    if result.code == "exact":
        received, agreed = (int(word) for word in detail.split() if word.isdigit())
        detail = f"{_units(received)} received, {_units(agreed)} agreed"
    return Rule(good if result.ok else bad, result.ok, detail)


def _moment(event: Event) -> Moment:
    code, named = event.payload.get("code"), event.payload.get("transaction_hash")
    if event.type == "refund.updated":
        texts = {None: "Prepared again", "withdrawn": "The hash was taken back"}
        return Moment(texts.get(code, "It was not that transaction"), event.occurred_at, "", _sentence(code))
    text, tone = _EVENTS.get(event.type, (event.type, ""))
    return Moment(text, event.occurred_at, tone, _sentence(code) or (short_hash(named) if named else ""))


def _sentence(code: str | None) -> str:
    words = why(code)
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def _units(stroops: int) -> str:
    return display_amount(from_stroops(stroops))
