"""The page of one wallet says in plain words what it can receive, what is wrong and what to do about it."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text
from stellar_sdk import AuthorizationFlag, ChangeTrust, Keypair, TransactionEnvelope

from config import SANDBOX_PASSPHRASE
from portal.adapters.chain import chain_source
from portal.extensions import db
from portal.kernel.chain import ChainUnavailable
from portal.kernel.clock import utc_now
from portal.sandbox.client import fund
from tests.sandbox.test_wallet import Visitor as WalletVisitor
from tests.support.builders import make_invoice, make_shop
from tests.support.chain_acts import act, open_issuer, trust
from tests.web.people import Browser, browser_of

TAKES_BACK = AuthorizationFlag.AUTHORIZATION_REVOCABLE | AuthorizationFlag.AUTHORIZATION_CLAWBACK_ENABLED


@pytest.fixture
def shop_for(sandbox_app, sandbox):
    """Return a function that makes a shop with an asset; its wallet's account exists unless asked otherwise."""

    def make(asset: str = "native", *, exists: bool = True):
        with sandbox_app.app_context():
            shop = make_shop(default_asset=asset)
        if exists:
            fund(sandbox.url, shop.wallet)
        return shop

    return make


def page_of(shop) -> str:
    return f"/settings/wallets/{shop.wallet}"


def looked_at(app, shop, *, role: str = "viewer") -> tuple[Browser, str]:
    """Press "Check now" and return the browser with the page that follows, markup left out."""
    browser, _ = browser_of(app, shop=shop, role=role)
    answer = browser.post(f"{page_of(shop)}/check?back=wallet", form_on=page_of(shop), follow_redirects=True)
    assert answer.status_code == 200, answer.status_code
    return browser, answer.text


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def link_on(page: str) -> str:
    return html.unescape(re.search(r'href="(web\+stellar:tx\?[^"]+)"', page)[1])


class TestWalletPage:
    def test_of_a_missing_account_tells_how_to_fund_it_and_does_it_in_the_sandbox(
        self, sandbox_app, shop_for
    ):
        shop = shop_for("USDC:" + Keypair.random().public_key, exists=False)
        browser, page = looked_at(sandbox_app, shop, role="admin")

        funded = browser.post(f"{page_of(shop)}/fund", form_on=page_of(shop), follow_redirects=True)

        assert "is not on the network yet" in words(page)
        assert "at least 1.5 XLM" in words(page)
        assert "USDC" not in words(page), "one trouble is told once"
        assert "10,000 XLM of play money" in words(funded.text)
        assert "no trustline" in words(funded.text)

    def test_of_a_missing_trustline_hands_out_the_request_to_sign(self, sandbox_app, sandbox, shop_for):
        issuer = open_issuer(sandbox)
        usdc = f"USDC:{issuer.public_key}"
        shop = shop_for(usdc)
        _, page = looked_at(sandbox_app, shop)

        fields = {name: values[0] for name, values in parse_qs(urlsplit(link_on(page)).query).items()}
        envelope = TransactionEnvelope.from_xdr(fields["xdr"], SANDBOX_PASSPHRASE)
        [operation] = envelope.transaction.operations
        assert isinstance(operation, ChangeTrust)
        assert (operation.asset.code, operation.asset.issuer) == ("USDC", issuer.public_key)
        assert operation.limit == "922337203685.4775807"
        assert envelope.transaction.source.account_id == fields["pubkey"] == shop.wallet
        with sandbox_app.app_context():
            assert envelope.transaction.sequence == chain_source().account(shop.wallet).sequence + 1
        assert fields["network_passphrase"] == SANDBOX_PASSPHRASE
        assert envelope.signatures == []
        assert f"<code>{fields['xdr']}</code>" in page
        assert "<svg" in page

    def test_is_ready_once_the_request_was_signed_in_the_sandbox_wallet(self, sandbox_app, sandbox, shop_for):
        issuer = open_issuer(sandbox)
        shop = shop_for(f"USDC:{issuer.public_key}")
        _, page = looked_at(sandbox_app, shop)
        wallet = WalletVisitor(sandbox.url)

        wallet.open(uri=link_on(page))
        wallet.press("/wallet/transactions", secret=shop.wallet_secret)
        _, after = looked_at(sandbox_app, shop)

        assert "Transaction sent" in wallet.page
        assert "Cannot receive" not in words(after)
        assert "Awaited on open invoices" in words(after)
        assert "web+stellar:tx" not in after

    def test_of_a_trustline_without_room_says_how_much_is_awaited(self, sandbox_app, sandbox, shop_for):
        issuer = open_issuer(sandbox)
        usdc = f"USDC:{issuer.public_key}"
        shop = shop_for(usdc)
        trust(sandbox, shop.wallet_secret, usdc, limit="100")
        with sandbox_app.app_context():
            make_invoice(shop, amount="148.5", asset=usdc, now=utc_now())
        _, page = looked_at(sandbox_app, shop)

        act(
            sandbox,
            Keypair.from_secret(shop.wallet_secret),
            lambda builder: builder.append_operation(
                TransactionEnvelope.from_xdr(
                    parse_qs(urlsplit(link_on(page)).query)["xdr"][0], SANDBOX_PASSPHRASE
                ).transaction.operations[0]
            ),
        )
        _, after = looked_at(sandbox_app, shop)

        assert "has room for 100.00 USDC, but 148.50 USDC is awaited" in words(page)
        assert "Cannot receive" not in words(after)

    def test_names_whom_to_ask_and_what_the_issuer_can_do(self, sandbox_app, sandbox, shop_for):
        flags = AuthorizationFlag.AUTHORIZATION_REQUIRED | TAKES_BACK
        issuer = open_issuer(sandbox, flags=flags, home_domain="dollars.example")
        usdc = f"USDC:{issuer.public_key}"
        shop = shop_for(usdc)
        _, before = looked_at(sandbox_app, shop)
        trust(sandbox, shop.wallet_secret, usdc)

        _, after = looked_at(sandbox_app, shop)

        assert "Afterwards ask dollars.example to authorise this address" in words(before)
        assert "The issuer can take USDC back" in words(before)
        assert "has not authorised this wallet to hold USDC" in words(after)
        assert "Ask dollars.example to authorise this address for USDC" in words(after)
        assert "The issuer can freeze the USDC in this wallet" in words(after)
        assert "web+stellar:tx" not in after

    def test_shows_no_markup_that_an_issuer_wrote(self, sandbox_app, sandbox, shop_for):
        issuer = open_issuer(sandbox, home_domain="<b>evil</b>\x00")
        shop = shop_for(f"USDC:{issuer.public_key}")

        _, page = looked_at(sandbox_app, shop)

        assert "evil" not in page

    def test_without_the_network_says_why_there_is_no_request(
        self, sandbox_app, sandbox, shop_for, monkeypatch
    ):
        shop = shop_for(f"USDC:{open_issuer(sandbox).public_key}")
        browser, _ = looked_at(sandbox_app, shop)

        def away(address, **named):
            raise ChainUnavailable("away")

        with sandbox_app.app_context():
            monkeypatch.setattr(chain_source(), "account", away)

        page = browser.get(page_of(shop))
        checked = browser.post(
            f"{page_of(shop)}/check?back=wallet", form_on=page_of(shop), follow_redirects=True
        )

        assert (page.status_code, "No request right now" in page.text) == (200, True)
        assert "We keep what we knew" in words(checked.text)

    def test_before_the_first_look_says_so(self, sandbox_app, shop_for):
        shop = shop_for()
        browser, _ = browser_of(sandbox_app, shop=shop, role="viewer")

        assert "Not looked at yet" in browser.get(page_of(shop)).text

    def test_is_nothing_for_another_merchant(self, sandbox_app, shop_for):
        shop = shop_for()
        stranger, _ = browser_of(sandbox_app, role="owner")

        assert stranger.get(page_of(shop)).status_code == 404
        for action in ("check", "fund"):
            answer = stranger.post(f"{page_of(shop)}/{action}", form_on="/settings/wallets/new")
            assert answer.status_code == 404

    def test_lets_viewers_read_and_no_more(self, sandbox_app, shop_for):
        shop = shop_for(exists=False)
        browser, page = looked_at(sandbox_app, shop)

        answer = browser.post(f"{page_of(shop)}/fund", form_on=page_of(shop))

        assert "Fund it with play money" not in page
        assert answer.status_code == 403

    def test_that_is_funded_twice_says_what_happened(self, sandbox_app, shop_for):
        shop = shop_for()
        browser, _ = browser_of(sandbox_app, shop=shop, role="admin")

        answer = browser.post(f"{page_of(shop)}/fund", form_on=page_of(shop), follow_redirects=True)

        assert "refused to fund" in words(answer.text)

    def test_is_found_from_the_list(self, sandbox_app, shop_for):
        shop = shop_for("USDC:" + Keypair.random().public_key)
        browser, _ = looked_at(sandbox_app, shop)

        listed = browser.get("/settings/wallets").text

        assert re.search(rf'href="{page_of(shop)}">What to do</a>', listed)


def test_rows_of_a_wallet_are_those_of_its_merchant(sandbox_app, sandbox_worker_app, shop_for):
    shop = shop_for()
    looked_at(sandbox_app, shop)

    with sandbox_worker_app.app_context():
        owners = db.session.scalars(
            text(
                "SELECT DISTINCT a.merchant_id FROM wallet_assets a JOIN wallets w ON w.id = a.wallet_id"
                " WHERE w.address = :address"
            ),
            {"address": shop.wallet},
        ).all()
        db.session.rollback()

    assert owners == [shop.id]
