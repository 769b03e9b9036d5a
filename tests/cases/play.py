"""Play a case through an entry, or past the watcher, and hold what is left against its table."""

from datetime import datetime, timedelta
from typing import Protocol

import pytest
from flask import Flask
from sqlalchemy import select

from portal.adapters.horizon import Horizon
from portal.domain.invoices.models import Invoice
from portal.domain.payments.models import Allocation, ChainTransaction, Payment
from portal.extensions import db
from portal.flows.invariants import check_invariants
from portal.flows.verify_ledger import verify_ledger
from portal.kernel.chain import ChainContradiction, ChainUnavailable
from portal.kernel.clock import utc_now
from portal.kernel.money import ZERO, format_units, settlement_for
from portal.workers import verify_submissions
from portal.workers.watch_payments import Watcher
from tests.cases.entries import Heard
from tests.cases.scene import Bill, Premises, Scene, Stage
from tests.cases.served import PASSPHRASE
from tests.cases.signing import Signed
from tests.cases.table import (
    ACCEPTED,
    AGAIN,
    PAID,
    PATIENCE_SECONDS,
    UNTOUCHED,
    WAITS,
    Answer,
    Case,
    Left,
    Money,
    Told,
    confirmed,
)
from tests.support.builders import NETWORK

# The first second look at a parked record, and a little.
PARKED_SECONDS = 61
# The door of a source that asked for patience (429) is open again by then.
LOOK_AFTER = timedelta(seconds=20)
BATCHES_MAX = 100


class Entry(Protocol):
    def claim(self, premises: Premises, bill: Bill, text: str) -> Heard:
        """Claim that the hash `text` pays this invoice."""


def play(case: Case, stage: Stage, entry: Entry) -> None:
    """Claim every transaction of the case by its hash; the chain has them all from the beginning."""
    scene, told = _raise_curtain(case, stage)
    for signed in told.signed:
        stage.listing.show(signed, listed=False)
    _garble(stage, told, listed=False)
    ask_anew(stage.app, stage, told.patience_seconds)
    claims = told.claims or [(scene.bill, signed.hash) for signed in told.signed]
    for (bill, text), answer in zip(claims, case.answers, strict=True):
        _compare(entry.claim(bill.owner, bill, text), answer)
    _check_books(stage, scene, told, case.money, case.left)
    if case.heals:
        _heal(stage, told, listed=False)
        ask_anew(stage.app, stage)
        bill, text = claims[-1]
        _compare(entry.claim(bill.owner, bill, text), ACCEPTED)
        _check_books(stage, scene, told, (confirmed(),), PAID)


def wait_out(case: Case, stage: Stage, entry: Entry, worker: Flask) -> None:
    """Claim while the network is of no use, and let the worker settle it once it answers as it should."""
    scene, told = _raise_curtain(case, stage)
    stage.listing.show(told.signed[-1], listed=False)
    _garble(stage, told, listed=False)
    for app in (stage.app, worker):
        ask_anew(app, stage, told.patience_seconds)
    [signed] = told.signed
    _compare(entry.claim(scene.bill.owner, scene.bill, signed.hash), WAITS)
    _verify(worker, utc_now() + LOOK_AFTER)
    _check_books(stage, scene, told, (), UNTOUCHED)
    _heal(stage, told, listed=False)
    ask_anew(worker, stage)
    _verify(worker, utc_now() + 2 * LOOK_AFTER)
    _check_books(stage, scene, told, (confirmed(),), PAID)
    ask_anew(stage.app, stage)
    _compare(entry.claim(scene.bill.owner, scene.bill, signed.hash), AGAIN)


def _verify(worker: Flask, now: datetime) -> None:
    """Let the worker look for everything that is due, also what other cases left behind."""
    with worker.app_context():
        for _ in range(BATCHES_MAX):
            if verify_submissions.run_once(now, network=NETWORK) == 0:
                return
    pytest.fail("the worker comes to no end")


def watch(case: Case, stage: Stage, mode: str) -> None:
    """Let the watcher find everything by itself."""
    scene, told = _raise_curtain(case, stage)
    for signed in told.signed:
        stage.listing.show(signed)
    _garble(stage, told, listed=True)
    look(stage, mode, patience_seconds=told.patience_seconds)
    _check_books(stage, scene, told, case.money, case.left)
    if case.heals:
        _heal(stage, told, listed=True)
        look(stage, mode, later=timedelta(seconds=PARKED_SECONDS))
        _check_books(stage, scene, told, (confirmed(),), PAID)


def look(
    stage: Stage,
    mode: str,
    *,
    later: timedelta = timedelta(0),
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Let a watcher make one round; it may have to give up before a source that is away."""
    ask_anew(stage.app, stage, patience_seconds)
    with stage.app.app_context():
        watcher = Watcher(network=NETWORK, mode="network" if mode == "network" else "accounts")
        try:
            watcher.run_once(utc_now() + later)
        except (ChainUnavailable, ChainContradiction):
            assert stage.listing.served.spoil is not None
        finally:
            watcher.close()


def ask_anew(app: Flask, stage: Stage, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Give the app a client without memory: a door that one case closed is no other's."""
    app.extensions["tagih_chain_source"] = Horizon(
        stage.listing.served.url, passphrase=PASSPHRASE, timeout_seconds=patience_seconds
    )


def troubles(app: Flask) -> list[str]:
    """Return every invariant that is broken and every figure that the facts do not bear out."""
    with app.app_context():
        found = [f"{each.name}: {each.refs}" for each in check_invariants() if not each.holds]
        return found + [str(each) for step in verify_ledger() for each in step.differences]


def _raise_curtain(case: Case, stage: Stage) -> tuple[Scene, Told]:
    scene = Scene(stage, case.terms)
    told = case.tell(scene)
    return scene, Told([told]) if isinstance(told, Signed) else told


def _garble(stage: Stage, told: Told, *, listed: bool) -> None:
    if told.lies is not None:
        stage.listing.show(told.signed[-1], told.lies, listed=listed)
    stage.listing.served.spoil = told.spoil


def _heal(stage: Stage, told: Told, *, listed: bool) -> None:
    stage.listing.served.spoil = None
    stage.listing.show(told.signed[-1], listed=listed)


def _compare(heard: Heard, answer: Answer) -> None:
    assert (heard.state, heard.code) == (answer.state, answer.code)
    if heard.status is not None:
        assert heard.status == answer.status
    if heard.rules:
        assert all(heard.rules) == (heard.state == "ACCEPTED")


def _check_books(stage: Stage, scene: Scene, told: Told, money: tuple[Money, ...], left: Left) -> None:
    with stage.app.app_context():
        scene.premises.shop.enter()
        assert _money(scene, told) == money
        assert _left(scene.bill) == left
        for bill, expected in told.also:
            bill.owner.shop.enter()
            assert _left(bill) == expected


def _money(scene: Scene, told: Told) -> tuple[Money, ...]:
    """Return what the merchant's books have of these transactions, in the order of the chain."""
    rows = db.session.execute(
        select(Payment)
        .join(ChainTransaction, ChainTransaction.id == Payment.transaction_id)
        .where(
            Payment.merchant_id == scene.premises.shop.id,
            ChainTransaction.canonical_hash.in_([signed.hash for signed in told.signed]),
        )
        .order_by(ChainTransaction.ledger, Payment.operation_index, Payment.credit_index)
    )
    found = rows.scalars().all()
    for payment in found:
        # The evidence names the rule that failed, and no other one.
        failed = [rule["code"] for rule in payment.evidence if not rule["ok"]]
        assert len(failed) == (0 if payment.status == "CONFIRMED" else 1), failed
    return tuple(
        Money(each.status, each.reason, tuple(each.flags), format_units(each.amount)) for each in found
    )


def _left(bill: Bill) -> Left:
    invoice = db.session.get_one(Invoice, bill.id, populate_existing=True)
    allocated = db.session.scalars(select(Allocation.amount).where(Allocation.invoice_id == bill.id)).all()
    assert sum(allocated, ZERO) == invoice.amount_received
    settlement = settlement_for(
        due=invoice.amount, received=invoice.amount_received, overpaid=invoice.overpaid_by > 0
    )
    return Left(
        invoice.status,
        settlement.value,
        format_units(invoice.amount_received),
        format_units(invoice.overpaid_by),
    )
