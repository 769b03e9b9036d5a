"""Why a transaction that somebody named was not credited to an invoice, and what a merchant can do next."""

from dataclasses import dataclass
from uuid import UUID

from flask import url_for

from portal.domain.payments import queries
from portal.domain.payments.models import Submission
from portal.kernel.refs import to_ref
from portal.web.invoices.words import reason_words
from portal.web.payments.words import Rule, rules_of

# Said when nothing of the transaction reached a wallet of this merchant; what did is decided on its own page.
STEPS = {
    "transaction_failed": "Nothing was taken from the payer. Ask for a new payment with the details on the payment page.",
    "wrong_destination": "It reached no wallet of yours. Compare the hash with the payer's; only who received the"
    " money can send it back.",
    "not_a_payment": "Compare the hash with the payer's: this transaction does something else.",
    "self_payment": "Nothing changed hands. Ask for a payment from another account.",
}
OTHER_STEP = "Compare the hash with the payer's and look again."
UNMATCHED_STEP = "The money is in your wallet and waits in unmatched money: match it to this invoice there."
USED_STEP = "Each payment counts once. See what this one paid."


@dataclass(frozen=True, slots=True)
class Refusal:
    """`link` is (words, address) of the page where a person can decide, None when there is none."""

    text: str
    step: str
    link: tuple[str, str] | None
    rules: tuple[Rule, ...]


def refusal_of(submission: Submission, *, merchant_id: UUID, network: str) -> Refusal:
    """Return the words for a rejected submission, with the way to the money if it reached this merchant."""
    code = submission.code or ""
    text = f"We looked it up on the network: {reason_words(code)}."
    rules = tuple(rules_of(submission.rules))
    stored = queries.find_transaction(network=network, transaction_hash=submission.transaction_hash)
    found = [] if stored is None else queries.list_recorded(merchant_id=merchant_id, transaction_id=stored.id)
    waiting = [each for each in found if each.status == "UNMATCHED"]
    if waiting:
        return Refusal(text, UNMATCHED_STEP, ("Match it by hand", _page_of(waiting[0].id)), rules)
    if found and code == "hash_used":
        return Refusal(text, USED_STEP, ("See the payment", _page_of(found[0].id)), rules)
    return Refusal(text, STEPS.get(code, OTHER_STEP), None, rules)


def _page_of(payment_id: UUID) -> str:
    return url_for("payments.show", ref=to_ref("pay", payment_id))
