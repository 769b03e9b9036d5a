"""Watches the chain for money that nobody reported.

`accounts` mode asks for the payments of each wallet, `network` mode reads one stream for all of them.
Effects are committed merchant by merchant and are idempotent; the cursor moves in a transaction of its own
after the last effect of its page, so a crash in between only repeats work. One watcher leads at a time, by
an advisory lock on a connection of its own.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from portal.adapters.chain import chain_source
from portal.db import release, run_transaction
from portal.domain.merchants import queries as merchants
from portal.domain.payments import watching
from portal.domain.payments.watching import NETWORK_SCOPE
from portal.extensions import db
from portal.flows.record_observed import record_observed
from portal.kernel.chain import ChainSource, Page
from portal.kernel.errors import Unavailable

log = structlog.get_logger()
# A named bound on how much one round reads, so that heartbeats and stops get their turn while catching up.
PAGES_A_ROUND = 20
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


class Watcher:
    def __init__(self, *, network: str, mode: Literal["accounts", "network"]) -> None:
        self._network = network
        self._mode = mode
        self._leadership: Connection | None = None
        self._is_checked = False

    def run_once(self, now: datetime) -> int:
        """Look at every scope once and return how many credits were new; nothing while another one leads."""
        if not self._leads():
            return 0
        wallets = {wallet.address: wallet for wallet in self._wallets()}
        cursors = watching.find_cursors(self._network)
        release()
        source = chain_source()
        self._refuse_reset(source, cursors)
        if self._mode == "accounts":
            return sum(self._watch_account(source, wallet, cursors, wallets, now) for wallet in wallets.values())
        return self._watch_network(source, cursors, wallets, now)

    def close(self) -> None:
        """Give the lead up, so that another watcher need not wait for the connection to be found dead."""
        if self._leadership is not None:
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

    def _refuse_reset(self, source: ChainSource, cursors: dict[str, str]) -> None:
        """:raises NetworkWasReset: when the chain ends before a place we have already read."""
        if self._is_checked or not cursors:
            return
        latest = int(source.latest_cursor())
        ahead = [scope for scope, cursor in cursors.items() if int(cursor) > latest]
        if ahead:
            raise NetworkWasReset(f"the network ends at {latest}, before the cursor of {ahead[0]}")
        self._is_checked = True

    def _watch_account(
        self,
        source: ChainSource,
        wallet: Watched,
        cursors: dict[str, str],
        wallets: dict[str, Watched],
        now: datetime,
    ) -> int:
        cursor = cursors.get(wallet.address, wallet.watched_from)
        new = 0
        for _ in range(PAGES_A_ROUND):
            page = source.credits_since(wallet.address, cursor)
            new += self._take(page, scope=wallet.address, cursor=cursor, wallets=wallets, now=now)
            cursor = page.cursor
            if not page.is_full:
                break
        return new

    def _watch_network(
        self, source: ChainSource, cursors: dict[str, str], wallets: dict[str, Watched], now: datetime
    ) -> int:
        new = 0
        for wallet in wallets.values():
            # A wallet may be younger than the stream's place: what came before it joined is read once apart.
            if wallet.address not in cursors:
                new += self._watch_account(source, wallet, cursors, wallets, now)
        starts = [wallet.watched_from for wallet in wallets.values()]
        cursor = cursors.get(NETWORK_SCOPE) or min(starts, key=int, default="")
        if not cursor:
            return new
        for _ in range(PAGES_A_ROUND):
            page = source.payments_since(cursor, wallets.keys())
            new += self._take(page, scope=NETWORK_SCOPE, cursor=cursor, wallets=wallets, now=now)
            cursor = page.cursor
            if not page.is_full:
                break
        return new

    def _take(
        self, page: Page, *, scope: str, cursor: str, wallets: dict[str, Watched], now: datetime
    ) -> int:
        owners = {address: wallet.merchant_id for address, wallet in wallets.items()}
        parked = [(record.transaction_hash, record.paging_token, record.detail) for record in page.refused]
        new = 0
        for transaction in page.transactions:
            try:
                new += record_observed(transaction, network=self._network, owners=owners, now=now)
            except (SQLAlchemyError, AssertionError, ValueError, LookupError) as failure:
                if _is_outage(failure):
                    raise
                log.error("watch_record_parked", hash=transaction.canonical_hash, error=repr(failure))
                parked.append((transaction.canonical_hash, page.cursor, repr(failure)))

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
            watching.move_cursor(network=self._network, scope=scope, cursor=page.cursor or cursor, now=now)

        run_transaction(move)
        return new


def _is_outage(failure: Exception) -> bool:
    """Say whether the database itself is away, which is no fault of the record."""
    return bool(getattr(failure, "connection_invalidated", False)) or type(failure).__name__ in {
        "OperationalError",
        "InterfaceError",
        "TimeoutError",
    }
