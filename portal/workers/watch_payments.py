"""Watches the chain for money that nobody reported.

`accounts` mode asks for the payments of each wallet, `network` mode reads one stream for all of them.
Effects are committed merchant by merchant and are idempotent; the cursor moves in a transaction of its own
after the last effect of its page, so a crash in between only repeats work. One watcher leads at a time, by
an advisory lock on a connection of its own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from portal.adapters.chain import chain_source
from portal.db import release, run_transaction
from portal.domain.merchants import queries as merchants
from portal.domain.payments import watching
from portal.domain.payments.watching import JOINING_PREFIX, NETWORK_SCOPE
from portal.extensions import db
from portal.flows.record_observed import RECORD_FAILURES, is_outage, record_observed
from portal.kernel.chain import ChainContradiction, ChainSource, ChainUnavailable, Page
from portal.kernel.errors import Unavailable

log = structlog.get_logger()
# A named bound on how much one round reads, so that heartbeats and stops get their turn while catching up.
PAGES_A_ROUND = 20
# Parked records are few; each costs up to three requests.
PARKED_A_ROUND = 10
# A reset is looked for at the start and again each minute: one small request.
CHECK_EVERY = timedelta(minutes=1)
_RESIGN = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")
_LEAD = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")


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
    """What one round looks at; cursors as they were when it began."""

    source: ChainSource
    wallets: dict[str, Watched]
    cursors: dict[str, str]
    now: datetime


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
        self._leadership: Connection | None = None
        self._checked_at: datetime | None = None

    def run_once(self, now: datetime) -> int:
        """Look at every scope once and return how many credits were new; nothing while another one leads."""
        if not self._leads():
            return 0
        wallets = {wallet.address: wallet for wallet in self._wallets()}
        cursors = watching.find_cursors(self._network)
        release()
        source = chain_source()
        self._refuse_reset(source, cursors, now)
        look = _Look(source, wallets, cursors, now)
        new = self._watch_accounts(look) if self._mode == "accounts" else self._watch_network(look)
        return new + self._retry_parked(look)

    def close(self) -> None:
        """Give the lead up, so that another watcher need not wait for the connection to be found dead."""
        if self._leadership is not None:
            # The lock belongs to the server's session: given back to the pool, the connection would keep it.
            try:
                self._leadership.execute(_RESIGN, {"name": f"watch/{self._network}"})
            finally:
                self._leadership.invalidate()
                self._leadership.close()
                self._leadership = None

    def _leads(self) -> bool:
        try:
            if self._leadership is not None:
                self._leadership.execute(text("SELECT 1"))
                return True
            connection = db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if connection.execute(_LEAD, {"name": f"watch/{self._network}"}).scalar_one():
                self._leadership = connection
                return True
            connection.close()
        except SQLAlchemyError:
            if self._leadership is not None:
                self._leadership.invalidate()
            self._leadership = None
            raise
        return False

    def _wallets(self) -> list[Watched]:
        found = merchants.all_watched(network=self._network)
        return [Watched(wallet.address, wallet.merchant_id, wallet.watched_from) for wallet in found]

    def _refuse_reset(self, source: ChainSource, cursors: dict[str, str], now: datetime) -> None:
        """:raises NetworkWasReset: when the chain ends before a place we have already read."""
        if not cursors or (self._checked_at is not None and now - self._checked_at < CHECK_EVERY):
            return
        latest = int(source.latest_cursor())
        ahead = [scope for scope, cursor in cursors.items() if int(cursor) > latest]
        if ahead:
            log.error("network_was_reset", latest=latest, scopes=len(ahead))
            raise NetworkWasReset(f"the network ends at {latest}, before the cursor of {ahead[0]}")
        self._checked_at = now

    def _watch_accounts(self, look: "_Look") -> int:
        new = 0
        for wallet in look.wallets.values():
            start = look.cursors.get(wallet.address, wallet.watched_from)
            try:
                new += self._read_account(look, wallet, scope=wallet.address, cursor=start).new
            except ChainContradiction as contradiction:
                # A source that contradicts itself about one wallet keeps nobody else waiting.
                log.warning("watch_contradiction", address=wallet.address, error=contradiction.detail)
        return new

    def _watch_network(self, look: "_Look") -> int:
        stream = look.cursors.get(NETWORK_SCOPE)
        if stream is None:
            return self._begin_stream(look)
        new = 0
        for wallet in look.wallets.values():
            # A wallet may be younger than the stream's place: its own past is read once, beside the stream.
            if wallet.address not in look.cursors:
                scope = JOINING_PREFIX + wallet.address
                start = look.cursors.get(scope, wallet.watched_from)
                read = self._read_account(look, wallet, scope=scope, cursor=start)
                new += read.new
                if read.is_at_end:
                    self._finish_joining(wallet, read.cursor, look.now)
        for _ in range(PAGES_A_ROUND):
            page = look.source.payments_since(stream, look.wallets.keys())
            new += self._take(look, page, scope=NETWORK_SCOPE, cursor=stream)
            stream = page.cursor or stream
            if not page.is_full:
                break
        return new

    def _begin_stream(self, look: "_Look") -> int:
        """Read every wallet to its end, then let the stream begin where the network stood before that."""
        start = look.source.latest_cursor()
        new = 0
        are_at_end = True
        for wallet in look.wallets.values():
            cursor = look.cursors.get(wallet.address, wallet.watched_from)
            read = self._read_account(look, wallet, scope=wallet.address, cursor=cursor)
            new += read.new
            are_at_end = are_at_end and read.is_at_end
        if are_at_end:
            self._move(NETWORK_SCOPE, start, look.now, look.now, [])
        return new

    def _read_account(self, look: "_Look", wallet: Watched, *, scope: str, cursor: str) -> "_Read":
        new = 0
        for _ in range(PAGES_A_ROUND):
            page = look.source.credits_since(wallet.address, cursor)
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
        self._move(scope, page.cursor or cursor, min(look.now, behind or look.now), look.now, parked)
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
            except ChainContradiction as contradiction:
                error = contradiction.detail
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

    def _finish_joining(self, wallet: Watched, cursor: str, now: datetime) -> None:
        run_transaction(
            lambda: watching.finish_joining(
                network=self._network, address=wallet.address, cursor=cursor, now=now
            )
        )
