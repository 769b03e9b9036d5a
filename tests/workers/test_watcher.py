"""The watcher credits money that nobody reported, once, whatever happens to it in between."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError
from stellar_sdk import IdMemo, Keypair

from config import SANDBOX_PASSPHRASE
from portal.adapters.chain import chain_source
from portal.db import run_transaction
from portal.domain.invoices.models import Invoice
from portal.domain.merchants.models import Wallet
from portal.domain.payments.models import Payment, WatchCursor, WatchFailure
from portal.extensions import db
from portal.sandbox.client import fund, play_payment
from portal.workers import watch_payments
from portal.workers.watch_payments import NetworkWasReset, Watcher
from tests.support.builders import NETWORK, make_invoice, make_shop

MODES = ("accounts", "network")


@pytest.fixture(scope="session")
def payer(sandbox) -> Keypair:
    pair = Keypair.random()
    fund(sandbox.url, pair.public_key)
    return pair


@pytest.fixture
def watcher(request):
    made = Watcher(network=NETWORK, mode=getattr(request, "param", "accounts"))
    yield made
    made.close()


def now() -> datetime:
    return datetime.now(UTC)


def open_shop(sandbox, **columns):
    """Return a shop whose wallet exists on the sandbox and is watched from this moment."""
    shop = make_shop(**columns)
    fund(sandbox.url, shop.wallet)
    watched_from = chain_source().latest_cursor()
    run_transaction(
        lambda: db.session.execute(
            update(Wallet).where(Wallet.address == shop.wallet).values(watched_from=watched_from)
        )
    )
    return shop


def pay(sandbox, payer, invoice, amount=None, memo=True) -> str:
    reference = IdMemo(invoice.pay_ref) if memo else None
    due = invoice.amount if amount is None else Decimal(amount)
    return play_payment(
        sandbox.url, SANDBOX_PASSPHRASE, payer.secret, invoice.destination, invoice.asset, due, reference
    )


def status_of(invoice) -> str:
    found = db.session.scalar(select(Invoice.status).where(Invoice.id == invoice.id))
    db.session.rollback()
    return found


def recorded() -> list[tuple[str, Decimal]]:
    rows = db.session.execute(select(Payment.status, Payment.amount).order_by(Payment.id))
    found = [(row[0], row[1]) for row in rows]
    db.session.rollback()
    return found


@pytest.mark.parametrize("watcher", MODES, indirect=True)
def test_money_that_nobody_reported_is_credited(desk, sandbox, payer, watcher):
    shop = open_shop(sandbox)
    invoice = make_invoice(shop, now=now())
    watcher.run_once(now())
    pay(sandbox, payer, invoice)
    pay(sandbox, payer, invoice, amount="7", memo=False)

    new = watcher.run_once(now())
    again = watcher.run_once(now())

    assert (new, again) == (2, 0)
    assert status_of(invoice) == "PAID"
    assert recorded() == [("CONFIRMED", Decimal(90)), ("UNMATCHED", Decimal(7))]


def test_a_watcher_that_crashed_resumes_at_its_cursor_and_counts_nothing_twice(
    desk, sandbox, payer, monkeypatch
):
    shop = open_shop(sandbox)
    invoice = make_invoice(shop, now=now())
    pay(sandbox, payer, invoice)
    first = Watcher(network=NETWORK, mode="accounts")

    def crash(*arguments, **named):
        raise OperationalError("crash", {}, Exception())

    with monkeypatch.context() as broken:
        broken.setattr(watch_payments.watching, "move_cursor", crash)
        with pytest.raises(OperationalError):
            first.run_once(now())
    first.close()
    # The money was booked, the cursor stayed: only the look is repeated.
    assert status_of(invoice) == "PAID"
    second = Watcher(network=NETWORK, mode="accounts")
    new = second.run_once(now())
    second.close()

    assert new == 0
    assert recorded() == [("CONFIRMED", Decimal(90))]
    assert db.session.scalar(select(WatchCursor.cursor).where(WatchCursor.scope == shop.wallet)) != "0"


def test_a_record_that_cannot_be_recorded_is_parked_and_stops_nobody(
    desk, sandbox, payer, watcher, monkeypatch
):
    shop = open_shop(sandbox)
    bad, good = make_invoice(shop, now=now()), make_invoice(shop, now=now())
    poisoned = pay(sandbox, payer, bad)
    pay(sandbox, payer, good)
    real = watch_payments.record_observed

    def record(transaction, **named):
        if poisoned in transaction.hashes:
            # NaN in a numeric column is a row that the database itself refuses.
            broken = replace(transaction.credits[0], stroops=-1)
            transaction = replace(transaction, credits=(broken,))
        return real(transaction, **named)

    monkeypatch.setattr(watch_payments, "record_observed", record)

    new = watcher.run_once(now())

    assert new == 1
    assert (status_of(bad), status_of(good)) == ("PENDING", "PAID")
    [parked] = db.session.scalars(select(WatchFailure)).all()
    assert parked.transaction_hash == poisoned
    assert parked.error
    assert watcher.run_once(now()) == 0


def test_one_merchants_bad_record_takes_nothing_from_another(desk, sandbox, payer, watcher):
    shops = sorted((open_shop(sandbox) for _ in range(2)), key=lambda shop: shop.id)
    invoices = [make_invoice(shop, now=now()) for shop in shops]
    source = chain_source()
    transfers = [source.find_transaction(pay(sandbox, payer, invoice)) for invoice in invoices]
    credit = replace(transfers[0].credits[0], stroops=-1)
    both = replace(transfers[1], credits=(credit, *transfers[1].credits))
    owners = {shop.wallet: shop.id for shop in shops}

    with pytest.raises(Exception, match=r".") as refusal:
        watch_payments.record_observed(both, network=NETWORK, owners=owners, now=now())

    assert not isinstance(refusal.value, KeyboardInterrupt)
    assert [status_of(invoice) for invoice in invoices] == ["PENDING", "PAID"]


@pytest.mark.parametrize("watcher", ["network"], indirect=True)
def test_a_wallet_younger_than_the_stream_loses_nothing(desk, sandbox, payer, watcher):
    open_shop(sandbox)
    watcher.run_once(now())
    late = open_shop(sandbox)
    invoice = make_invoice(late, now=now())
    pay(sandbox, payer, invoice)
    # The stream moves past the payment before it knows that the wallet is ours.
    run_transaction(
        lambda: db.session.execute(
            update(WatchCursor)
            .where(WatchCursor.scope == "network")
            .values(cursor=chain_source().latest_cursor())
        )
    )

    new = watcher.run_once(now())

    assert new == 1
    assert status_of(invoice) == "PAID"
    assert not db.session.scalars(select(WatchCursor).where(WatchCursor.scope.startswith("joining"))).all()


@pytest.mark.parametrize("watcher", ["network"], indirect=True)
def test_a_joining_wallet_with_a_long_past_is_read_to_its_end(desk, sandbox, payer, watcher, monkeypatch):
    open_shop(sandbox)
    watcher.run_once(now())
    late = open_shop(sandbox)
    invoice = make_invoice(late, now=now())
    for _ in range(3):
        pay(sandbox, payer, invoice, amount="30")
    run_transaction(
        lambda: db.session.execute(
            update(WatchCursor)
            .where(WatchCursor.scope == "network")
            .values(cursor=chain_source().latest_cursor())
        )
    )
    real = chain_source().credits_since
    monkeypatch.setattr(
        chain_source(), "credits_since", lambda address, cursor: real(address, cursor, limit=1)
    )
    monkeypatch.setattr(watch_payments, "PAGES_A_ROUND", 1)

    rounds = [watcher.run_once(now()) for _ in range(4)]

    assert rounds == [1, 1, 1, 0]
    assert status_of(invoice) == "PAID"


def test_changing_from_accounts_to_the_stream_leaves_no_gap(desk, sandbox, payer):
    shop = open_shop(sandbox)
    invoice = make_invoice(shop, now=now())
    by_account = Watcher(network=NETWORK, mode="accounts")
    by_account.run_once(now())
    by_account.close()
    pay(sandbox, payer, invoice)

    stream = Watcher(network=NETWORK, mode="network")
    new = stream.run_once(now())
    stream.close()

    assert new == 1
    assert status_of(invoice) == "PAID"


@pytest.mark.parametrize("mode", MODES)
def test_a_network_that_was_reset_stops_the_watcher(desk, sandbox, mode):
    shop = open_shop(sandbox)
    ahead = str(int(chain_source().latest_cursor()) + 2**40)
    run_transaction(
        lambda: db.session.execute(
            text(
                "INSERT INTO watch_cursors (network, scope, cursor, checked_at) VALUES ('test', :scope, :at, now())"
            ),
            {"scope": shop.wallet, "at": ahead},
        )
    )
    watcher = Watcher(network=NETWORK, mode=mode)

    with pytest.raises(NetworkWasReset):
        watcher.run_once(now())

    watcher.close()
    assert db.session.scalar(select(WatchCursor.cursor)) == ahead


def test_one_watcher_leads_and_another_takes_over(desk, sandbox, payer, watcher):
    shop = open_shop(sandbox)
    invoice = make_invoice(shop, now=now())
    watcher.run_once(now())
    other = Watcher(network=NETWORK, mode="accounts")
    pay(sandbox, payer, invoice)

    idle = other.run_once(now())
    watcher.close()
    leading = other.run_once(now())
    other.close()

    assert (idle, leading) == (0, 1)


def test_a_watcher_that_is_behind_does_not_say_it_has_seen_this_moment(
    desk, sandbox, payer, watcher, monkeypatch
):
    shop = open_shop(sandbox)
    invoice = make_invoice(shop, now=now())
    for _ in range(2):
        pay(sandbox, payer, invoice, amount="30")
    real = chain_source().credits_since
    monkeypatch.setattr(
        chain_source(), "credits_since", lambda address, cursor: real(address, cursor, limit=1)
    )
    monkeypatch.setattr(watch_payments, "PAGES_A_ROUND", 1)
    later = now() + timedelta(hours=1)

    watcher.run_once(later)

    seen = db.session.scalar(select(WatchCursor.checked_at).where(WatchCursor.scope == shop.wallet))
    assert seen < later - timedelta(minutes=30)


def test_money_to_a_retired_wallet_is_still_seen(desk, sandbox, payer, watcher):
    shop = open_shop(sandbox)
    invoice = make_invoice(shop, now=now())
    run_transaction(
        lambda: db.session.execute(
            update(Wallet).where(Wallet.address == shop.wallet).values(retired_at=now(), is_default=False)
        )
    )
    pay(sandbox, payer, invoice)

    assert watcher.run_once(now()) == 1
    assert status_of(invoice) == "PAID"


@pytest.mark.parametrize("watcher", MODES, indirect=True)
def test_a_parked_record_is_recorded_once_it_can_be(desk, sandbox, payer, watcher, monkeypatch):
    shop = open_shop(sandbox)
    invoice = make_invoice(shop, now=now())
    watcher.run_once(now())
    pay(sandbox, payer, invoice)

    def refuse(transaction, **named):
        raise ValueError("this release cannot read it")

    with monkeypatch.context() as broken:
        broken.setattr(watch_payments, "record_observed", refuse)
        watcher.run_once(now())
        watcher.run_once(now() + timedelta(seconds=61))
    [parked] = db.session.scalars(select(WatchFailure)).all()
    assert (parked.attempts, parked.resolved_at, status_of(invoice)) == (2, None, "PENDING")

    too_early = watcher.run_once(now() + timedelta(seconds=100))
    new = watcher.run_once(now() + timedelta(seconds=200))

    assert (too_early, new, status_of(invoice)) == (0, 1, "PAID")
    db.session.expire_all()
    assert db.session.scalars(select(WatchFailure.resolved_at)).one() is not None
    assert watcher.run_once(now() + timedelta(hours=5)) == 0
    assert recorded() == [("CONFIRMED", Decimal(90))]
