"""Accounts and journals in words."""

from decimal import Decimal

from portal.domain.ledger.models import BookCheck

ACCOUNT_WORDS = {
    "wallet": ("Wallet", "money that reached your wallets"),
    "receivable": ("Receivable", "issued and not yet paid"),
    "client_credit": ("Client credit", "paid beyond what was due, owed to clients"),
    "income": ("Income", "what your invoices charge before tax"),
    "tax_payable": ("Tax payable", "tax on your invoices, owed to the state"),
    "discount": ("Discounts", "what you let off"),
    "write_off": ("Written off", "closed unpaid, or taken back by an issuer"),
    "rounding": ("Rounding", "small amounts missing within your tolerance"),
    "suspense": ("Unmatched money", "arrived, but for no known invoice"),
    "refunds": ("Refunds", "sent back to payers out of what you earned"),
    "external": ("Paid elsewhere", "recorded as paid outside the network"),
}
# Kinds of which everybody has an account of his own.
OWNED = {"wallet": "All wallets", "receivable": "All who owe", "client_credit": "All with credit"}
_JOURNAL_WORDS = {
    "issue": "Invoice issued",
    "allocation": "Payment received",
    "unmatched": "Money without an invoice received",
    "short": "Small rest forgiven",
    "close": "Invoice closed unpaid",
    "match": "Matched by a person",
    "credit": "Client credit used",
    "credit_back": "Moved to client credit",
    "external": "Paid outside the network",
    "refund": "Refund sent",
    "clawback": "Taken back by the issuer",
}
# Where the book and the wallet differ at most by what the network charges for a few hundred transactions.
FEES_AT_MOST = Decimal("0.1")


def journal_words(kind: str, is_reversal: bool) -> str:
    words = _JOURNAL_WORDS[kind]
    return f"Reversed: {words[0].lower()}{words[1:]}" if is_reversal else words


MOVED_SINCE = "Money came or went since the network was asked, so the two cannot be compared. Settings, Wallets can ask again."


def difference_words(asset: str, difference: Decimal) -> str:
    """Return why a wallet holds that much more (or, below zero, less) than its book: the usual reasons."""
    if difference == 0:
        return "The wallet holds what the book says."
    if difference > 0:
        return "It was there before the portal began to watch the wallet, or has arrived just now."
    if asset == "native" and -difference <= FEES_AT_MOST:
        return "The network took it in fees."
    return "You sent it out of the wallet. The book follows what comes in, and refunds made here."


def check_words(check: BookCheck) -> str:
    """Return what the last look at the books counted: "214 invoices, 380 payments, 31 accounts"."""
    counts = (("invoice", check.invoices), ("payment", check.payments), ("account", check.accounts))
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts)
