"""`kill -9` of the worker and of the web server under load: nothing is lost, nothing is doubled."""

import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from stellar_sdk import IdMemo

from portal.db import leave_tenant
from portal.domain.invoices.models import Invoice
from portal.extensions import db
from portal.flows.submit_hash import submit_hash
from portal.kernel.addresses import muxed
from portal.kernel.refs import from_ref, new_id
from tests.support import databases
from tests.support.builders import NETWORK, make_invoice, make_shop
from tests.support.live import ROOT, LivePortal
from tests.support.storm import (
    WHAT_IS_LEFT,
    Payer,
    Repeating,
    Sent,
    check_books,
    count,
    expire_leases,
    make_api_key,
    payment,
    wait_for,
)
from tests.workers.test_watcher import open_shop

# Load is for the worker to be busy, not for the machine to be full.
ROUND_SECONDS = 0.2
DUE, STRAY = Decimal("1.0000000"), Decimal("0.5000000")
DELIVERED = "SELECT count(*) FROM outbox WHERE state = 'DONE'"
TILLS = 4
ANSWERS_BEFORE_KILL = 8
REPEAT_SECONDS = 0.2
ANSWER_SECONDS = 10
PATIENCE_SECONDS = 60


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


class Load:
    """Invoices issued, paid and their hashes pasted, in a thread, until told to stop."""

    def __init__(self, desk, sandbox) -> None:
        self.desk = desk
        self.payer = Payer(sandbox)
        self.shop = open_shop(sandbox)
        self.sent: list[Sent] = []
        self.thread = Repeating(self._one_round, pause_seconds=ROUND_SECONDS)

    def _one_round(self) -> None:
        """Pay five invoices with one transaction, muxed ids naming them, and paste its hash for one of them."""
        with self.desk.app.app_context():
            batch = [make_invoice(self.shop, amount=str(DUE), now=datetime.now(UTC)) for _ in range(5)]
            named = [(invoice.id, muxed(invoice.destination, invoice.pay_ref)) for invoice in batch]
            found = self.payer.pay(
                *(payment(address, DUE) for _, address in named), payment(self.shop.wallet, STRAY)
            )
            self.sent += [Sent(found, index, invoice_id, DUE) for index, (invoice_id, _) in enumerate(named)]
            self.sent.append(Sent(found, len(named), None, STRAY))
            if secrets.randbelow(2):
                submit_hash(
                    merchant_id=self.shop.id, network=NETWORK, invoice_id=named[0][0], text=found,
                    origin="page", now=datetime.now(UTC),
                )  # fmt: skip


def kill_workers(desk, sandbox, tmp_path, times: int) -> None:
    load = Load(desk, sandbox)
    worker = Worker(desk, tmp_path / "worker.log")
    began = time.monotonic()
    load.thread.start()
    try:
        for _ in range(times):
            start_and_kill(desk, worker)
    finally:
        load.thread.finish()
    finish(desk, worker)
    check_books(desk, load.sent)
    print(f"{times} kills of the worker, {len(load.sent)} payments, {time.monotonic() - began:.0f} seconds")


def start_and_kill(desk, worker) -> None:
    """Kill a worker at a moment nobody chose: in the middle of its work, or before it has begun."""
    before = count(desk.database, DELIVERED)
    process = worker.start()
    try:
        if secrets.randbelow(4):
            busy = wait_for(lambda: count(desk.database, DELIVERED) > before + 3)
            assert busy, worker.log.read_text()[-3000:]
            time.sleep(secrets.randbelow(300) / 1000)
        else:
            time.sleep(secrets.randbelow(2000) / 1000)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def finish(desk, worker) -> None:
    """Let one more worker do what is left and stop it as an operator would."""
    expire_leases(desk.database)
    process = worker.start()
    try:
        done = wait_for(lambda: count(desk.database, WHAT_IS_LEFT) == 0)
        assert done, worker.log.read_text()[-3000:]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


@dataclass
class Posted:
    """A request that was sent until it was answered, and that answer."""

    path: str
    key: str
    body: dict[str, Any]
    answer: requests.Response


@dataclass
class Till:
    """A shop's program: it posts invoices and hashes, each under a key, and repeats what went unanswered."""

    portal: LivePortal
    api_key: str
    payer: Payer
    posted: list[Posted] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    unanswered: int = 0

    def sell(self) -> None:
        invoice = self.post(
            "/invoices", {"amount": str(DUE), "asset": "native", "description": "Beans", "issue": True}
        )
        pay_to, ref = invoice["pay_to"], invoice["id"]
        found = self.payer.pay(payment(pay_to["address"], DUE), memo=IdMemo(int(pay_to["memo"])))
        self.sent.append(Sent(found, 0, from_ref("inv", ref), DUE))
        self.post(f"/invoices/{ref}/submissions", {"transaction_hash": found})

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        key, patient_until = str(new_id()), time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self.send(path, key, body)
            if answer is not None and answer.status_code < 500 and not _is_running(answer):
                break
            assert time.monotonic() < patient_until, answer if answer is None else answer.text
            self.unanswered += 1
            time.sleep(REPEAT_SECONDS)
        assert answer.status_code in {200, 201, 202}, answer.text
        self.posted.append(Posted(path, key, body, answer))
        return answer.json()

    def send(self, path: str, key: str, body: dict[str, Any]) -> requests.Response | None:
        """Return the answer, None when the server was not there or died over it."""
        headers = {"Authorization": f"Bearer {self.api_key}", "Idempotency-Key": key}
        try:
            return requests.post(
                f"{self.portal.url}/api/v1{path}", json=body, headers=headers, timeout=ANSWER_SECONDS
            )
        except requests.RequestException:
            return None


def _is_running(answer: requests.Response) -> bool:
    return answer.status_code == 409 and answer.json()["code"] == "idempotency_in_progress"


def kill_web(desk, sandbox, portal, times: int, processes: int) -> None:
    portal.start_web(processes=processes)
    portal.start_worker()
    shop = open_shop(sandbox)
    key = make_api_key(shop)
    tills = [Till(portal, key, Payer(sandbox)) for _ in range(TILLS)]
    threads = [Repeating(till.sell) for till in tills]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        for _ in range(times):
            kill_and_start(portal, tills, processes)
    finally:
        for thread in threads:
            thread.stopped.set()
        for thread in threads:
            thread.finish()
    left = wait_for(lambda: count(desk.database, WHAT_IS_LEFT) == 0)
    assert left, portal.log.read_text()[-3000:]
    posted = [(till, each) for till in tills for each in till.posted]
    check_replays(posted)
    sent = [each for till in tills for each in till.sent]
    assert count(desk.database, "SELECT count(*) FROM invoices") == len(sent)
    assert count(desk.database, "SELECT count(*) FROM idempotency_keys") == len(posted) == 2 * len(sent)
    assert sum(till.unanswered for till in tills) >= times, "no kill was felt"
    check_books(desk, sent)
    print(
        f"{times} kills of the web server, {len(sent)} invoices and payments, {len(posted)} posts,"
        f" {sum(till.unanswered for till in tills)} repeated, {time.monotonic() - began:.0f} seconds"
    )


def kill_and_start(portal, tills, processes: int) -> None:
    """Kill every web process at a moment nobody chose while it answers, and start them again."""
    enough = sum(len(till.posted) for till in tills) + ANSWERS_BEFORE_KILL
    busy = wait_for(lambda: sum(len(till.posted) for till in tills) >= enough)
    assert busy, portal.log.read_text()[-3000:]
    time.sleep(secrets.randbelow(600) / 1000)
    os.killpg(portal.web.pid, signal.SIGKILL)
    portal.web.wait()
    portal.start_web(processes=processes)


def check_replays(posted: list[tuple[Till, Posted]]) -> None:
    """Whoever asks again under the same key is told what he was told, byte by byte."""
    for till, each in posted:
        again = till.send(each.path, each.key, each.body)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (again.status_code, again.content) == (each.answer.status_code, each.answer.content)


@pytest.mark.timeout(180)
def test_three_kills_of_the_worker_lose_and_double_nothing(desk, sandbox, tmp_path):
    kill_workers(desk, sandbox, tmp_path, times=3)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_fifty_kills_of_the_worker_lose_and_double_nothing(desk, sandbox, tmp_path):
    kill_workers(desk, sandbox, tmp_path, times=50)


@pytest.mark.timeout(180)
def test_two_kills_of_the_web_server_lose_and_double_nothing(desk, sandbox, desk_portal):
    kill_web(desk, sandbox, desk_portal, times=2, processes=1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_twenty_kills_of_the_web_server_lose_and_double_nothing(desk, sandbox, desk_portal):
    kill_web(desk, sandbox, desk_portal, times=20, processes=2)


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
