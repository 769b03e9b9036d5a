"""A Horizon of which three answers in ten are faults: nothing false is credited, all that is honest soon after."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import requests
from stellar_sdk import Asset, ChangeTrust, IdMemo, Keypair

from portal.kernel.addresses import muxed
from portal.kernel.refs import to_ref
from portal.kernel.tokens import new_pay_ref
from portal.sandbox.client import fund
from tests.support.builders import make_invoice
from tests.support.live import ROOT, LivePortal
from tests.support.storm import (
    Payer,
    Repeating,
    Sent,
    ask,
    check_books,
    count,
    make_api_key,
    payment,
    wait_for,
)
from tests.workers.test_watcher import open_shop

DUE = Decimal("1.0000000")
RECOVERY_SECONDS = 30
# Of every path three answers in ten; the lag of a history behind its core comes on top, where it is felt.
FAULT_SHARE, LAG_SHARE = 0.30, 0.06
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "429", "retry_after_seconds": 1},
    {"kind": "503", "retry_after_seconds": 1},
    {"kind": "timeout", "delay_seconds": 4},
    {"kind": "garbage"},
)
STRIKES_MAX = 1_000_000
STRIKES_MIN = 5
NEIGHBOURS = 5
# Few enough that a busy machine settles them all in time: the storm is of faults, not of payments.
DEAL_SECONDS, SHORT_DEAL_SECONDS, REPORT_SECONDS, LOOK_SECONDS = 0.25, 0.05, 0.5, 0.2
HAMMER_THREADS = 4
HONEST, HOSTILE = {200, 201, 202}, {202, 409, 422}


def break_horizon(sandbox) -> None:
    """Order the faults: the first that strikes decides, so each takes its share of what is left."""
    each = FAULT_SHARE / len(FAULTS)
    orders = [{"kind": "not_found_lag", "rate": LAG_SHARE}]
    orders += [{**fault, "rate": each / (1 - each * index)} for index, fault in enumerate(FAULTS)]
    for order in orders:
        answer = requests.post(
            f"{sandbox.url}/sandbox/faults", json=order | {"times": STRIKES_MAX}, timeout=20
        )
        assert answer.ok, answer.text


def mend_horizon(sandbox) -> dict[str, int]:
    """End all faults and return how often each struck."""
    url = f"{sandbox.url}/sandbox/faults"
    orders = requests.get(url, timeout=20).json()["faults"]
    requests.delete(url, timeout=20)
    return {order["kind"]: STRIKES_MAX - order["times_left"] for order in orders}


@dataclass
class Claim:
    """A hash that somebody submits for an invoice, and what it must come to in the end."""

    invoice_id: UUID
    transaction_hash: str
    state: str
    code: str | None


@dataclass
class Market:
    """Payers, honest and hostile, in turn; `honest` are the invoices that may ever have money."""

    sandbox: Any
    desk: Any
    portal: LivePortal
    reports_honest: Callable[[], bool]
    is_claimed: bool
    honest: set[UUID] = field(default_factory=set)
    sent: list[Sent] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    told: int = 0
    turn: int = 0

    def __post_init__(self) -> None:
        self.payer, self.stranger = Payer(self.sandbox), Keypair.random().public_key
        fund(self.sandbox.url, self.stranger)
        self.shop = open_shop(self.sandbox)
        # Neighbours for whom the watcher asks too: with one wallet it would hardly meet a fault.
        for _ in range(NEIGHBOURS):
            open_shop(self.sandbox)
        self.key = make_api_key(self.shop)
        # An asset of the payer's own, called like the native one, which the shop lets in.
        self.false_asset = Asset("XLM", self.payer.pair.public_key)
        trust = ChangeTrust(self.false_asset, source=self.shop.wallet)
        self.payer.pay(trust, others=[self.shop.wallet_secret])

    def deal(self) -> None:
        """Play the next case; an honest one is named before its money moves."""
        cases = (
            self.pay_by_memo, self.no_reference, self.pay_by_muxed_id, self.wrong_reference, self.pay_in_parts,
            self.wrong_destination, self.pay_by_memo, self.wrong_asset, self.pay_by_muxed_id, self.pay_and_return,
            self.pay_by_memo, self.failed, self.stolen, self.invented,
        )  # fmt: skip
        with self.desk.app.app_context():
            cases[self.turn % len(cases)]()
        self.turn += 1

    def issue(self, *, is_honest: bool = False) -> Any:
        invoice = make_invoice(self.shop, amount=str(DUE), now=datetime.now(UTC))
        if is_honest:
            self.honest.add(invoice.id)
        return invoice

    def note(self, found: str, invoice_id: UUID | None, amount: Decimal = DUE) -> None:
        self.sent.append(Sent(found, 0, invoice_id, amount))

    def claim(self, invoice_id: UUID, found: str, state: str, code: str | None = None) -> None:
        if self.is_claimed:
            self.claims.append(Claim(invoice_id, found, state, code))

    def pay_by_memo(self) -> None:
        self._settle(self.issue(is_honest=True), lambda invoice: IdMemo(invoice.pay_ref))

    def pay_by_muxed_id(self) -> None:
        self._settle(self.issue(is_honest=True), lambda invoice: None)

    def pay_in_parts(self) -> None:
        self._settle(self.issue(is_honest=True), lambda invoice: IdMemo(invoice.pay_ref), parts=2)

    def _settle(self, invoice: Any, memo_for: Callable[[Any], IdMemo | None], *, parts: int = 1) -> None:
        invoice_id, memo = invoice.id, memo_for(invoice)
        address = invoice.destination if memo else muxed(invoice.destination, invoice.pay_ref)
        for _ in range(parts):
            found = self.payer.pay(payment(address, DUE / parts), memo=memo)
            self.note(found, invoice_id, DUE / parts)
            if self.reports_honest():
                self.claim(invoice_id, found, "ACCEPTED")

    def no_reference(self) -> None:
        self._deceive(self.payer.pay(payment(self.shop.wallet, DUE)), "no_reference")

    def wrong_reference(self) -> None:
        memo = IdMemo(new_pay_ref())
        self._deceive(self.payer.pay(payment(self.shop.wallet, DUE), memo=memo), "unknown_reference")

    def _deceive(self, found: str, code: str, invoice: Any = None) -> None:
        """Note money that reached the shop and pays nothing, and claim that it does."""
        self.note(found, None)
        self.claim((invoice or self.issue()).id, found, "REJECTED", code)

    def wrong_asset(self) -> None:
        invoice = self.issue()
        false = payment(self.shop.wallet, DUE, self.false_asset)
        self._deceive(self.payer.pay(false, memo=IdMemo(invoice.pay_ref)), "wrong_asset", invoice)

    def pay_and_return(self) -> None:
        invoice = self.issue()
        back = payment(self.payer.pair.public_key, DUE, source=self.shop.wallet)
        found = self.payer.pay(
            payment(self.shop.wallet, DUE),
            back,
            memo=IdMemo(invoice.pay_ref),
            others=[self.shop.wallet_secret],
        )
        self._deceive(found, "pay_and_return", invoice)

    def wrong_destination(self) -> None:
        invoice = self.issue()
        found = self.payer.pay(payment(self.stranger, DUE), memo=IdMemo(invoice.pay_ref))
        self.claim(invoice.id, found, "REJECTED", "wrong_destination")

    def failed(self) -> None:
        invoice = self.issue()
        too_much = payment(self.shop.wallet, Decimal(10**6))
        found = self.payer.pay(too_much, memo=IdMemo(invoice.pay_ref), fails=True)
        self.claim(invoice.id, found, "REJECTED", "transaction_failed")

    def stolen(self) -> None:
        """Claim somebody else's honest payment for an invoice of one's own."""
        self.pay_by_memo()
        self.claim(self.issue().id, self.sent[-1].transaction_hash, "REJECTED", "hash_used")

    def invented(self) -> None:
        self.claim(self.issue().id, secrets.token_hex(32), "CHECKING")

    def report(self) -> None:
        """Submit what was not submitted yet through the API, from a process of its own."""
        claims = self.claims[self.told :]
        self.told += len(claims)
        if not claims:
            return
        orders = [
            {
                "url": f"{self.portal.url}/api/v1/invoices/{to_ref('inv', claim.invoice_id)}/submissions",
                "headers": {"Authorization": f"Bearer {self.key}"},
                "json": {"transaction_hash": claim.transaction_hash},
            }
            for claim in claims
        ]
        threads = min(HAMMER_THREADS, len(orders))
        hammer = subprocess.run(
            [sys.executable, "-m", "tests.support.hammer"],
            input=json.dumps({"threads": threads, "requests": orders}),
            cwd=ROOT, text=True, capture_output=True, check=True,
        )  # fmt: skip
        in_order = [claim for index in range(threads) for claim in claims[index::threads]]
        for claim, status in zip(in_order, json.loads(hammer.stdout), strict=True):
            assert status in (HONEST if claim.state == "ACCEPTED" else HOSTILE), (claim, status)

    def look(self) -> None:
        """Nobody but who was paid honestly has money, at any moment."""
        rows = ask(self.desk.database, "SELECT id FROM invoices WHERE amount_received > 0 OR status = 'PAID'")
        assert {row[0] for row in rows} <= self.honest

    def is_settled(self) -> bool:
        return self.paid() == self.honest and all(
            self.outcomes()[key] == end for key, end in self.ends().items()
        )

    def paid(self) -> set[UUID]:
        return {row[0] for row in ask(self.desk.database, "SELECT id FROM invoices WHERE status = 'PAID'")}

    def outcomes(self) -> dict[tuple[UUID, str], tuple[str, str | None]]:
        rows = ask(self.desk.database, "SELECT invoice_id, transaction_hash, state, code FROM submissions")
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}

    def late(self) -> list[tuple]:
        """Return the claims that have not come to their end, with when each will be looked at again."""
        rows = ask(
            self.desk.database,
            """
            SELECT invoice_id, transaction_hash, state, code, attempts, now() - started_at,
                next_attempt_at - now(), lease_until - now()
            FROM submissions
            ORDER BY id
            """,
        )
        ends = self.ends()
        return [row[2:] for row in rows if ends.get(row[:2]) != row[2:4]]

    def ends(self) -> dict[tuple[UUID, str], tuple[str, str | None]]:
        return {
            (claim.invoice_id, claim.transaction_hash): (claim.state, claim.code) for claim in self.claims
        }


def storm(
    market: Market, sandbox, *, seconds: float, jobs: tuple[str, ...], deal_seconds: float = DEAL_SECONDS
) -> None:
    """Trade for `seconds` while Horizon fails, mend it, and see everything settled half a minute later."""
    market.portal.start_worker(*jobs)
    traders = [
        Repeating(market.deal, pause_seconds=deal_seconds),
        Repeating(market.report, pause_seconds=REPORT_SECONDS),
        Repeating(market.look, pause_seconds=LOOK_SECONDS),
    ]
    break_horizon(sandbox)
    try:
        for trader in traders:
            trader.start()
        time.sleep(seconds)
        for trader in traders:
            trader.finish()
        market.report()
    finally:
        struck = mend_horizon(sandbox)
    mended_at = time.monotonic()

    is_settled = wait_for(market.is_settled, RECOVERY_SECONDS)

    took = time.monotonic() - mended_at
    assert is_settled, (
        len(market.honest - market.paid()),
        market.late(),
        market.portal.log.read_text()[-2000:],
    )
    assert sum(struck.values()) >= STRIKES_MIN, struck
    database = market.desk.database
    drained = "SELECT count(*) FROM outbox WHERE state = 'PENDING'"
    assert wait_for(lambda: count(database, drained) == 0), market.portal.log.read_text()[-2000:]
    market.look()
    check_books(market.desk, market.sent)
    print(
        f"{seconds} s of faults {struck}: {market.turn} deals, {len(market.sent)} payments, {len(market.honest)}"
        f" honest invoices, {len(market.claims)} claims; all settled {took:.1f} s after"
    )


@pytest.mark.timeout(180)
def test_six_seconds_of_faults_credit_nothing_false_and_lose_nothing(desk, sandbox, desk_portal):
    desk_portal.start_web()
    # Every other honest payer says nothing, so that the watcher has to find the money.
    market = Market(sandbox, desk, desk_portal, lambda: market.turn % 4 < 2, is_claimed=True)

    storm(market, sandbox, seconds=6, jobs=(), deal_seconds=SHORT_DEAL_SECONDS)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("entry", ["both", "watcher", "submissions"])
def test_a_minute_of_faults_credits_nothing_false_and_loses_nothing(desk, sandbox, desk_portal, entry):
    jobs = {"both": (), "watcher": ("relay", "watch"), "submissions": ("relay", "verify")}[entry]
    is_claimed = entry != "watcher"
    if is_claimed:
        desk_portal.start_web()
    market = Market(
        sandbox, desk, desk_portal, lambda: entry == "submissions" or market.turn % 4 < 2, is_claimed
    )

    storm(market, sandbox, seconds=60, jobs=jobs)
