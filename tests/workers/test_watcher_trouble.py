"""What goes wrong around the watcher: it falls behind, wallets cannot be read, networks are reset, leaders die."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from sqlalchemy import select, update

from portal.adapters.chain import chain_source
from portal.db import run_transaction
from portal.domain.payments import looks
from portal.domain.payments.models import WatchCursor
from portal.extensions import db
from portal.flows.readiness import readiness
from portal.kernel.chain import ChainContradiction, ChainUnavailable
from portal.workers import sweep, watch_payments
from portal.workers.watch_payments import NetworkWasReset
from tests.support import databases
from tests.support.builders import NETWORK, make_invoice
from tests.workers.test_kill import ROOT, wait_for
from tests.workers.test_watcher import MODES, now, open_shop, pay, payer, recorded, status_of, watcher

__all__ = ["payer", "watcher"]
BOTH = pytest.mark.parametrize("watcher", MODES, indirect=True)
HELD = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
HELD += " WHERE l.locktype = 'advisory' AND l.granted"


def seen_at(shop) -> datetime | None:
    found = looks.seen_at_of(network=NETWORK, address=shop.wallet)
    db.session.rollback()
    return found


def overview(at: datetime) -> looks.Overview:
    found = looks.overview(network=NETWORK, now=at, late_before=at - timedelta(seconds=60))
    db.session.rollback()
    return found


def place_of(scope: str) -> str | None:
    found = db.session.scalar(select(WatchCursor.cursor).where(WatchCursor.scope == scope))
    db.session.rollback()
    return found


@pytest.fixture
def small_pages(desk, sandbox, monkeypatch):
    """Pages of one record, two of them a round: five payments are three rounds away."""
    source = chain_source()
    by_account, by_stream = source.credits_since, source.payments_since
    monkeypatch.setattr(source, "credits_since", lambda address, cursor: by_account(address, cursor, limit=1))
    monkeypatch.setattr(source, "payments_since", lambda cursor, watched: by_stream(cursor, watched, limit=1))
    monkeypatch.setattr(watch_payments, "PAGES_A_ROUND", 2)


@pytest.fixture
def refuse(desk, sandbox, monkeypatch):
    """Let the source fail for some wallets: refuse(failure, address, ...)."""
    source = chain_source()
    real = source.credits_since

    def start(failure: Exception, *addresses: str) -> None:
        def credits_since(address, cursor):
            if address in addresses:
                raise failure
            return real(address, cursor)

        monkeypatch.setattr(source, "credits_since", credits_since)

    return start


@pytest.fixture
def current_source(desk, sandbox, monkeypatch):
    """A source that is never late, for tests whose clock runs ahead of the sandbox's."""
    state = replace(chain_source().network(), latest_closed_at=None)
    monkeypatch.setattr(chain_source(), "network", lambda: state)


class TestCatchingUp:
    @BOTH
    def test_over_more_pages_than_a_round_reads_skips_nothing(
        self, desk, sandbox, payer, watcher, small_pages
    ):
        shop = open_shop(sandbox)
        watcher.run_once(now())
        invoices = [make_invoice(shop, amount=str(number), now=now()) for number in range(1, 6)]
        for invoice in invoices:
            pay(sandbox, payer, invoice)

        rounds = [watcher.run_once(now()) for _ in range(4)]

        assert rounds == [2, 2, 1, 0]
        assert recorded() == [("CONFIRMED", Decimal(number)) for number in range(1, 6)]
        assert {status_of(invoice) for invoice in invoices} == {"PAID"}

    @BOTH
    def test_says_up_to_when_it_has_seen(self, desk, sandbox, payer, watcher, small_pages):
        shop = open_shop(sandbox)
        watcher.run_once(now())
        invoice = make_invoice(shop, now=now())
        for _ in range(3):
            pay(sandbox, payer, invoice, amount="1")
        later = now() + timedelta(seconds=20)

        watcher.run_once(later)
        behind = seen_at(shop)
        watcher.run_once(later)

        assert behind < later - timedelta(seconds=15)
        assert seen_at(shop) == later

    @pytest.mark.parametrize("watcher", ["network"], indirect=True)
    def test_of_the_stream_keeps_no_newly_proven_wallet_waiting(
        self, desk, sandbox, payer, watcher, small_pages
    ):
        old = open_shop(sandbox)
        watcher.run_once(now())
        backlog = make_invoice(old, now=now())
        for _ in range(6):
            pay(sandbox, payer, backlog, amount="1")
        fresh = open_shop(sandbox)
        invoice = make_invoice(fresh, now=now(), expires_in_seconds=60)
        pay(sandbox, payer, invoice)

        watcher.run_once(now())

        assert status_of(invoice) == "PAID"
        assert int(place_of("network")) < int(chain_source().latest_cursor())
        assert place_of(fresh.wallet) is not None

    @BOTH
    def test_after_a_crash_between_effects_and_cursor_counts_nothing_twice(
        self, desk, sandbox, payer, watcher, monkeypatch
    ):
        shop = open_shop(sandbox)
        watcher.run_once(now())
        pay(sandbox, payer, make_invoice(shop, now=now()))

        def crash(**named):
            raise OSError("the process died here")

        with monkeypatch.context() as broken:
            broken.setattr(watch_payments.watching, "move_cursor", crash)
            with pytest.raises(OSError, match="died"):
                watcher.run_once(now())

        assert watcher.run_once(now()) == 0
        assert recorded() == [("CONFIRMED", Decimal(90))]

    @pytest.mark.parametrize("watcher", ["network"], indirect=True)
    def test_of_a_wallet_whose_page_was_cut_short_is_not_over(
        self, desk, sandbox, payer, watcher, monkeypatch
    ):
        watcher_of_others = open_shop(sandbox)
        watcher.run_once(now())
        shop = open_shop(sandbox)
        invoice = make_invoice(shop, now=now())
        for _ in range(2):
            pay(sandbox, payer, invoice, amount="45")
        stand_at(chain_source().latest_cursor())
        source = chain_source()
        real = source.credits_since

        def cut_short(address, cursor):
            page = real(address, cursor, limit=1)
            if page.transactions and cursor != start:
                raise ChainUnavailable("the second record cannot be had now")
            return page

        start = place_of_wallet(shop)
        with monkeypatch.context() as broken:
            broken.setattr(source, "credits_since", cut_short)
            with pytest.raises(ChainUnavailable):
                watcher.run_once(now())
        assert place_of(shop.wallet) is None
        assert place_of(watcher_of_others.wallet) is not None

        assert watcher.run_once(now()) == 1
        assert status_of(invoice) == "PAID"


def stand_at(cursor: str) -> None:
    """Move the stream past everything, as if it had read it before the wallet was known."""
    moved = update(WatchCursor).where(WatchCursor.scope == "network").values(cursor=cursor)
    run_transaction(lambda: db.session.execute(moved))


def place_of_wallet(shop) -> str:
    from portal.domain.merchants import queries

    [wallet] = [each for each in queries.all_watched(network=NETWORK) if each.address == shop.wallet]
    db.session.rollback()
    return wallet.watched_from


@pytest.mark.usefixtures("current_source")
class TestAWalletThatCannotBeRead:
    @pytest.mark.parametrize("failure", [ChainContradiction("memo"), ChainUnavailable("garbage")])
    @BOTH
    def test_keeps_no_other_waiting(self, desk, sandbox, payer, watcher, refuse, failure):
        bad, good = open_shop(sandbox), open_shop(sandbox)
        refuse(failure, bad.wallet)
        invoices = [make_invoice(shop, now=now(), expires_in_seconds=60) for shop in (bad, good)]
        for invoice in invoices:
            pay(sandbox, payer, invoice)

        new = watcher.run_once(now())
        later = now() + timedelta(minutes=5)
        watcher.run_once(later)
        expired = sweep.run_once(later, network=NETWORK)

        assert new == 1
        assert [status_of(invoice) for invoice in invoices] == ["PENDING", "PAID"]
        assert expired == 0
        assert seen_at(bad) is None
        assert seen_at(good) == later

    def test_is_read_once_it_can_be(self, desk, sandbox, payer, watcher, refuse):
        shop, other = open_shop(sandbox), open_shop(sandbox)
        watcher.run_once(now())
        invoice = make_invoice(shop, now=now())
        pay(sandbox, payer, invoice)
        later = now() + timedelta(seconds=70)
        refuse(ChainContradiction("memo"), shop.wallet)
        watcher.run_once(later)
        late = overview(later).late_wallets
        report = readiness(network=NETWORK, now=later)["watcher"]

        refuse(ChainContradiction("memo"))
        new = watcher.run_once(later)

        assert (late, report["ok"], report["late_wallets"]) == (1, False, 1)
        assert (new, status_of(invoice)) == (1, "PAID")
        assert (overview(later).late_wallets, seen_at(other)) == (0, later)

    def test_of_many_in_a_row_ends_the_round_and_the_next_begins_behind_them(
        self, desk, sandbox, payer, watcher, refuse
    ):
        shops = [open_shop(sandbox) for _ in range(4)]
        invoice = make_invoice(shops[3], now=now())
        pay(sandbox, payer, invoice)
        refuse(ChainUnavailable("garbage"), *(shop.wallet for shop in shops[:3]))

        with pytest.raises(ChainUnavailable):
            watcher.run_once(now())
        unread = status_of(invoice)
        with suppress(ChainUnavailable):
            watcher.run_once(now())

        assert (unread, status_of(invoice)) == ("PENDING", "PAID")


class TestAReset:
    @BOTH
    def test_is_told_when_it_lasts_and_forgotten_when_it_was_none(self, desk, sandbox, watcher):
        shop = open_shop(sandbox)
        watcher.run_once(now())
        before = place_of(shop.wallet)
        ahead = str(int(chain_source().latest_cursor()) + 2**40)
        at = now() + timedelta(minutes=2)
        moved = update(WatchCursor).where(WatchCursor.scope == shop.wallet)
        run_transaction(lambda: db.session.execute(moved.values(cursor=ahead)))

        for seconds in (0, 40):
            with pytest.raises(NetworkWasReset):
                watcher.run_once(at + timedelta(seconds=seconds))
        at_first = overview(at).is_reset
        report = readiness(network=NETWORK, now=at + timedelta(seconds=40))
        shop.enter()
        rail = looks.of_merchant(merchant_id=shop.id, network=NETWORK, now=at + timedelta(seconds=40))
        run_transaction(lambda: db.session.execute(moved.values(cursor=before)))
        watcher.run_once(at + timedelta(seconds=50))

        assert not at_first
        assert (report["watcher"]["ok"], report["watcher"]["error"]) == (False, "network_was_reset")
        assert rail.is_reset
        assert not overview(at + timedelta(hours=1)).is_reset

    def test_before_a_wallets_first_look_is_seen_too(self, desk, sandbox, watcher):
        shop = open_shop(sandbox)
        ahead = str(int(chain_source().latest_cursor()) + 2**40)
        statement = "UPDATE wallets SET watched_from = %s WHERE address = %s"
        with psycopg.connect(desk.database.superuser, autocommit=True) as connection:
            connection.execute(statement, [ahead, shop.wallet])

        with pytest.raises(NetworkWasReset):
            watcher.run_once(now())


def test_a_source_that_lags_behind_its_network_has_seen_no_more_than_it_says(
    desk, sandbox, watcher, monkeypatch
):
    shop = open_shop(sandbox)
    invoice = make_invoice(shop, now=now(), expires_in_seconds=60)
    source = chain_source()
    state = source.network()
    at = datetime.now(UTC) + timedelta(minutes=10)
    monkeypatch.setattr(source, "network", lambda: replace(state, latest_closed_at=at - timedelta(minutes=9)))

    watcher.run_once(at)
    expired = sweep.run_once(at, network=NETWORK)

    assert seen_at(shop) == at - timedelta(minutes=9)
    assert (expired, status_of(invoice)) == (0, "PENDING")


def test_what_is_parked_is_told_until_it_is_recorded(desk, sandbox, payer, watcher, monkeypatch):
    shop = open_shop(sandbox)
    pay(sandbox, payer, make_invoice(shop, now=now()))

    def refuse(transaction, **named):
        raise ValueError("this release cannot read it")

    at = now()
    with monkeypatch.context() as broken:
        broken.setattr(watch_payments, "record_observed", refuse)
        watcher.run_once(at)
    told = readiness(network=NETWORK, now=at)["parked"]
    watcher.run_once(at + timedelta(seconds=61))

    assert (told["ok"], told["records"]) == (False, 1)
    assert told["oldest_at"] is not None
    assert readiness(network=NETWORK, now=at)["parked"] == {"ok": True, "records": 0, "oldest_at": None}


def test_of_two_watchers_one_leads_until_it_is_killed(desk, sandbox, payer, tmp_path):
    shop = open_shop(sandbox)
    first, second = (watch_in_a_process(desk, tmp_path / f"{name}.log") for name in ("first", "second"))
    try:
        assert wait_for(lambda: count(desk, HELD) == 1)
        leader_paid = make_invoice(shop, now=now())
        pay(sandbox, payer, leader_paid)
        assert wait_for(lambda: status_of(leader_paid) == "PAID")
        leader, follower = (first, second) if leads(desk, "first") else (second, first)
        invoice = make_invoice(shop, now=now())

        os.kill(leader.pid, signal.SIGKILL)
        leader.wait()
        pay(sandbox, payer, invoice)

        assert wait_for(lambda: status_of(invoice) == "PAID"), follower.args
        assert count(desk, HELD) == 1
        assert follower.poll() is None
    finally:
        for process in (first, second):
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=20)
    assert recorded() == [("CONFIRMED", Decimal(90))] * 2


def watch_in_a_process(desk, log) -> subprocess.Popen:
    """Start a worker that only watches; its connections carry the name of its log."""
    environment = databases._system() | desk.environment | {"PGAPPNAME": log.stem}
    with open(log, "ab") as written:
        return subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "wsgi", "worker", "--only", "watch"],
            cwd=ROOT, env=environment, stdout=written, stderr=written,
        )  # fmt: skip


def count(desk, statement: str) -> int:
    with psycopg.connect(desk.database.superuser, autocommit=True) as connection:
        return connection.execute(statement).fetchone()[0]


def leads(desk, name: str) -> bool:
    holder = (
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        f" WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = '{name}'"
    )
    return bool(count(desk, holder))
