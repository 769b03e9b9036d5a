"""What wallets can receive is asked of the chain each hour, and known before an invoice relies on it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from stellar_sdk import AuthorizationFlag, Keypair

from portal.adapters.chain import chain_source
from portal.domain.merchants import queries
from portal.domain.merchants.models import Wallet, WalletAsset
from portal.extensions import db
from portal.flows.check_readiness import check_readiness
from portal.flows.issue_invoice import WalletNotReady, create_invoice
from portal.kernel.chain import ChainContradiction, ChainUnavailable
from portal.kernel.clock import utc_now
from portal.workers import check_wallets
from tests.support.builders import NETWORK, make_draft, make_invoice
from tests.support.chain_acts import act, give, open_issuer, trust
from tests.workers.test_watcher import open_shop

TAKES_BACK = AuthorizationFlag.AUTHORIZATION_REVOCABLE | AuthorizationFlag.AUTHORIZATION_CLAWBACK_ENABLED


def look(at=None) -> int:
    return check_wallets.run_once(at or utc_now(), network=NETWORK)


def known(shop, asset) -> WalletAsset | None:
    """Return what is kept of one asset, as it is now: later looks do not change it."""
    wanted = select(WalletAsset).join(Wallet, Wallet.id == WalletAsset.wallet_id)
    found = db.session.scalars(
        wanted.where(Wallet.address == shop.wallet, WalletAsset.asset == asset)
    ).one_or_none()
    db.session.expunge_all()
    db.session.rollback()
    return found


def wallet_of(shop) -> Wallet:
    shop.enter()
    return queries.default_wallet(shop.id, NETWORK)


@pytest.fixture
def asked(desk, sandbox, monkeypatch):
    """The addresses that the chain is asked about."""
    addresses: list[str] = []
    source = chain_source()
    real = source.account

    def account(address, **named):
        addresses.append(address)
        return real(address, **named)

    monkeypatch.setattr(source, "account", account)
    return addresses


@pytest.fixture
def dollars(desk, sandbox):
    """An issuer and the name of what it issues."""
    issuer = open_issuer(sandbox)
    return issuer, f"USDC:{issuer.public_key}"


class TestHourly:
    def test_look_keeps_what_the_wallet_can_receive(self, desk, sandbox, dollars):
        _, usdc = dollars
        shop = open_shop(sandbox, default_asset=usdc)
        missing = known(shop, usdc)

        looked = look()

        assert (missing, looked) == (None, 1)
        assert known(shop, "native").ready
        assert (known(shop, usdc).ready, known(shop, usdc).reason) == (False, "no_trustline")

    def test_look_comes_again_after_an_hour_and_not_before(self, desk, sandbox, dollars):
        _, usdc = dollars
        shop = open_shop(sandbox, default_asset=usdc)
        at = utc_now()
        look(at)
        trust(sandbox, shop.wallet_secret, usdc)

        early, after_an_hour = look(at + timedelta(minutes=59)), look(at + timedelta(minutes=61))

        assert (early, after_an_hour) == (0, 1)
        assert known(shop, usdc).ready

    def test_look_leaves_out_retired_wallets(self, desk, sandbox):
        shop = open_shop(sandbox)
        wallet_of(shop).retired_at = utc_now()
        db.session.commit()

        assert look() == 0

    def test_look_that_failed_comes_again_when_its_lease_is_over(self, desk, sandbox, monkeypatch):
        shop = open_shop(sandbox)
        at = utc_now()

        def away(address, **named):
            raise ChainUnavailable("away")

        with monkeypatch.context() as broken:
            broken.setattr(chain_source(), "account", away)
            with pytest.raises(ChainUnavailable):
                look(at)

        assert look(at + timedelta(minutes=1)) == 0
        assert look(at + check_wallets.LEASE) == 1
        assert known(shop, "native").ready

    def test_look_at_one_wallet_keeps_no_other_waiting(self, desk, sandbox, monkeypatch):
        shops = [open_shop(sandbox) for _ in range(3)]
        real = chain_source().account

        def account(address, **named):
            if address == shops[1].wallet:
                raise ChainContradiction("account_id")
            return real(address, **named)

        monkeypatch.setattr(chain_source(), "account", account)

        assert look() == 3
        assert [known(shop, "native") is not None for shop in shops] == [True, False, True]

    def test_look_asks_for_an_issuer_once(self, desk, sandbox, dollars, asked):
        issuer, usdc = dollars
        shops = [open_shop(sandbox, default_asset=usdc) for _ in range(2)]

        look()

        assert sorted(asked) == sorted([issuer.public_key, *(shop.wallet for shop in shops)])


class TestWhatIsKept:
    def test_holds_the_room_against_all_that_is_due(self, desk, sandbox, dollars):
        issuer, usdc = dollars
        shop = open_shop(sandbox)
        trust(sandbox, shop.wallet_secret, usdc, limit="100")
        give(sandbox, issuer, shop.wallet, "USDC", "10")
        for _ in range(2):
            make_invoice(shop, amount="45", asset=usdc, now=utc_now())
        make_invoice(shop, amount="45", asset=usdc, issue=False)

        look()
        exactly = known(shop, usdc)
        make_invoice(shop, amount="0.0000001", asset=usdc, now=utc_now())
        look(utc_now() + timedelta(hours=2))
        too_much = known(shop, usdc)

        assert (exactly.ready, exactly.headroom, exactly.open_due) == (True, Decimal(90), Decimal(90))
        assert (too_much.ready, too_much.reason) == (False, "limit")
        assert too_much.open_due == Decimal("90.0000001")

    def test_counts_dues_to_this_wallet_alone(self, desk, sandbox, dollars):
        _, usdc = dollars
        shop = open_shop(sandbox)
        trust(sandbox, shop.wallet_secret, usdc, limit="100")
        make_invoice(open_shop(sandbox), amount="500", asset=usdc, now=utc_now())
        make_invoice(shop, amount="60", asset=usdc, now=utc_now())

        look()

        assert known(shop, usdc).open_due == Decimal(60)

    def test_names_what_the_issuer_can_do(self, desk, sandbox):
        flags = AuthorizationFlag.AUTHORIZATION_REQUIRED | TAKES_BACK
        issuer = open_issuer(sandbox, flags=flags, home_domain="dollars.example")
        usdc = f"USDC:{issuer.public_key}"
        shop = open_shop(sandbox, default_asset=usdc)
        trust(sandbox, shop.wallet_secret, usdc)

        look()

        kept = known(shop, usdc)
        assert (kept.ready, kept.reason) == (False, "not_authorised")
        assert kept.issuer_flags == ["auth_required", "auth_revocable", "auth_clawback_enabled"]
        assert (kept.issuer_domain, kept.clawback) == ("dollars.example", True)

    def test_remembers_that_money_could_be_taken_back(self, desk, sandbox):
        issuer = open_issuer(sandbox, flags=TAKES_BACK)
        usdc = f"USDC:{issuer.public_key}"
        shop = open_shop(sandbox)
        trust(sandbox, shop.wallet_secret, usdc)
        look()
        before = known(shop, usdc).clawback
        trust(sandbox, shop.wallet_secret, usdc, limit="0")

        look(utc_now() + timedelta(hours=2))

        kept = known(shop, usdc)
        assert (before, kept.reason, kept.clawback) == (True, "no_trustline", True)
        assert queries.all_open_to_clawback(network=NETWORK) == [shop.wallet]

    def test_keeps_what_an_issuer_said_when_it_does_not_answer(self, desk, sandbox, monkeypatch):
        issuer = open_issuer(sandbox, flags=TAKES_BACK)
        usdc = f"USDC:{issuer.public_key}"
        shop = open_shop(sandbox, default_asset=usdc)
        look()
        real = chain_source().account

        def account(address, **named):
            if address == issuer.public_key:
                raise ChainUnavailable("away")
            return real(address, **named)

        monkeypatch.setattr(chain_source(), "account", account)
        later = utc_now() + timedelta(hours=2)
        look(later)

        kept = known(shop, usdc)
        assert (kept.issuer_flags, kept.checked_at) == (["auth_revocable", "auth_clawback_enabled"], later)

    def test_of_an_account_that_is_gone_says_so(self, desk, sandbox):
        shop = open_shop(sandbox)
        look()
        other = open_shop(sandbox)
        act(
            sandbox,
            Keypair.from_secret(shop.wallet_secret),
            lambda builder: builder.append_account_merge_op(other.wallet),
        )

        look(utc_now() + timedelta(hours=2))

        assert known(shop, "native").reason == "no_account"


class TestBeforeIssue:
    def ready_for(self, shop, asset, amount):
        return check_readiness(wallet=wallet_of(shop), asset=asset, amount=Decimal(amount), now=utc_now())

    def test_this_invoice_and_all_that_is_due_must_fit(self, desk, sandbox, dollars):
        _, usdc = dollars
        shop = open_shop(sandbox)
        trust(sandbox, shop.wallet_secret, usdc, limit="100")
        make_invoice(shop, amount="60", asset=usdc, now=utc_now())

        fits, exceeds = self.ready_for(shop, usdc, "40"), self.ready_for(shop, usdc, "40.0000001")

        assert fits.ready is True
        assert (exceeds.ready, exceeds.reason) == (False, "limit")
        assert "room for 100.00 USDC, but 100.0000001 USDC would then be due" in exceeds.detail

    def test_a_wide_trustline_is_not_asked_about_again(self, desk, sandbox, dollars, asked):
        _, usdc = dollars
        shop = open_shop(sandbox, default_asset=usdc)
        trust(sandbox, shop.wallet_secret, usdc)
        look()
        asked.clear()

        assert self.ready_for(shop, usdc, "5").ready is True
        assert self.ready_for(shop, usdc, "1000000").ready is True
        assert self.ready_for(shop, "native", "1000000").ready is True
        assert asked == []

    def test_what_is_known_decides_while_the_chain_is_away(self, desk, sandbox, dollars, monkeypatch):
        _, usdc = dollars
        shop, unknown = open_shop(sandbox, default_asset=usdc), open_shop(sandbox)
        trust(sandbox, shop.wallet_secret, usdc, limit="100")
        make_invoice(shop, amount="30", asset=usdc, now=utc_now())
        look()

        def away(address, **named):
            raise ChainUnavailable("away")

        monkeypatch.setattr(chain_source(), "account", away)

        assert self.ready_for(shop, usdc, "70").ready is True
        assert self.ready_for(shop, usdc, "71").ready is False
        assert self.ready_for(unknown, usdc, "1").ready is None

    def test_an_invoice_that_does_not_fit_is_not_issued(self, desk, sandbox, dollars):
        _, usdc = dollars
        shop = open_shop(sandbox)
        trust(sandbox, shop.wallet_secret, usdc, limit="100")
        issue = {"merchant_id": shop.id, "network": NETWORK, "issue": True}
        shop.enter()
        first = create_invoice(draft=make_draft(amount="60", asset=usdc), now=utc_now(), **issue)

        with pytest.raises(WalletNotReady) as refusal:
            create_invoice(draft=make_draft(amount="40.5", asset=usdc), now=utc_now(), **issue)
        db.session.rollback()
        trust(sandbox, shop.wallet_secret, usdc, limit="200")
        second = create_invoice(draft=make_draft(amount="40.5", asset=usdc), now=utc_now(), **issue)

        assert "Raise its limit" in refusal.value.detail
        assert [each.invoice.flags for each in (first, second)] == [[], []]
