"""The trial balance as the page shows it: one book per asset, zero accounts apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from portal.domain.ledger import queries as ledger
from portal.domain.merchants.models import Wallet, WalletAsset
from portal.web.balances.words import ACCOUNT_WORDS, MOVED_SINCE, OWNED, difference_words

# Assets first, then what is owed, then what was earned and lost: the order in which books are read.
ORDER = tuple(ACCOUNT_WORDS)


@dataclass(frozen=True, slots=True)
class Line:
    """An account of the trial balance; its balance stands on one side."""

    kind: str
    name: str
    meaning: str
    debit: Decimal
    credit: Decimal
    account_id: UUID | None = None
    """None when there is no account yet, or more than one."""
    has_owners: bool = False


@dataclass(frozen=True, slots=True)
class Book:
    asset: str
    lines: tuple[Line, ...]
    total: Decimal
    is_balanced: bool
    settled: tuple[Line, ...] = ()
    """The rest of the chart: accounts at zero and those never used."""


@dataclass(frozen=True, slots=True)
class Held:
    """One asset of a wallet as the network last said, beside its book."""

    readiness: WalletAsset
    booked: Decimal
    difference: Decimal
    words: str


def books_of(accounts: Sequence[ledger.AccountLine]) -> list[Book]:
    """Return one trial balance per asset; amounts of different assets are never added."""
    by_asset: dict[str, list[ledger.AccountLine]] = {}
    for account in accounts:
        by_asset.setdefault(account.asset, []).append(account)
    # XLM leads, other assets follow by their text.
    return [
        _book(asset, by_asset[asset]) for asset in sorted(by_asset, key=lambda name: (name != "native", name))
    ]


def held_in(
    wallet: Wallet,
    readiness: Sequence[WalletAsset],
    booked: Mapping[tuple[UUID | None, str], tuple[Decimal, datetime]],
) -> list[Held]:
    """Return what a wallet holds, asset by asset, with the reason for each difference from the book."""
    found = []
    for each in readiness:
        if each.wallet_id == wallet.id:
            balance, changed_at = booked.get((wallet.id, each.asset), (Decimal(0), each.checked_at))
            # What was asked before the book changed says nothing about the book of now.
            is_old = changed_at > each.checked_at
            is_comparable = each.balance is not None and not is_old
            difference = each.balance - balance if is_comparable and each.balance is not None else Decimal(0)
            words = (
                MOVED_SINCE if is_old else difference_words(each.asset, difference) if is_comparable else ""
            )
            found.append(Held(each, balance, difference, words))
    return found


def _book(asset: str, accounts: Sequence[ledger.AccountLine]) -> Book:
    known = {each.kind: each for each in accounts}
    chart = [_line(known.get(kind) or ledger.AccountLine(asset, kind, Decimal(0), 0)) for kind in ORDER]
    lines = tuple(each for each in chart if each.debit or each.credit)
    left = sum((line.debit for line in lines), Decimal(0))
    right = sum((line.credit for line in lines), Decimal(0))
    settled = tuple(each for each in chart if each not in lines)
    return Book(asset, lines, left, left == right, settled)


def _line(account: ledger.AccountLine) -> Line:
    name, meaning = ACCOUNT_WORDS[account.kind]
    zero = Decimal(0)
    return Line(
        account.kind,
        name,
        meaning,
        max(account.balance, zero),
        max(-account.balance, zero),
        account.account_id,
        account.accounts > 0 and account.kind in OWNED,
    )
