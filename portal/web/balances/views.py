"""What the books say, what is awaited, and what the wallets hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.domain.invoices import queries as invoices
from portal.domain.ledger import queries as ledger
from portal.domain.merchants import queries as merchants
from portal.web.access import merchant_required, user

bp = Blueprint("balances", __name__, url_prefix="/balances")

ACCOUNT_WORDS = {
    "wallet": ("Wallet", "money that reached your wallets"),
    "receivable": ("Receivable", "issued and not yet paid"),
    "client_credit": ("Client credit", "paid beyond what was due, owed to clients"),
    "income": ("Income", "what your invoices charge before tax"),
    "tax_payable": ("Tax payable", "tax on your invoices, owed to the state"),
    "discount": ("Discounts", "what you let off"),
    "write_off": ("Written off", "cancelled or expired unpaid"),
    "rounding": ("Rounding", "small amounts missing within your tolerance"),
    "suspense": ("Unmatched money", "arrived, but for no known invoice"),
    "refunds": ("Refunds", "sent back to payers"),
    "external": ("Paid elsewhere", "recorded as paid outside the network"),
}
# Assets first, then what is owed, then what was earned and lost: the order in which books are read.
ORDER = tuple(ACCOUNT_WORDS)


@dataclass(frozen=True, slots=True)
class Line:
    """An account of the trial balance; its balance stands on one side."""

    name: str
    meaning: str
    debit: Decimal
    credit: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    asset: str
    lines: tuple[Line, ...]
    total: Decimal
    is_balanced: bool


@bp.get("")
@merchant_required("viewer")
def index() -> ResponseReturnValue:
    merchant_id, network = user().merchant_id, user().network
    wallets = merchants.list_wallets(merchant_id, network)
    held = merchants.list_readiness(merchant_id, [wallet.id for wallet in wallets]) if wallets else []
    return render_template(
        "balances/index.html",
        books=books_of(ledger.list_trial_balance(merchant_id=merchant_id, network=network)),
        dues=invoices.open_dues(merchant_id=merchant_id, network=network),
        wallets=[(wallet, [each for each in held if each.wallet_id == wallet.id]) for wallet in wallets],
    )


def books_of(accounts: Sequence[ledger.AccountLine]) -> list[Book]:
    """Return one trial balance per asset; amounts of different assets are never added."""
    by_asset: dict[str, list[ledger.AccountLine]] = {}
    for account in accounts:
        by_asset.setdefault(account.asset, []).append(account)
    # XLM leads, other assets follow by their text.
    return [
        _book(asset, by_asset[asset]) for asset in sorted(by_asset, key=lambda name: (name != "native", name))
    ]


def _book(asset: str, accounts: Sequence[ledger.AccountLine]) -> Book:
    lines = tuple(
        _line(each) for each in sorted(accounts, key=lambda each: ORDER.index(each.kind)) if each.balance
    )
    left = sum((line.debit for line in lines), Decimal(0))
    right = sum((line.credit for line in lines), Decimal(0))
    return Book(asset, lines, left, left == right)


def _line(account: ledger.AccountLine) -> Line:
    name, meaning = ACCOUNT_WORDS[account.kind]
    zero = Decimal(0)
    return Line(name, meaning, max(account.balance, zero), max(-account.balance, zero))
