"""Believe money only when two sources of the chain agree on it.

The first source leads: cursors, accounts and submissions are its own. What it says about a transaction that
credits an account with, or claws back from it, more than the threshold of an asset counts once the second says
the same; until then it is neither confirmed nor refused.
"""

import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import chain

from portal.kernel.chain import (
    CLAWBACK,
    AccountState,
    ChainContradiction,
    ChainSource,
    ChainUnavailable,
    NetworkState,
    NotConfirmed,
    ObservedTransaction,
    Page,
    RefusedRecord,
)

# The watcher takes up to a page at a time. What a slow second source leaves open in this time is parked and
# looked at again later, so that nothing waits behind it.
PAGE_SECONDS = 30.0
OPINION_SECONDS = 3.0


class ConfirmedSource(ChainSource):
    """`first`, with every amount above `above_stroops` (of whatever asset) confirmed by `second`.

    An amount is all that a transaction brings one account, or takes back from it: many small ones are a large one.
    """

    def __init__(
        self,
        first: ChainSource,
        second: ChainSource,
        *,
        above_stroops: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.first, self.second = first, second
        self._above_stroops = above_stroops
        self._monotonic = monotonic

    def find_transaction(
        self, transaction_hash: str, *, within_seconds: float | None = None
    ) -> ObservedTransaction | None:
        """Return the transaction once both sources have it, or None while the first does not.

        :raises NotConfirmed: while the second does not have it.
        :raises ChainContradiction: when they disagree on anything that decides.
        """
        started = self._monotonic()
        found = self.first.find_transaction(transaction_hash, within_seconds=within_seconds)
        if found is None or not self._needs_opinion(found):
            return found
        if within_seconds is not None:
            within_seconds -= self._monotonic() - started
        return self._confirmed(found, transaction_hash, within_seconds)

    def credits_since(self, address: str, cursor: str, limit: int = 200) -> Page:
        """Return the first source's page; what the second does not confirm is among its refused records."""
        return self._confirmed_page(self.first.credits_since(address, cursor, limit))

    def payments_since(self, cursor: str, watched: AbstractSet[str], limit: int = 200) -> Page:
        """Return the first source's page; what the second does not confirm is among its refused records."""
        return self._confirmed_page(self.first.payments_since(cursor, watched, limit))

    def clawbacks_since(self, address: str, cursor: str, limit: int = 200) -> Page:
        """Return the first source's page; what the second does not confirm is among its refused records."""
        return self._confirmed_page(self.first.clawbacks_since(address, cursor, limit))

    def latest_cursor(self, address: str | None = None) -> str:
        return self.first.latest_cursor(address)

    def account(self, address: str, *, within_seconds: float | None = None) -> AccountState | None:
        return self.first.account(address, within_seconds=within_seconds)

    def network(self) -> NetworkState:
        return self.first.network()

    def submit(self, envelope_xdr: str) -> str:
        return self.first.submit(envelope_xdr)

    def _needs_opinion(self, transaction: ObservedTransaction) -> bool:
        brought: Counter[tuple[str, str]] = Counter()
        taken_back: Counter[tuple[str, str]] = Counter()
        for credit in transaction.credits:
            brought[credit.destination, credit.asset] += credit.stroops
        for debit in transaction.debits:
            if debit.kind == CLAWBACK:
                taken_back[debit.source, debit.asset] += debit.stroops
        return any(each > self._above_stroops for each in chain(brought.values(), taken_back.values()))

    def _confirmed(
        self, found: ObservedTransaction, transaction_hash: str, within_seconds: float | None
    ) -> ObservedTransaction:
        if within_seconds is not None and within_seconds <= 0:
            raise ChainUnavailable("no time is left to ask the second source")
        try:
            other = self.second.find_transaction(transaction_hash, within_seconds=within_seconds)
        except ChainUnavailable as outage:
            raise ChainUnavailable(
                f"the second source does not answer: {outage.detail}",
                retry_after_seconds=outage.retry_after_seconds,
            ) from outage
        except ChainContradiction as contradiction:
            raise ChainContradiction(f"the second source: {contradiction.detail}") from contradiction
        if other is None:
            raise NotConfirmed("the second source does not have this transaction")
        # Whole values are compared: hashes, ledger, close time, success, memo, credits and debits, all but raw.
        if other != found:
            raise ChainContradiction(f"the second source disagrees: {_differences(found, other)}")
        return replace(found, sources=(*found.sources, *other.sources))

    def _confirmed_page(self, page: Page) -> Page:
        confirmed: list[ObservedTransaction] = []
        refused = list(page.refused)
        until = self._monotonic() + PAGE_SECONDS
        for transaction in page.transactions:
            if not self._needs_opinion(transaction):
                confirmed.append(transaction)
                continue
            left_seconds = min(OPINION_SECONDS, until - self._monotonic())
            try:
                found = self._confirmed(transaction, transaction.canonical_hash, left_seconds)
            except (ChainUnavailable, ChainContradiction) as refusal:
                refused.append(RefusedRecord(transaction.canonical_hash, page.cursor, refusal.detail))
            else:
                confirmed.append(found)
        return replace(page, transactions=tuple(confirmed), refused=tuple(refused))


# What a person is told when the sources disagree, most telling first.
_TELLING = ("successful", "credits", "debits", "memo_type", "memo", "memo_bytes", "ledger", "closed_at",
            "source_account", "canonical_hash", "hashes", "envelope_xdr")  # fmt: skip


def _differences(found: ObservedTransaction, other: ObservedTransaction) -> str:
    return ", ".join(name for name in _TELLING if getattr(found, name) != getattr(other, name))
