"""`kill -9` of the worker under load: nothing is lost, nothing is doubled."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from stellar_sdk import Asset, Keypair, Server, TransactionBuilder

from config import SANDBOX_PASSPHRASE
from portal import cli
from portal.db import leave_tenant
from portal.domain.invoices.models import Invoice
from portal.extensions import db
from portal.flows.mirror_log import check_mirror
from portal.flows.submit_hash import submit_hash
from portal.kernel.addresses import muxed
from portal.sandbox.client import fund
from tests.support import databases
from tests.support.builders import NETWORK, make_invoice, make_shop
from tests.workers.test_watcher import open_shop

ROOT = Path(__file__).parents[2]
SETTLE_SECONDS = 60
# Load is for the worker to be busy, not for the machine to be full.
ROUND_SECONDS = 0.2
# A lease of a killed worker runs out by itself; tests shorten the wait, the rows stay the same.
EXPIRE_LEASES = "UPDATE outbox SET lease_until = now() WHERE state = 'PENDING' AND lease_until > now()"


class Load:
    """Invoices issued, paid and their hashes pasted, in a thread, until told to stop."""

    def __init__(self, desk, sandbox) -> None:
        self.desk, self.url = desk, sandbox.url
        self.invoices: list = []
        self.failures: list[BaseException] = []
        self.stopped = threading.Event()
        self.payer = Keypair.random()
        fund(self.url, self.payer.public_key)
        self.shop = open_shop(sandbox)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self.desk.app.app_context(), Server(self.url) as server:
            try:
                while not self.stopped.is_set():
                    self._one_round(server)
                    self.stopped.wait(ROUND_SECONDS)
            except BaseException as failure:  # noqa: BLE001  told to the test, which fails with it
                self.failures.append(failure)

    def _one_round(self, server) -> None:
        """Pay five invoices with one transaction, muxed ids naming them, and paste its hash for one of them."""
        batch = [make_invoice(self.shop, amount="2", now=datetime.now(UTC)) for _ in range(5)]
        builder = TransactionBuilder(
            server.load_account(self.payer.public_key), SANDBOX_PASSPHRASE, base_fee=100
        )
        for invoice in batch:
            builder.append_payment_op(muxed(invoice.destination, invoice.pay_ref), Asset.native(), "2")
        builder.append_payment_op(self.shop.wallet, Asset.native(), "0.5")
        envelope = builder.set_timeout(120).build()
        envelope.sign(self.payer)
        answer = server.submit_transaction(envelope, skip_memo_required_check=True)
        self.invoices += batch
        if secrets.randbelow(2):
            submit_hash(
                merchant_id=self.shop.id, network=NETWORK, invoice_id=batch[0].id, text=answer["hash"],
                origin="page", now=datetime.now(UTC),
            )  # fmt: skip


class Worker:
    """The worker as a process of its own, killed without warning."""

    def __init__(self, desk, log: Path) -> None:
        self.environment = databases._system() | desk.environment | {"OUTBOX_POLL_MS": "20"}
        self.log = log

    def start(self) -> subprocess.Popen:
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "wsgi", "worker"],
                cwd=ROOT, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip


def count(database, statement: str) -> int:
    with psycopg.connect(database.superuser, autocommit=True) as connection:
        return connection.execute(statement).fetchone()[0]


def wait_for(ready, seconds: float = SETTLE_SECONDS) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return True
        time.sleep(0.1)
    return False


def kill_under_load(desk, sandbox, tmp_path, times: int) -> None:
    load = Load(desk, sandbox)
    worker = Worker(desk, tmp_path / "worker.log")
    load.thread.start()
    try:
        for _ in range(times):
            start_and_kill(desk, worker)
    finally:
        load.stopped.set()
        load.thread.join()
    assert load.failures == []
    finish(desk, worker)
    check(desk, load)


def start_and_kill(desk, worker) -> None:
    """Kill a worker in the middle of its work, at a moment nobody chose."""
    delivered = "SELECT count(*) FROM outbox WHERE state = 'DONE'"
    before = count(desk.database, delivered)
    process = worker.start()
    try:
        assert wait_for(lambda: count(desk.database, delivered) > before + 3), worker.log.read_text()[-3000:]
        time.sleep(secrets.randbelow(300) / 1000)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def finish(desk, worker) -> None:
    """Let one more worker do what is left and stop it as an operator would."""
    with psycopg.connect(desk.database.superuser, autocommit=True) as connection:
        connection.execute(EXPIRE_LEASES)
    process = worker.start()
    try:
        left = (
            "SELECT (SELECT count(*) FROM outbox WHERE state = 'PENDING')"
            " + (SELECT count(*) FROM invoices WHERE status = 'PENDING')"
        )
        done = wait_for(lambda: count(desk.database, left) == 0)
        assert done, worker.log.read_text()[-3000:]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def check(desk, load) -> None:
    paid = count(desk.database, "SELECT count(*) FROM invoices WHERE status = 'PAID'")
    confirmed = count(desk.database, "SELECT count(*) FROM payments WHERE status = 'CONFIRMED'")
    unmatched = count(desk.database, "SELECT count(*) FROM payments WHERE status = 'UNMATCHED'")
    assert len(load.invoices) == paid == confirmed == 5 * unmatched > 0
    result = CliRunner().invoke(cli.invariants, env=desk.environment)
    assert result.exit_code == 0, result.stdout
    assert CliRunner().invoke(cli.ledger, ["verify"], env=desk.environment).exit_code == 0
    found = check_mirror(now=datetime.now(UTC))
    assert (found.waiting, found.differences) == (0, ())
    mirrored = sum(desk.documents(name).count_documents({}) for name in ("payment_logs", "checkout_logs"))
    assert mirrored == found.events
    assert count(desk.database, "SELECT count(*) FROM watch_failures") == 0


@pytest.mark.timeout(180)
def test_three_kills_under_load_lose_and_double_nothing(desk, sandbox, tmp_path):
    kill_under_load(desk, sandbox, tmp_path, times=3)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_twenty_kills_under_load_lose_and_double_nothing(desk, sandbox, tmp_path):
    kill_under_load(desk, sandbox, tmp_path, times=20)


def test_a_worker_stops_at_once_when_asked(desk, tmp_path):
    worker = Worker(desk, tmp_path / "worker.log")
    process = worker.start()
    assert wait_for(lambda: count(desk.database, "SELECT count(*) FROM worker_heartbeats") >= 5)

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=15) == 0
    assert '"event": "worker_stopped"' in worker.log.read_text()


def test_without_horizon_the_other_jobs_go_on(desk, tmp_path):
    shop = make_shop()
    make_invoice(shop)
    leave_tenant()
    worker = Worker(desk, tmp_path / "worker.log")
    process = worker.start()
    try:
        relayed = wait_for(
            lambda: count(desk.database, "SELECT count(*) FROM outbox WHERE state = 'DONE'") == 3
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)

    assert relayed, worker.log.read_text()[-2000:]
    assert db.session.scalar(db.select(Invoice.status)) == "PENDING"
