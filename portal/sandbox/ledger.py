"""The simulated network: takes transactions in, closes a ledger every so often, wakes whoever waits.

A transaction is judged and applied to the open ledger the moment it is submitted, so bad ones are refused
at once; it exists for readers only after the close, when it is on disk.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stellar_sdk import Account as SequenceHolder
from stellar_sdk import Keypair, TransactionBuilder

from portal.kernel.clock import utc_now
from portal.kernel.errors import Invalid, Unavailable
from portal.kernel.money import format_units, from_stroops
from portal.sandbox import application, closing, market, validity
from portal.sandbox.application import Applied
from portal.sandbox.closing import Header
from portal.sandbox.entries import Account, State
from portal.sandbox.envelopes import Envelope, read_envelope
from portal.sandbox.store import Store

logger = logging.getLogger(__name__)

# What stellar-core holds back, far above what a machine can submit between two closes.
OPEN_TRANSACTIONS_MAX = 10_000


class TransactionRefused(Invalid):
    """The transaction cannot enter the ledger, or entered it and failed; carries Horizon's three extras."""

    code = "transaction_failed"

    def __init__(self, envelope_xdr: str, words: dict[str, Any], result_xdr: str) -> None:
        super().__init__("The transaction failed.")
        self.envelope_xdr = envelope_xdr
        self.words = words
        self.result_xdr = result_xdr


class LedgerFull(Unavailable):
    code = "try_again_later"


@dataclass(slots=True)
class Ticket:
    """A transaction on its way into a ledger; `done` is set when its ledger is closed and on disk."""

    hash: str
    duplicate: bool = False
    done: threading.Event = field(default_factory=threading.Event)


class Ledger:
    """One simulated network on one SQLite file; safe to use from many threads."""

    def __init__(self, path: Path, *, passphrase: str, close_seconds: float) -> None:
        assert close_seconds > 0, close_seconds
        self.passphrase = passphrase
        self.close_seconds = close_seconds
        self.market = market.Market(passphrase)
        self.store = Store(path, passphrase)
        self._root = market.root_keypair(passphrase)
        self._lock = threading.RLock()
        self._closed = threading.Condition(self._lock)
        self._open: list[Applied] = []
        self._tickets: dict[str, Ticket] = {}
        self._stop = threading.Event()
        self._state = State()
        self._header = self._resume()
        self._thread = threading.Thread(target=self._run, name="sandbox-ledger", daemon=True)

    def _resume(self) -> Header:
        latest = self.store.latest_ledger()
        if latest is None:
            return self._begin()
        for account in self.store.accounts():
            self._state.load(account)
        fee_pool = int(latest["fee_pool"].replace(".", ""))
        return Header(latest["sequence"], latest["hash"], fee_pool)

    def _begin(self) -> Header:
        """Write ledger 1 with the root account in it, and ledger 2 with the issuer of the test money."""
        root = Account(self._root.public_key, market.TOTAL_COINS, 0, 1)
        self._state.load(root)
        first, self._header = closing.build(Header(0, "00" * 32, 0), [], self._state, utc_now())
        root.modified_at = first.ledger["closed_at"]
        first.accounts[root.address] = root
        self.store.write(first)
        stroops = market.ISSUER_COINS
        self.submit_signed(
            self._root, lambda builder: builder.append_create_account_op(self.market.issuer, _amount(stroops))
        )
        self.close()
        return self._header

    @property
    def latest(self) -> Header:
        return self._header

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the open ledger, so that nobody who was promised an answer waits for one, and stop."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._open:
            self.close()
        with self._lock:
            self._closed.notify_all()

    def _run(self) -> None:
        due = time.monotonic() + self.close_seconds
        while not self._stop.wait(max(0, due - time.monotonic())):
            try:
                self.close()
            except (sqlite3.Error, OSError):
                # A full disk, say: nothing was written, the open ledger stays open and the next close takes it.
                logger.exception("sandbox ledger %s did not close", self._header.sequence + 1)
            due = max(due + self.close_seconds, time.monotonic())
        self.store.release_thread()

    def close(self) -> None:
        """Close the open ledger: write it, publish it, wake the waiting."""
        with self._lock:
            entries, header = closing.build(self._header, self._open, self._state, utc_now())
            self.store.write(entries)
            self._header = header
            self._open = []
            self._state.settle()
            tickets, self._tickets = self._tickets, {}
            self._closed.notify_all()
        for ticket in tickets.values():
            ticket.done.set()

    def wait_for_close(self, after: int, timeout: float) -> int:
        """Wait until a ledger above `after` is closed, at most `timeout` seconds; return the latest sequence."""
        with self._lock:
            self._closed.wait_for(lambda: self._header.sequence > after or self.stopping, timeout)
            return self._header.sequence

    def submit(self, text: str) -> Ticket:
        """Take in an envelope; the same one twice gets the same ticket.

        :raises MalformedEnvelope: when it cannot be decoded.
        :raises TransactionRefused: when it may not enter the ledger.
        """
        envelope = read_envelope(text, self.passphrase)
        with self._lock:
            return self._take_in(envelope)

    def _take_in(self, envelope: Envelope) -> Ticket:
        waiting = self._tickets.get(envelope.hash)
        if waiting is not None:
            return Ticket(envelope.hash, duplicate=True, done=waiting.done)
        if self.store.transaction(envelope.hash) is not None:
            ticket = Ticket(envelope.hash, duplicate=True)
            ticket.done.set()
            return ticket
        if self.stopping or len(self._open) >= OPEN_TRANSACTIONS_MAX:
            raise LedgerFull("The open ledger takes no more transactions.")
        sequence = self._header.sequence + 1
        refusal = validity.check(envelope, self._state, ledger=sequence, now=int(utc_now().timestamp()))
        if refusal is not None:
            raise TransactionRefused(envelope.xdr, refusal.words(envelope), refusal.to_xdr(envelope))
        self._open.append(application.apply(envelope, self._state, self.market, ledger=sequence))
        ticket = Ticket(envelope.hash)
        self._tickets[envelope.hash] = ticket
        return ticket

    def submit_signed(
        self, signer: Keypair, add: Callable[[TransactionBuilder], Any], *others: Keypair, memo: Any = None
    ) -> Ticket:
        """Build, sign and submit a real transaction of `signer`, at its next sequence in the open ledger.

        The lock is held meanwhile, so any number of threads may do so for one account.

        :raises TransactionRefused: as `submit`; also when the account does not exist.
        """
        with self._lock:
            account = self._state.read(signer.public_key)
            holder = SequenceHolder(signer.public_key, 0 if account is None else account.sequence)
            builder = TransactionBuilder(holder, self.passphrase, base_fee=100).set_timeout(300)
            add(builder)
            if memo is not None:
                builder.add_memo(memo)
            envelope = builder.build()
            for keypair in (signer, *others):
                envelope.sign(keypair)
            return self.submit(envelope.to_xdr())

    def fund(self, address: str) -> Ticket:
        """Create `address` with the friendbot's 10,000 XLM.

        :raises TransactionRefused: with op_already_exists when it is there.
        """
        stroops = market.FRIENDBOT_STROOPS
        return self.submit_signed(
            self._root, lambda builder: builder.append_create_account_op(address, _amount(stroops))
        )

    def all_accounts(self) -> list[Account]:
        with self._lock:
            return [account.copy() for account in self._state.all_accounts()]


def _amount(stroops: int) -> str:
    return format_units(from_stroops(stroops))
