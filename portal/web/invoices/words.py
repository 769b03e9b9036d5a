"""What happened to an invoice, in words: timeline, flags, and why a submitted hash was refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from portal.domain.events.models import Event
from portal.domain.payments.models import Submission
from portal.kernel.assets import asset_code
from portal.kernel.money import display
from portal.web.filters import short_hash

EVENT_WORDS = {
    "invoice.created": "Draft written",
    "invoice.updated": "Changed",
    "invoice.issued": "Issued",
    "invoice.partially_paid": "Partly paid",
    "invoice.paid": "Paid in full",
    "invoice.overpaid": "More was paid than due",
    "invoice.expired": "Expired unpaid",
    "invoice.cancelled": "Cancelled",
}
TONES = {"invoice.partially_paid": "on", "invoice.paid": "paid", "invoice.overpaid": "paid"}

# What each flag means for the person who reads the page.
FLAG_WORDS = {
    "readiness_unknown": (
        "warning",
        "The wallet could not be checked",
        "When this invoice was issued, the network did not answer in time, so we could not make sure that your"
        " wallet can receive this asset. Payments are matched as usual.",
    ),
    "late": (
        "info",
        "Paid late",
        "A payment arrived after the invoice had expired and was accepted by your policy.",
    ),
    "short": (
        "info",
        "Slightly short",
        "The last payment was a little short, within your tolerance, and was accepted.",
    ),
    "overpaid": (
        "warning",
        "More was paid than due",
        "The excess is kept as credit of the client; you may refund it from your wallet.",
    ),
    "duplicate": (
        "warning",
        "Paid twice",
        "Another payment came in after the invoice was paid. All of it is credit of the client.",
    ),
    "own_wallet": (
        "info",
        "Paid from your own wallet",
        "Such a payment counts for the invoice but not as revenue.",
    ),
    "reversed": (
        "danger",
        "A payment was taken back",
        "The issuer of the asset clawed a payment back; the books show what is left.",
    ),
}

CODE_WORDS = {
    "transaction_failed": "the transaction failed on the network, so no money moved",
    "hash_used": "it pays something else",
    "self_payment": "sender and receiver are the same account",
    "pay_and_return": "the money goes back out in the same transaction",
    "no_reference": "it carries no reference, so nobody can say what it is for",
    "unknown_reference": "its reference belongs to no invoice of yours",
    "reference_mismatch": "its memo and its muxed address name different invoices",
    "reference_conflict": "its memo and its muxed address name different invoices",
    "wrong_destination": "it went to another address than the invoice names",
    "wrong_asset": "it is another asset than the invoice asks for",
    "wrong_network": "it is on another network",
    "predates": "it is older than the invoice",
    "invoice_cancelled": "the invoice was cancelled before it arrived",
    "late": "it arrived after the invoice expired, and your policy leaves late money to you",
    "not_a_payment": "it moves no money to an account",
    "link_over_capacity": "the payment link had no uses left",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a timeline, in the shape that the macro takes."""

    text: str
    at: datetime
    tone: str = ""
    note: str = ""

    def __iter__(self) -> Iterator[object]:
        return iter((self.text, self.at, self.tone, self.note))


def reason_words(code: str | None) -> str:
    """Return why a credit or a claim was not accepted, as the end of a sentence."""
    return CODE_WORDS.get(code or "", (code or "unknown").replace("_", " "))


def flag_words(flags: Sequence[str]) -> list[tuple[str, str, str]]:
    return [FLAG_WORDS[flag] for flag in flags if flag in FLAG_WORDS]


def timeline_of(events: Sequence[Event], submissions: Sequence[Submission]) -> list[Moment]:
    """Return what happened, newest first; `events` come newest first too."""
    moments = [_event(event, older) for event, older in zip(events, [*events[1:], None], strict=True)]
    moments += [_submission(each) for each in submissions]
    return sorted(moments, key=lambda moment: moment.at, reverse=True)


def _event(event: Event, older: Event | None) -> Moment:
    text = EVENT_WORDS.get(event.type, event.type.partition(".")[2].replace("_", " ").capitalize())
    return Moment(text, event.occurred_at, TONES.get(event.type, ""), _note(event, older))


def _note(event: Event, older: Event | None) -> str:
    """Say how much came in with an event: the difference to the one before it."""
    now = event.payload
    if event.type == "invoice.issued":
        return f"Number {now['number']}" if now.get("number") else ""
    if older is None or event.type not in TONES:
        return ""
    code = asset_code(str(now["asset"]))
    if event.type == "invoice.overpaid":
        # The event before it carries the same excess already: one payment makes both.
        return f"{display(Decimal(str(now['overpaid_by'])))} {code} in excess in all"
    gained = Decimal(str(now["amount_received"])) - Decimal(str(older.payload["amount_received"]))
    return f"{display(gained)} {code} credited" if gained > 0 else ""


def _submission(submission: Submission) -> Moment:
    words = {
        "CHECKING": ("A transaction was submitted, we are checking it", "on"),
        "ACCEPTED": ("A submitted transaction was accepted", "on"),
        "REJECTED": ("A submitted transaction was refused", ""),
        "NOT_FOUND": ("A submitted transaction never reached the network", ""),
    }
    text, tone = words[submission.state]
    note = short_hash(submission.transaction_hash)
    if submission.state == "REJECTED":
        note += f": {reason_words(submission.code)}"
    return Moment(text, submission.created_at, tone, note)
