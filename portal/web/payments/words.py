"""Why a payment counts or not, what speaks for an invoice and what happened, in words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from portal.domain.invoices.documents import plain
from portal.domain.payments.evidence import Evidence, Field
from portal.domain.payments.history import Happening
from portal.domain.payments.matching import Likelihood
from portal.kernel.assets import asset_code
from portal.kernel.money import STROOPS_PER_UNIT, display
from portal.web.invoices.words import FLAG_WORDS, reason_words

# (what it means when the rule holds, when it does not); the rules are those of domain/payments/rules.py.
RULES: dict[str, tuple[str, str]] = {
    "hash_verified": (
        "The transaction really hashes to this hash",
        "The transaction does not hash to this hash",
    ),
    "successful": ("The network accepted the transaction", "The transaction failed on the network"),
    "not_self_payment": ("Somebody else paid", "Sender and receiver are the same account"),
    "kept": ("The money stayed", "The money went back out in the same transaction"),
    "reference": ("It carries one clear reference", "It carries no clear reference"),
    "invoice": ("The reference names an invoice of yours", "The reference names no invoice of yours"),
    "destination": (
        "It reached the address on the invoice",
        "It went to another address than the invoice names",
    ),
    "asset": ("It is the asset that was asked for", "It is another asset than was asked for"),
    "after_issue": ("It came after the invoice was issued", "It is older than the invoice"),
    "not_cancelled": ("The invoice was not cancelled", "The invoice was cancelled"),
    "in_time": (
        "It came while the invoice was open, or late money is accepted",
        "It came after the invoice expired",
    ),
    "amount": ("The amount was given to the invoice", "The amount does not fit"),
    "tolerance": ("What was missing is within your tolerance", "Too much was missing"),
    "new": ("It was not counted before", "It was counted before"),
    "names_this_invoice": ("It names this invoice", "It names another invoice"),
    "payment": ("It moves money to an account", "It moves no money to an account"),
    "chosen": ("A person chose the invoice", "No person chose the invoice"),
}

# What a person sets aside by choosing an invoice, by the code of the rule.
OVERRULED = {
    "reference": "It carries no reference of this invoice. You say that it is meant for it.",
    "destination": "It reached another wallet of yours than the invoice names.",
    "after_issue": "It is older than the invoice.",
    "in_time": "It came after the invoice had expired.",
}

LIKELIHOODS = {
    Likelihood.NAMED: "its reference names it",
    Likelihood.NEAR_REFERENCE: "its reference, mistyped",
    Likelihood.KNOWN_PAYER: "known payer",
    Likelihood.OPEN_CHECKOUT: "somebody was paying it then",
    Likelihood.EXACT_AMOUNT: "exact amount",
}
# From here on a suggestion is called probable: one strong sign, or two weak ones.
PROBABLE = int(Likelihood.KNOWN_PAYER)

_REASONS = {
    "clawback": "the issuer of the asset took it back",
    "refunded": "it was sent back to its payer",
}
_FLAGS = {
    "refund_due": ("info", "Marked for refund", "Somebody decided that this money is to be sent back."),
    "moved_to_credit": (
        "info",
        "Moved to client credit",
        "What it had given an invoice is credit of the client now.",
    ),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One answer of the judge; `fields` are where it stands in the network's record."""

    text: str
    ok: bool
    detail: str
    fields: tuple[Field, ...] = ()


def rules_of(evidence: Sequence[Any], source: Evidence | None = None) -> list[Rule]:
    """Return the recorded answers of the judge in words; a rule we have no words for keeps its code."""
    result = []
    for each in evidence:
        good, bad = RULES.get(each["code"], (each["code"].replace("_", " "),) * 2)
        detail = _readable(str(each["detail"]))
        fields = () if source is None else source.fields(each["code"])
        fields = tuple(_shortened(field, detail) for field in fields)
        result.append(Rule(good if each["ok"] else bad, each["ok"], detail, fields))
    return result


def _shortened(field: Field, detail: str) -> Field:
    """Return the field by its name alone where the answer says its value already."""
    is_said = field.value is not None and field.value in detail.split()
    return Field(field.name, "") if is_said else field


def why_not(reason: str | None) -> str:
    """Return why money does not count, as the end of a sentence."""
    return _REASONS.get(reason or "") or reason_words(reason)


def flags_of(flags: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (kind, title, text) of what is worth telling about a payment."""
    known = FLAG_WORDS | _FLAGS
    return [known[flag][:3] for flag in flags if flag in known]


def likelihoods(reasons: Sequence[Likelihood]) -> str:
    return ", ".join(LIKELIHOODS[each] for each in reasons)


def timeline_of(
    happenings: Sequence[Happening], numbers: Mapping[str, str]
) -> list[tuple[str, datetime, str, str]]:
    """Return (text, moment, tone, note) of what happened, newest first; `numbers` calls invoices by their refs."""
    older: list[Happening | None] = [*happenings[1:], None]
    return [_moment(each, before, numbers) for each, before in zip(happenings, older, strict=True)]


def _moment(
    each: Happening, before: Happening | None, numbers: Mapping[str, str]
) -> tuple[str, datetime, str, str]:
    text, tone, note = _told(each, before, numbers)
    by = f" by {each.actor}" if each.actor is not None and before is not None else ""
    return f"{text}{by}", each.at, tone, note


def _told(each: Happening, before: Happening | None, numbers: Mapping[str, str]) -> tuple[str, str, str]:
    kind, decision = each.type.partition(".")[2], each.detail.get("decision") or {}
    if before is None:
        return _recorded(each, kind, numbers)
    if kind == "confirmed":
        named = [_name(part["invoice"], numbers) for part in decision.get("parts", ())]
        return f"Matched to {' and '.join(named) or 'an invoice'}", "paid", str(decision.get("note") or "")
    if kind == "unmatched":
        undone = (each.detail.get("undone") or {}).get("action")
        return ("Put back into the inbox" if undone == "ignore" else "Match undone"), "", ""
    if kind == "ignored":
        return "Set aside", "", str(decision.get("note") or "")
    if kind == "reversed":
        return "Taken back by the issuer of the asset", "", ""
    return _updated(each, before)


def _recorded(each: Happening, kind: str, numbers: Mapping[str, str]) -> tuple[str, str, str]:
    if kind == "confirmed":
        invoice = each.payment.get("invoice")
        return f"Recorded and credited to {_name(invoice, numbers)}", "paid", ""
    return "Recorded, and no invoice credited", "on", why_not(each.payment.get("reason")).capitalize()


def _updated(each: Happening, before: Happening) -> tuple[str, str, str]:
    if "refund_due" in each.detail:
        return ("Marked for refund" if each.detail["refund_due"] else "Not to be refunded after all"), "", ""
    if each.detail.get("moved_to_credit"):
        return "Moved to client credit", "", ""
    gone = Decimal(str(each.payment.get("refunded", 0))) - Decimal(str(before.payment.get("refunded", 0)))
    if gone > 0:
        return "Sent back", "", f"{display(gone)} {asset_code(str(each.payment['asset']))}"
    if each.payment.get("allocations") != before.payment.get("allocations"):
        return "Shared out anew", "on", "Other money of the invoice came or went."
    return "Changed", "", ""


def _name(ref: object, numbers: Mapping[str, str]) -> str:
    return numbers.get(str(ref), "an invoice")


def _readable(detail: str) -> str:
    """Return the detail with its stroops said in units of the asset, as everything else on the page is."""
    if "stroops" not in detail:
        return detail
    return re.sub("[0-9]+", lambda match: _units(match[0]), detail.replace(" stroops", ""))


def _units(stroops: str) -> str:
    return plain(Decimal(stroops) / STROOPS_PER_UNIT)
