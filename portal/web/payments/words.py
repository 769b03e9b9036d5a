"""Why a payment counts or not, rule by rule, in words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from portal.domain.invoices.documents import plain
from portal.kernel.money import STROOPS_PER_UNIT

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
}


@dataclass(frozen=True, slots=True)
class Rule:
    text: str
    ok: bool
    detail: str


def rules_of(evidence: Sequence[Any]) -> list[Rule]:
    """Return the recorded answers of the judge in words; a rule we have no words for keeps its code."""
    result = []
    for each in evidence:
        good, bad = RULES.get(each["code"], (each["code"].replace("_", " "),) * 2)
        result.append(Rule(good if each["ok"] else bad, each["ok"], _readable(str(each["detail"]))))
    return result


def _readable(detail: str) -> str:
    """Return the detail with its stroops said in units of the asset, as everything else on the page is."""
    if "stroops" not in detail:
        return detail
    return re.sub("[0-9]+", lambda match: _units(match[0]), detail.replace(" stroops", ""))


def _units(stroops: str) -> str:
    return plain(Decimal(stroops) / STROOPS_PER_UNIT)
