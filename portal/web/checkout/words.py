"""What payers read about a hash they submitted: one sentence of fact and one of what to do, for every code."""

from dataclasses import dataclass

from portal.domain.payments.checkout import Claim


@dataclass(frozen=True, slots=True)
class Words:
    """`tone` is a class of `.notice`: info, success or warning; the texts may name {merchant} and {asset}."""

    tone: str
    title: str
    text: str
    step: str

    def filled(self, *, merchant: str, asset: str) -> "Words":
        names = {"merchant": merchant, "asset": asset}
        return Words(self.tone, self.title, self.text.format(**names), self.step.format(**names))


@dataclass(frozen=True, slots=True)
class RuleWords:
    text: str
    ok: bool


_SEEN = "{merchant} can see this payment and match it by hand."

STATES = {
    "ACCEPTED": Words(
        "success", "Your payment was found", "It pays this invoice and has been counted.",
        "You do not need to do anything else for this transaction.",
    ),
    "CHECKING": Words(
        "info", "Looking for your payment",
        "The network has not shown this transaction yet. That usually takes a few seconds.",
        "Leave this page open, or come back to the same link later: we keep looking for a day.",
    ),
    "NOT_FOUND": Words(
        "warning", "That transaction was not found",
        "We looked for a day and the network does not know this hash.",
        "Compare the hash with the one in your wallet and enter it again. If your wallet says the payment failed,"
        " pay with the details on this page.",
    ),
}  # fmt: skip

REFUSALS = {
    "transaction_failed": Words(
        "warning", "That transaction failed",
        "The network has it, but it did not go through, so no money moved.",
        "Pay with the details on this page, then enter the hash of the new transaction.",
    ),
    "wrong_destination": Words(
        "warning", "That payment went to another address",
        "It does not pay the address of this invoice.",
        "Check that you copied the right hash. If you did pay another address, only its owner can send the"
        " money back.",
    ),
    "wrong_asset": Words(
        "warning", "That payment is in another asset",
        "This invoice is paid in {asset}. An asset with the same name from another issuer is a different one.",
        _SEEN + " Contact {merchant}, or pay with the asset named on this page.",
    ),
    "no_reference": Words(
        "warning", "That payment has no memo",
        "It reached {merchant}, but nothing in it says which invoice it is for.",
        _SEEN + " Contact {merchant} and give them this hash. Please do not pay a second time.",
    ),
    "unknown_reference": Words(
        "warning", "That payment has another memo",
        "It reached {merchant}, but its memo is not the one of this invoice.",
        _SEEN + " Contact {merchant} and give them this hash. Please do not pay a second time.",
    ),
    "reference_conflict": Words(
        "warning", "That payment names two invoices",
        "Its memo and its muxed address say different things, so we do not guess.",
        _SEEN + " Contact {merchant} and give them this hash. Please do not pay a second time.",
    ),
    "self_payment": Words(
        "warning", "That payment went from an account to itself",
        "Sender and receiver are the same account, so nothing changed hands.",
        "Pay from your own wallet with the details on this page.",
    ),
    "pay_and_return": Words(
        "warning", "That transaction sends the money back",
        "In the same transaction the receiver sends this asset out again, so it cannot count as paid.",
        _SEEN + " Contact {merchant} if you think this is wrong.",
    ),
    "predates": Words(
        "warning", "That payment is older than this invoice",
        "It was made before the invoice existed, so it cannot be for it.",
        "Check that you copied the right hash, or pay with the details on this page.",
    ),
    "late": Words(
        "warning", "That payment came after the time to pay",
        "It reached {merchant} when this invoice had already expired.",
        _SEEN + " Contact {merchant} and give them this hash. Please do not pay a second time.",
    ),
    "invoice_cancelled": Words(
        "warning", "This invoice was cancelled",
        "The payment reached {merchant}, but the invoice is no longer open.",
        _SEEN + " Contact {merchant} about your money and give them this hash.",
    ),
    "hash_used": Words(
        "warning", "That transaction already paid for something else",
        "Every payment in it has been counted elsewhere, and each counts once.",
        "Check that you copied the right hash, or pay with the details on this page.",
    ),
    "payment_reversed": Words(
        "warning", "That payment was taken back",
        "The issuer of {asset} took it back after it had been counted.",
        "Pay again with the details on this page, or contact {merchant}.",
    ),
    "not_a_payment": Words(
        "warning", "That transaction pays nobody",
        "It is on the network, but it moves no money to any account.",
        "Check that you copied the hash of your payment and enter it again.",
    ),
}  # fmt: skip

# A code that is newer than this table still gets a next step.
OTHER_REFUSAL = Words(
    "warning", "That payment does not pay this invoice",
    "We checked the transaction, and it does not fit this invoice.",
    "Contact {merchant} and give them this hash.",
)  # fmt: skip

# (when it holds, when it does not)
RULES = {
    "successful": (
        "The network carried the transaction out",
        "The network did not carry the transaction out",
    ),
    "second_source": (
        "A second source of the network agrees",
        "A second source of the network does not agree",
    ),
    "chosen": ("A person said that it is for this invoice", "Nobody said that it is for this invoice"),
    "hash_verified": ("The hash belongs to this transaction", "The hash does not belong to this transaction"),
    "not_self_payment": (
        "Sender and receiver are different accounts",
        "Sender and receiver are the same account",
    ),
    "kept": ("The receiver keeps the money", "The receiver sends the money out again at once"),
    "reference": ("Memo or muxed address names an invoice", "No memo or muxed address names an invoice"),
    "invoice": ("The named invoice is known", "No invoice has this memo"),
    "destination": ("It pays the address of this invoice", "It does not pay the address of this invoice"),
    "asset": ("It pays in the asset of this invoice", "It pays in another asset"),
    "after_issue": ("It was made after the invoice was issued", "It was made before the invoice was issued"),
    "not_cancelled": ("The invoice was not cancelled", "The invoice was cancelled"),
    "in_time": ("It came in time", "It came after the time to pay"),
    "amount": ("The amount was counted", "The amount was not counted"),
    "tolerance": ("The small rest was waived", "The rest is too large to be waived"),
    "new": ("It had not been counted before", "It had been counted before"),
    "names_this_invoice": ("It names this invoice", "It names another invoice"),
    "payment": ("It pays an account", "It pays no account"),
}


def words_for(claim: Claim, *, merchant: str, asset: str) -> Words:
    """Return what to say about a claim; `asset` is its code, as people know it."""
    if claim.state == "REJECTED":
        found = REFUSALS.get(claim.code or "", OTHER_REFUSAL)
    else:
        found = STATES[claim.state]
    return found.filled(merchant=merchant, asset=asset)


def rule_words(claim: Claim) -> tuple[RuleWords, ...]:
    """Return the rules in words, in the order they were asked; those without words are for the merchant alone."""
    return tuple(RuleWords(RULES[code][0 if ok else 1], ok) for code, ok in claim.rules if code in RULES)
