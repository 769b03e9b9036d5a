"""What happened to an invoice and to its payments: one line each, with who did it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from portal.domain.audit import queries as audit
from portal.domain.audit.models import AuditEntry
from portal.domain.events.models import Event
from portal.domain.invoices import queries
from portal.domain.invoices.models import Invoice
from portal.domain.payments.models import Submission
from portal.domain.payments.queries import SeenPayment
from portal.kernel.assets import asset_code
from portal.kernel.money import display
from portal.kernel.refs import to_ref
from portal.web.actors import actor_words
from portal.web.filters import short_hash
from portal.web.invoices.receiving_forms import METHOD_WORDS
from portal.web.invoices.words import reason_words

INVOICE_WORDS = {
    "invoice.created": "Draft written",
    "invoice.updated": "Changed",
    "invoice.issued": "Issued",
    "invoice.partially_paid": "Partly paid",
    "invoice.paid": "Paid in full",
    "invoice.overpaid": "More was paid than due",
    "invoice.expired": "Expired",
    "invoice.cancelled": "Cancelled",
}
TONES = {"invoice.partially_paid": "on", "invoice.paid": "paid", "invoice.overpaid": "paid"}
PAYMENT_WORDS = {
    "payment.confirmed": "Payment found on the network",
    "payment.unmatched": "Payment not credited",
    "payment.ignored": "Payment set aside",
    "payment.reversed": "Payment taken back by the issuer",
}
SUBMISSION_WORDS = {
    "CHECKING": ("A transaction was submitted, we are checking it", "on"),
    "ACCEPTED": ("A submitted transaction was accepted", "on"),
    "REJECTED": ("A submitted transaction was refused", ""),
    "NOT_FOUND": ("A submitted transaction never reached the network", ""),
}
# A submission is no event: its own column says where it came from.
ORIGIN_WORDS = {
    "page": "on the payment page",
    "api": "by a program with an API key",
    "portal": "by a colleague",
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


def timeline_of(
    invoice: Invoice, seen: Sequence[SeenPayment], submissions: Sequence[Submission]
) -> list[Moment]:
    """Return what happened, newest first, read in three statements at most."""
    ids = [invoice.id, *(each.payment.id for each in seen)]
    events = queries.timeline(merchant_id=invoice.merchant_id, aggregate_ids=ids)
    noted = audit.list_at(merchant_id=invoice.merchant_id, moments={event.occurred_at for event in events})
    log = _Log(noted, asset_code(invoice.asset), {to_ref("pay", each.payment.id) for each in seen})
    mine = [event for event in events if event.aggregate_id == invoice.id]
    moments = [log.of_invoice(event, older) for event, older in zip(mine, [*mine[1:], None], strict=True)]
    moments += log.of_decisions(to_ref("inv", invoice.id))
    moments += [log.of_payment(event) for event in events if event.aggregate_id != invoice.id]
    found = [each for each in moments if each is not None] + [_submission(each) for each in submissions]
    # What was written together stays in this order: the effect above its cause.
    return sorted(found, key=lambda moment: moment.at, reverse=True)


class _Log:
    """The audit entries of one timeline, by what they are about; `shown` are the payments with lines of their own."""

    def __init__(self, entries: Sequence[AuditEntry], code: str, shown: set[str]) -> None:
        self._entries = entries
        self._code = code
        self._shown = shown
        self._by = {(each.object_ref, each.action, each.created_at): each for each in entries}
        self._names = actor_words(each.actor for each in entries)

    def of_invoice(self, event: Event, older: Event | None) -> Moment | None:
        if event.type == "invoice.updated" and event.payload.get("number"):
            # An issued invoice changes by its money alone, and what took money off it has a line of its own.
            return self._undone(event, older)
        text = INVOICE_WORDS.get(event.type, event.type.partition(".")[2].replace("_", " ").capitalize())
        note = self._gained(event, older)
        entry = self._by.get((to_ref("inv", event.aggregate_id), event.type, event.occurred_at))
        return Moment(text, event.occurred_at, TONES.get(event.type, ""), self._note(note, entry))

    def of_payment(self, event: Event) -> Moment | None:
        text = PAYMENT_WORDS.get(event.type)
        entry = self._by.get((to_ref("pay", event.aggregate_id), event.type, event.occurred_at))
        if text is None or entry is None:
            return None
        said = entry.after or {}
        note = f"{self._amount(event.payload['amount'])} from {short_hash(event.payload['from'])}"
        if "decision" in said:
            text = {"match": "Payment matched by hand"}.get(said["decision"]["action"], text)
            note = said["decision"]["note"] or note
        elif "undone" in said:
            text = "Match undone"
        elif event.type == "payment.unmatched":
            note = f"{note}: {reason_words(event.payload['reason'])}"
        return Moment(text, event.occurred_at, "", self._note(note, entry))

    def _undone(self, event: Event, older: Event | None) -> Moment | None:
        """Tell of the match that was undone: its payment is this invoice's no more, so that it has no line here."""
        for entry in self._entries:
            is_undone = entry.action == "payment.unmatched" and "undone" in (entry.after or {})
            if is_undone and entry.created_at == event.occurred_at and entry.object_ref not in self._shown:
                return Moment(
                    "Match undone", event.occurred_at, "", self._note(self._lost(event, older), entry)
                )
        return None

    def of_decisions(self, invoice_ref: str) -> list[Moment]:
        return [moment for each in self._entries if (moment := self._decision(each, invoice_ref)) is not None]

    def _decision(self, entry: AuditEntry, invoice_ref: str) -> Moment | None:
        said: dict[str, Any] = entry.after or {}
        if invoice_ref not in (entry.object_ref, said.get("invoice")) or "amount" not in said:
            return None
        amount = self._amount(said["amount"])
        match entry.action:
            case "external_payment.recorded":
                text, note = f"{amount} recorded by hand", f"{METHOD_WORDS[said['method']]}: {said['reason']}"
            case "external_payment.undone":
                text, note = f"Payment of {amount} by hand undone", said["reason"]
            case "invoice.credit_applied":
                text, note = f"{amount} of credit used", ""
            case "invoice.moved_to_credit":
                text, note = f"{amount} moved to credit", ""
            case _:
                return None
        return Moment(text, entry.created_at, "", self._note(note, entry))

    def _gained(self, event: Event, older: Event | None) -> str:
        """Say how much came in with an event: the difference to the one before it."""
        now = event.payload
        if event.type == "invoice.issued":
            return f"Number {now['number']}" if now.get("number") else ""
        if older is None or event.type not in TONES:
            return ""
        if event.type == "invoice.overpaid":
            # The event before it carries the same excess already: one payment makes both.
            return f"{self._amount(now['overpaid_by'])} in excess in all"
        gained = Decimal(str(now["amount_received"])) - Decimal(str(older.payload["amount_received"]))
        return f"{self._amount(gained)} credited" if gained > 0 else ""

    def _lost(self, event: Event, older: Event | None) -> str:
        if older is None:
            return ""
        lost = Decimal(str(older.payload["amount_received"])) - Decimal(str(event.payload["amount_received"]))
        return f"{self._amount(lost)} taken off" if lost > 0 else ""

    def _amount(self, text: object) -> str:
        return f"{display(Decimal(str(text)))} {self._code}"

    def _note(self, note: str, entry: AuditEntry | None) -> str:
        who = "" if entry is None else self._names[entry.actor]
        return ", ".join(part for part in (note, who) if part)


def _submission(submission: Submission) -> Moment:
    text, tone = SUBMISSION_WORDS[submission.state]
    note = short_hash(submission.transaction_hash)
    if submission.state == "REJECTED":
        note += f": {reason_words(submission.code)}"
    return Moment(
        text, submission.created_at, tone, f"{note}, {ORIGIN_WORDS.get(submission.origin, 'automatically')}"
    )
