"""Watches the chain for money that nobody reported, and for money that issuers take back.

`accounts` mode asks for the payments of each wallet, `network` mode reads one stream for all of them.
Effects are committed merchant by merchant and are idempotent; the cursor moves in a transaction of its own
after the last effect of its page, so a crash in between only repeats work. One watcher leads at a time, by
an advisory lock on a connection of its own. A wallet that cannot be read keeps no other waiting.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import structlog

from portal.adapters.chain import chain_source
from portal.db import release, run_transaction
from portal.domain.merchants import queries as merchants
from portal.domain.payments import watching
from portal.domain.payments.watching import CLAWBACK_PREFIX, JOINING_PREFIX, NETWORK_SCOPE
from portal.flows.record_observed import RECORD_FAILURES, is_outage, record_observed
from portal.kernel.chain import ChainContradiction, ChainSource, ChainUnavailable, NotConfirmed, Page
from portal.kernel.errors import Unavailable
from portal.workers.leading import Leadership

log = structlog.get_logger()
# A named bound on how much one round reads, so that heartbeats and stops get their turn while catching up.
PAGES_A_ROUND = 20
# Parked records are few; each costs up to three requests.
PARKED_A_ROUND = 10
# A reset is looked for at the start and again each minute: two small requests.
CHECK_EVERY = timedelta(minutes=1)
# Ledgers close every five seconds and are there to read soon after; beyond this the source itself is late.
SOURCE_LAG_TOLERATED = timedelta(seconds=30)
# One wallet's trouble is its own; with this many in a row the source is away, and asking on would only wait.
FAILURES_IN_A_ROW_MAX = 3
# An issuer takes money back once in years, and nobody waits for it at a counter.
CLAWBACKS_EVERY = timedelta(seconds=30)

ReadPage = Callable[[str, str], Page]


class NetworkWasReset(Unavailable):
    """Our cursor is ahead of the network: it is another chain than the one the books are about."""

    code = "network_was_reset"


@dataclass(frozen=True, slots=True)
class Watched:
    """A wallet to watch: whose it is and the cursor read before it became usable."""

    address: str
    merchant_id: UUID
    watched_from: str


@dataclass(frozen=True, slots=True)
class _Look:
    """What one round looks at; cursors as they were when it began, `seen_until` is how far the source is."""

    source: ChainSource
    wallets: dict[str, Watched]
    cursors: dict[str, str]
    now: datetime
    seen_until: datetime


@dataclass(frozen=True, slots=True)
class _Read:
    """How far one wallet was read; not at its end when the round's pages were used up."""

    new: int
    cursor: str
    is_at_end: bool


class Watcher:
    """The watcher of one network; keep one for the life of the process, it holds the lead."""

    def __init__(self, *, network: str, mode: Literal["accounts", "network"]) -> None:
        self._network = network
        self._mode = mode
        self._leadership = Leadership(f"watch/{network}")
        self._checked_at: datetime | None = None
        self._source_lag = timedelta(0)
        self._first = 0
        self._troubled: set[str] = set()
        self._clawbacks_read_at: datetime | None = None

    def run_once(self, now: datetime) -> int:
        """Look at every scope once and return how many credits were new; nothing while another one leads."""
        if not self._leadership.is_held():
            return 0
        wallets = {wallet.address: wallet for wallet in self._wallets()}
        cursors = watching.find_cursors(self._network)
        release()
        source = chain_source()
        self._check_network(source, wallets, cursors, now)
        look = _Look(source, wallets, cursors, now, now - self._source_lag)
        new = self._watch_accounts(look) if self._mode == "accounts" else self._watch_network(look)
        return new + self._watch_clawbacks(look) + self._retry_parked(look)

    def close(self) -> None:
        """Give the lead up, so that another watcher need not wait for the connection to be found dead."""
        self._leadership.resign()

    def _wallets(self) -> list[Watched]:
        found = merchants.all_watched(network=self._network)
        return [Watched(wallet.address, wallet.merchant_id, wallet.watched_from) for wallet in found]

    def _check_network(
        self, source: ChainSource, wallets: dict[str, Watched], cursors: dict[str, str], now: datetime
    ) -> None:
        """Learn how late the source is.

        :raises NetworkWasReset: when the chain ends before a place we have already read.
        """
        if self._checked_at is not None and now - self._checked_at < CHECK_EVERY:
            return
        begun = {address: wallet.watched_from for address, wallet in wallets.items()}
        # Operations are numbered beyond the newest payment, so their places say nothing about it.
        places = {
            scope: cursor
            for scope, cursor in (begun | cursors).items()
            if not scope.startswith(CLAWBACK_PREFIX)
        }
        if not places:
            return
        latest = int(source.latest_cursor())
        ahead = [scope for scope, cursor in places.items() if int(cursor) > latest]
        if ahead:
            log.error("network_was_reset", latest=latest, scopes=len(ahead))
            run_transaction(lambda: watching.note_reset(network=self._network, latest=str(latest), now=now))
            raise NetworkWasReset(f"the network ends at {latest}, before the cursor of {ahead[0]}")
        run_transaction(lambda: watching.forget_reset(network=self._network))
        closed_at = source.network().latest_closed_at
        lag = timedelta(0) if closed_at is None else now - closed_at
        self._source_lag = lag if lag > SOURCE_LAG_TOLERATED else timedelta(0)
        self._checked_at = now

    def _watch_accounts(self, look: "_Look") -> int:
        def read(wallet: Watched) -> int:
            start = look.cursors.get(wallet.address, wallet.watched_from)
            return self._read_account(
                look, wallet, look.source.credits_since, scope=wallet.address, cursor=start
            ).new

        return self._each(look.wallets.values(), read)

    def _watch_network(self, look: "_Look") -> int:
        stream = look.cursors.get(NETWORK_SCOPE)
        if stream is None:
            return self._begin_stream(look)
        # A wallet may be younger than the stream's place: its own past is read once, beside the stream.
        joining = [wallet for wallet in look.wallets.values() if wallet.address not in look.cursors]
        new = self._each(joining, lambda wallet: self._join(look, wallet))
        for _ in range(PAGES_A_ROUND):
            page = look.source.payments_since(stream, look.wallets.keys())
            new += self._take(look, page, scope=NETWORK_SCOPE, cursor=stream)
            stream = page.cursor or stream
            if not page.is_full:
                break
        return new

    def _join(self, look: "_Look", wallet: Watched) -> int:
        scope = JOINING_PREFIX + wallet.address
        start = look.cursors.get(scope, wallet.watched_from)
        read = self._read_account(look, wallet, look.source.credits_since, scope=scope, cursor=start)
        if read.is_at_end:
            run_transaction(
                lambda: watching.finish_joining(
                    network=self._network,
                    address=wallet.address,
                    cursor=read.cursor,
                    seen_until=look.seen_until,
                    now=look.now,
                )
            )
        return read.new

    def _begin_stream(self, look: "_Look") -> int:
        """Read every wallet to its end, then let the stream begin where the network stood before that.

        Until the last of them could be read, they go on being read one by one.
        """
        start = look.source.latest_cursor()
        at_end: list[str] = []

        def read(wallet: Watched) -> int:
            cursor = look.cursors.get(wallet.address, wallet.watched_from)
            found = self._read_account(
                look, wallet, look.source.credits_since, scope=wallet.address, cursor=cursor
            )
            at_end.extend([wallet.address] if found.is_at_end else [])
            return found.new

        new = self._each(look.wallets.values(), read)
        if len(at_end) == len(look.wallets):
            self._move(NETWORK_SCOPE, start, look.seen_until, look.now, [])
        return new

    def _watch_clawbacks(self, look: "_Look") -> int:
        """Read the operations of wallets whose issuers can take money back: lists of payments do not name it."""
        if self._clawbacks_read_at is not None and look.now - self._clawbacks_read_at < CLAWBACKS_EVERY:
            return 0
        found = merchants.all_open_to_clawback(network=self._network)
        release()
        self._clawbacks_read_at = look.now

        def read(wallet: Watched) -> int:
            scope = CLAWBACK_PREFIX + wallet.address
            start = look.cursors.get(scope, wallet.watched_from)
            return self._read_account(
                look, wallet, look.source.clawbacks_since, scope=scope, cursor=start
            ).new

        return self._each([look.wallets[address] for address in found if address in look.wallets], read)

    def _each(self, wallets: Iterable[Watched], read: Callable[[Watched], int]) -> int:
        """Read wallet by wallet and return what was new; one that cannot be read keeps nobody else waiting.

        A round that breaks off because the source is away goes on behind that place, so that wallets with
        trouble of their own never stand before the same others.

        :raises ChainUnavailable: when several in a row cannot be read.
        """
        known = list(wallets)
        first = self._first % len(known) if known else 0
        new = in_a_row = 0
        for number, wallet in enumerate(known[first:] + known[:first], start=1):
            try:
                new += read(wallet)
            except ChainContradiction as contradiction:
                self._tell(wallet, contradiction)
            except ChainUnavailable as outage:
                self._tell(wallet, outage)
                in_a_row += 1
                if in_a_row == min(FAILURES_IN_A_ROW_MAX, len(known)):
                    self._first = first + number
                    raise
            else:
                in_a_row = 0
                self._troubled.discard(wallet.address)
        return new

    def _tell(self, wallet: Watched, failure: Unavailable) -> None:
        """Log a wallet's trouble once, when it begins."""
        if wallet.address not in self._troubled:
            log.warning(
                "watch_wallet_failed", address=wallet.address, code=failure.code, error=failure.detail
            )
        self._troubled.add(wallet.address)

    def _read_account(
        self, look: "_Look", wallet: Watched, read_page: ReadPage, *, scope: str, cursor: str
    ) -> "_Read":
        new = 0
        for _ in range(PAGES_A_ROUND):
            page = read_page(wallet.address, cursor)
            new += self._take(look, page, scope=scope, cursor=cursor)
            cursor = page.cursor or cursor
            if not page.is_full:
                return _Read(new, cursor, is_at_end=True)
        return _Read(new, cursor, is_at_end=False)

    def _take(self, look: "_Look", page: Page, *, scope: str, cursor: str) -> int:
        owners = {address: wallet.merchant_id for address, wallet in look.wallets.items()}
        parked = [(record.transaction_hash, record.paging_token, record.detail) for record in page.refused]
        new = 0
        for transaction in page.transactions:
            try:
                new += record_observed(transaction, network=self._network, owners=owners, now=look.now)
            except RECORD_FAILURES as failure:
                if is_outage(failure):
                    raise
                log.exception("watch_record_parked", hash=transaction.canonical_hash)
                parked.append((transaction.canonical_hash, page.cursor, repr(failure)))
        behind = page.last_closed_at if page.is_full else None
        self._move(scope, page.cursor or cursor, min(look.seen_until, behind or look.now), look.now, parked)
        return new

    def _retry_parked(self, look: "_Look") -> int:
        """Look again at what had to be parked: the source may have erred, or this release reads it better."""
        due = watching.list_due_failures(network=self._network, now=look.now, limit=PARKED_A_ROUND)
        parked = [(failure.id, failure.transaction_hash) for failure in due]
        release()
        owners = {address: wallet.merchant_id for address, wallet in look.wallets.items()}
        new = 0
        for failure_id, transaction_hash in parked:
            error = "the network does not have this transaction"
            try:
                found = look.source.find_transaction(transaction_hash)
                if found is not None:
                    new += record_observed(found, network=self._network, owners=owners, now=look.now)
                    self._settle_parked(failure_id, None, look.now)
                    continue
            except (ChainContradiction, NotConfirmed) as doubt:
                error = doubt.detail
            except ChainUnavailable:
                break
            except RECORD_FAILURES as failure:
                if is_outage(failure):
                    raise
                error = repr(failure)
            self._settle_parked(failure_id, error, look.now)
        return new

    def _settle_parked(self, failure_id: UUID, error: str | None, now: datetime) -> None:
        def settle() -> None:
            if error is None:
                watching.resolve(failure_id=failure_id, now=now)
            else:
                watching.note_failed_look(failure_id=failure_id, error=error, now=now)

        run_transaction(settle)

    def _move(
        self, scope: str, cursor: str, seen_until: datetime, now: datetime, parked: list[tuple[str, str, str]]
    ) -> None:
        def move() -> None:
            for transaction_hash, paging_token, error in parked:
                watching.park(
                    network=self._network,
                    scope=scope,
                    transaction_hash=transaction_hash,
                    paging_token=paging_token,
                    error=error,
                    now=now,
                )
            watching.move_cursor(
                network=self._network, scope=scope, cursor=cursor, seen_until=seen_until, now=now
            )

        run_transaction(move)
