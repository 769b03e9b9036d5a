"""Payers who note what they sent, and the whole books compared with their notes, for tests that break things."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner
from stellar_sdk import Asset, Keypair, Memo, Operation, Payment, TransactionBuilder

from portal import cli
from portal.db import run_transaction
from portal.domain.api_keys import service as api_keys
from portal.flows.mirror_log import check_mirror
from portal.kernel.money import format_units
from portal.sandbox.client import fund
from tests.support.builders import NETWORK
from tests.support.live import LivePortal, free_port

SETTLE_SECONDS = 60
LEDGER_SECONDS = 30
WHAT_IS_LEFT = """
    SELECT (SELECT count(*) FROM outbox WHERE state = 'PENDING')
        + (SELECT count(*) FROM invoices WHERE status = 'PENDING')
        + (SELECT count(*) FROM submissions WHERE state = 'CHECKING')
"""
# A lease of a killed worker runs out by itself; tests shorten the wait, the rows stay the same.
EXPIRE_LEASES = (
    "UPDATE outbox SET lease_until = now() WHERE state = 'PENDING' AND lease_until > now()",
    "UPDATE submissions SET lease_until = now() WHERE state = 'CHECKING' AND lease_until > now()",
)


@dataclass(frozen=True)
class Sent:
    """One credit on the ledger: `invoice_id` is the invoice that it pays in full, None for money of nobody."""

    transaction_hash: str
    operation_index: int
    invoice_id: UUID | None
    amount: Decimal


class Payer:
    """A wallet that pays through a node of its own, so that what our Horizon suffers is not the payer's."""

    def __init__(self, sandbox) -> None:
        self.ledger = sandbox.ledger
        self.pair = Keypair.random()
        fund(sandbox.url, self.pair.public_key)

    def pay(
        self,
        *operations: Operation,
        memo: Memo | None = None,
        fails: bool = False,
        others: Sequence[str] = (),
    ) -> str:
        """Send `operations` in one transaction and return its hash once it is in a closed ledger.

        `others` are the secrets of those whose signatures it needs too.
        """

        def add(builder: TransactionBuilder) -> None:
            for operation in operations:
                builder.append_operation(operation)

        ticket = self.ledger.submit_signed(self.pair, add, *map(Keypair.from_secret, others), memo=memo)
        assert ticket.done.wait(LEDGER_SECONDS), "the sandbox's ledger does not close"
        _record, refusal = self.ledger.store.transaction(ticket.hash)
        assert (refusal is not None) == fails, refusal
        return ticket.hash


@pytest.fixture
def desk_portal(desk, sandbox, tmp_path) -> Iterator[LivePortal]:
    """A portal over the empty desk and the sandbox, to be started by the test; stopped afterwards."""
    url = f"http://127.0.0.1:{free_port()}"
    changes = {"PUBLIC_BASE_URL": url, "VAR_DIR": str(tmp_path), "OUTBOX_POLL_MS": "20"}
    portal = LivePortal(url, desk.environment | changes, tmp_path / "portal.log")
    yield portal
    portal.stop()


def make_api_key(shop) -> str:
    """Return a new API key of `shop` that may write invoices."""
    _, key = run_transaction(
        lambda: api_keys.create_key(
            merchant_id=shop.id, network=NETWORK, name="till", scopes=["invoices:write"],
            created_by=shop.user_id, expires_at=None, now=datetime.now(UTC),
        )
    )  # fmt: skip
    return key


def payment(
    destination: str, amount: Decimal, asset: Asset | None = None, *, source: str | None = None
) -> Payment:
    return Payment(destination, asset or Asset.native(), format_units(amount), source)


class Repeating(threading.Thread):
    """Does one thing again and again until told to stop; what went wrong is told to the test."""

    def __init__(self, work: Callable[[], None], *, pause_seconds: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.work, self.pause_seconds = work, pause_seconds
        self.stopped = threading.Event()
        self.failures: list[BaseException] = []

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                self.work()
                self.stopped.wait(self.pause_seconds)
        except BaseException as failure:  # noqa: BLE001  told to the test, which fails with it
            self.failures.append(failure)

    def finish(self) -> None:
        self.stopped.set()
        self.join()
        if self.failures:
            raise self.failures[0]


def ask(database, statement: str, *arguments) -> list[tuple]:
    with psycopg.connect(database.superuser, autocommit=True) as connection:
        return connection.execute(statement, arguments).fetchall()


def count(database, statement: str) -> int:
    return int(ask(database, statement)[0][0])


def wait_for(ready: Callable[[], bool], seconds: float = SETTLE_SECONDS) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return True
        time.sleep(0.1)
    return False


def expire_leases(database) -> None:
    with psycopg.connect(database.superuser, autocommit=True) as connection:
        for statement in EXPIRE_LEASES:
            connection.execute(statement)


def check_books(desk, sent: Sequence[Sent]) -> None:
    """Everything that was sent stands in the books exactly once, and nothing else does."""
    assert len(set(sent)) == len(sent) > 0
    payments = ask(
        desk.database,
        """
        SELECT t.canonical_hash, p.operation_index, p.invoice_id, p.amount
        FROM payments p
        JOIN chain_transactions t ON t.id = p.transaction_id
        """,
    )
    assert Counter(Sent(*row) for row in payments) == Counter(sent)
    paid = {each.invoice_id for each in sent} - {None}
    assert Counter(ask(desk.database, "SELECT id FROM invoices WHERE status = 'PAID'")) == Counter(
        (invoice_id,) for invoice_id in paid
    )
    events = ask(desk.database, "SELECT aggregate_id FROM events WHERE type = 'invoice.paid'")
    assert Counter(events) == Counter((invoice_id,) for invoice_id in paid)
    journals = ask(
        desk.database,
        """
        SELECT j.kind, p.invoice_id
        FROM ledger_journals j
        JOIN payments p ON p.id = j.reference_id
        """,
    )
    assert Counter(journals) == Counter(
        ("unmatched" if each.invoice_id is None else "allocation", each.invoice_id) for each in sent
    )
    check_proofs(desk)


def check_proofs(desk) -> None:
    """The portal's own proofs find nothing: invariants, books, mirror, parked records."""
    for command in ([], ["verify"]):
        group = cli.ledger if command else cli.invariants
        result = CliRunner().invoke(group, command, env=desk.environment)
        assert result.exit_code == 0, result.output
    found = check_mirror(now=datetime.now(UTC))
    assert (found.waiting, found.differences) == (0, ())
    mirrored = sum(desk.documents(name).count_documents({}) for name in ("payment_logs", "checkout_logs"))
    assert mirrored == found.events
    assert count(desk.database, "SELECT count(*) FROM watch_failures WHERE resolved_at IS NULL") == 0
