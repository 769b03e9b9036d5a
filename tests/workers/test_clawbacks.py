"""What an issuer takes back is seen, booked and told, in both modes and whatever happens in between."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from stellar_sdk import AuthorizationFlag, IdMemo

from portal.adapters.chain import chain_source
from portal.domain.invoices.models import Invoice
from portal.domain.payments.models import Payment, WatchCursor
from portal.extensions import db
from portal.flows.invariants import check_invariants
from portal.flows.record_observed import record_observed
from portal.flows.verify_ledger import verify_ledger
from portal.kernel.clock import utc_now
from portal.workers import check_wallets, watch_payments
from tests.support.builders import NETWORK, make_invoice
from tests.support.chain_acts import give, open_issuer, take_back, trust
from tests.workers.test_watcher import MODES, open_shop, watcher
from tests.workers.test_watcher_trouble import place_of

__all__ = ["watcher"]
BOTH = pytest.mark.parametrize("watcher", MODES, indirect=True)
TAKES_BACK = AuthorizationFlag.AUTHORIZATION_REVOCABLE | AuthorizationFlag.AUTHORIZATION_CLAWBACK_ENABLED


class Scene:
    """A shop that takes an asset whose issuer can take it back, and has one invoice open in it."""

    def __init__(self, sandbox) -> None:
        self.sandbox = sandbox
        self.issuer = open_issuer(sandbox, flags=TAKES_BACK)
        self.asset = f"EURT:{self.issuer.public_key}"
        self.shop = open_shop(sandbox, default_asset=self.asset)
        trust(sandbox, self.shop.wallet_secret, self.asset)
        check_wallets.run_once(utc_now(), network=NETWORK)
        self.invoice = make_invoice(self.shop, amount="90", asset=self.asset, now=utc_now())

    @property
    def scope(self) -> str:
        return f"clawback:{self.shop.wallet}"

    def pay(self, amount: str = "90") -> str:
        memo = IdMemo(self.invoice.pay_ref)
        return give(self.sandbox, self.issuer, self.shop.wallet, "EURT", amount, memo)

    def take_back(self, amount: str = "90") -> str:
        return take_back(self.sandbox, self.issuer, self.shop.wallet, "EURT", amount)

    def state(self) -> tuple[str, bool, Decimal, list[str]]:
        """Return the invoice's status, whether it is flagged reversed, what it received, and its payments."""
        invoice = db.session.execute(
            select(Invoice.status, Invoice.flags, Invoice.amount_received).where(
                Invoice.id == self.invoice.id
            )
        ).one()
        payments = db.session.scalars(
            select(Payment.status).where(Payment.merchant_id == self.shop.id).order_by(Payment.id)
        ).all()
        db.session.rollback()
        return invoice.status, "reversed" in invoice.flags, invoice.amount_received, list(payments)


@pytest.fixture
def scene(desk, sandbox):
    return Scene(sandbox)


@pytest.fixture
def asked(desk, sandbox, monkeypatch):
    """The wallets whose operations are read."""
    addresses: list[str] = []
    real = chain_source().clawbacks_since

    def clawbacks_since(address, cursor):
        addresses.append(address)
        return real(address, cursor)

    monkeypatch.setattr(chain_source(), "clawbacks_since", clawbacks_since)
    return addresses


def breaks() -> list[object]:
    """Return what contradicts itself in the books: broken invariants, then differences of the ledger."""
    broken: list[object] = [finding for finding in check_invariants() if not finding.holds]
    return broken + [difference for progress in verify_ledger() for difference in progress.differences]


@BOTH
def test_money_that_is_taken_back_is_seen_and_reversed_once(scene, watcher):
    at = utc_now()
    watcher.run_once(at)
    scene.pay()
    watcher.run_once(at + timedelta(seconds=1))
    paid = scene.state()
    scene.take_back()

    for seconds in (40, 80):
        watcher.run_once(at + timedelta(seconds=seconds))

    assert paid == ("PAID", False, Decimal(90), ["CONFIRMED"])
    assert scene.state() == ("PAID", True, Decimal(0), ["REVERSED"])
    assert breaks() == []


@BOTH
def test_nothing_is_taken_back_before_it_was_paid(scene, watcher, monkeypatch):
    """Payment, clawback and payment again came while nobody looked, and the payments are read last."""
    watcher.run_once(utc_now())
    scene.pay()
    scene.take_back()
    scene.pay()
    source = chain_source()
    empty = source.credits_since(scene.shop.wallet, str(2**62))
    with monkeypatch.context() as later:
        later.setattr(source, "credits_since", lambda address, cursor: empty)
        later.setattr(source, "payments_since", lambda cursor, watched: empty)
        later.setattr(watcher, "_move", lambda *arguments: None)
        watcher.run_once(utc_now() + timedelta(seconds=40))
    by_operations = scene.state()

    watcher.run_once(utc_now() + timedelta(seconds=80))

    assert by_operations == ("PAID", False, Decimal(90), ["REVERSED", "CONFIRMED"])
    assert scene.state() == by_operations
    assert breaks() == []


@BOTH
def test_a_crash_before_the_cursor_moved_takes_nothing_back_twice(scene, watcher, monkeypatch):
    at = utc_now()
    scene.pay()
    watcher.run_once(at)
    scene.take_back()
    before = place_of(scene.scope)
    real = watch_payments.watching.move_cursor

    def crash(*, scope, **named):
        if scope == scene.scope:
            raise OSError("the process died here")
        real(scope=scope, **named)

    with monkeypatch.context() as broken:
        broken.setattr(watch_payments.watching, "move_cursor", crash)
        with pytest.raises(OSError, match="died"):
            watcher.run_once(at + timedelta(seconds=40))
    assert place_of(scene.scope) == before

    watcher.run_once(at + timedelta(seconds=80))

    assert scene.state() == ("PAID", True, Decimal(0), ["REVERSED"])
    assert int(place_of(scene.scope)) > int(before or 0)
    assert breaks() == []


def test_only_wallets_that_are_open_to_it_are_asked_and_not_each_second(scene, sandbox, watcher, asked):
    open_shop(sandbox)
    at = utc_now()

    for seconds in (0, 1, 29, 31):
        watcher.run_once(at + timedelta(seconds=seconds))

    assert asked == [scene.shop.wallet] * 2


def test_a_wallet_closed_to_it_since_is_read_on(scene, watcher):
    at = utc_now()
    scene.pay()
    watcher.run_once(at)
    scene.take_back()
    trust(scene.sandbox, scene.shop.wallet_secret, scene.asset, limit="0")
    check_wallets.run_once(at + timedelta(hours=2), network=NETWORK)

    watcher.run_once(at + timedelta(hours=2))

    assert scene.state() == ("PAID", True, Decimal(0), ["REVERSED"])


def test_a_part_that_is_taken_back_leaves_the_books_whole(scene, watcher):
    at = utc_now()
    scene.pay()
    watcher.run_once(at)
    scene.take_back("30")

    watcher.run_once(at + timedelta(seconds=40))

    assert scene.state()[0] == "PAID"
    assert breaks() == []


def test_only_the_merchant_it_was_taken_from_is_told(scene, sandbox, watcher):
    other = open_shop(sandbox)
    watcher.run_once(utc_now())
    scene.pay()
    watcher.run_once(utc_now())
    taken = chain_source().find_transaction(scene.take_back())
    owners = {scene.shop.wallet: scene.shop.id, other.wallet: other.id}
    elsewhere = {"GBRPYHIL2CI3FNQ4BXLFMNDLFJUNPU2HY3ZMFSHONUCEOASW7QC7OX2H": other.id}

    record_observed(taken, network=NETWORK, owners=elsewhere, now=utc_now())
    untouched = scene.state()
    record_observed(taken, network=NETWORK, owners=owners, now=utc_now())

    assert untouched == ("PAID", False, Decimal(90), ["CONFIRMED"])
    assert scene.state() == ("PAID", True, Decimal(0), ["REVERSED"])
    others = db.session.scalars(select(Payment.id).where(Payment.merchant_id == other.id)).all()
    assert others == []


def test_its_reading_never_looks_like_a_reset(scene, watcher):
    """Operations after the newest payment carry its place beyond the last payment of the network."""
    scene.pay()
    watcher.run_once(utc_now())
    scene.take_back()
    watcher.run_once(utc_now() + timedelta(seconds=40))
    newest = int(chain_source().latest_cursor())

    watcher.run_once(utc_now() + timedelta(minutes=3))

    assert int(place_of(scene.scope)) > newest
    assert db.session.scalar(select(WatchCursor.cursor).where(WatchCursor.scope == "reset")) is None
