"""The wallet page pays payment links for a visitor with plain forms, no script needed."""

import re
from decimal import Decimal
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import requests
from stellar_sdk import Asset, ChangeTrust, IdMemo, Keypair, MuxedAccount, Payment, TransactionBuilder

from portal.sandbox.client import play_payment
from portal.sandbox.payment_links import BadPaymentLink, read_link
from tests.sandbox.cast import PASSPHRASE

CHECKOUT = "http://127.0.0.1:8000/i/token?a=1"


def link_to(destination, **fields):
    return "web+stellar:pay?" + urlencode({"destination": destination} | fields, quote_via=quote)


class Visitor:
    """A browser without JavaScript: follows redirects, keeps cookies, posts the forms of the page it sees."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()
        self.page = ""
        self.status = 0
        self.path = "/wallet"

    def open(self, **parameters):
        return self._take(self.session.get(f"{self.url}/wallet", params=parameters, timeout=20))

    def press(self, action, **typed):
        """Post the form with this action as the page shows it, with what the visitor typed."""
        form = re.search(rf'<form method="post"\s+action="{action}".*?</form>', self.page, re.S)
        assert form is not None, f"no form {action} on the page"
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0])
        fields = {name: value.replace("&amp;", "&") for name, value in hidden} | typed
        return self._take(self.session.post(self.url + action, data=fields, timeout=20))

    def _take(self, answer):
        self.page, self.status, self.path = answer.text, answer.status_code, answer.url.removeprefix(self.url)
        return self

    @property
    def transaction_hash(self):
        return re.search(r'data-transaction-hash="([0-9a-f]{64})"', self.page)[1]


@pytest.fixture
def visitor(sandbox):
    return Visitor(sandbox.url)


@pytest.fixture
def rich(visitor):
    visitor.open()
    return visitor.press("/wallet/account")


class TestPaying:
    def test_a_link_is_paid_from_nothing_to_the_hash(self, visitor, shop, get):
        uri = link_to(
            shop.public_key, amount="60.5", memo="482913077415", memo_type="MEMO_ID", msg="Invoice 7"
        )

        visitor.open(uri=uri, **{"return": CHECKOUT})
        assert "60.50" in visitor.page and "482913077415" in visitor.page and "Invoice 7" in visitor.page
        visitor.press("/wallet/account")
        visitor.press("/wallet/payments", pay_with="native")

        record = get(f"/transactions/{visitor.transaction_hash}")
        assert (record["successful"], record["memo_type"], record["memo"]) == (True, "id", "482913077415")
        operation = get(f"/transactions/{visitor.transaction_hash}/operations")["_embedded"]["records"][0]
        assert (operation["to"], operation["amount"]) == (shop.public_key, "60.5000000")
        assert f'href="{CHECKOUT}"' in visitor.page

    def test_an_asset_is_paid_by_converting(self, rich, shop, submit, usdc, get):
        submit(shop, lambda builder: builder.append_change_trust_op(usdc))
        uri = link_to(shop.public_key, amount="12.5", asset_code="USDC", asset_issuer=usdc.issuer)

        rich.open(uri=uri)
        assert "50.00 XLM" in rich.page
        rich.press("/wallet/payments", pay_with="native")

        operation = get(f"/transactions/{rich.transaction_hash}/operations")["_embedded"]["records"][0]
        assert operation["type"] == "path_payment_strict_receive"
        assert (operation["source_amount"], operation["amount"]) == ("50.0000000", "12.5000000")

    def test_test_money_pays_its_own_asset(self, rich, shop, submit, usdc, get):
        submit(shop, lambda builder: builder.append_change_trust_op(usdc))
        rich.press("/wallet/test-money", code="USDC")
        assert "1,000.00" in rich.page

        rich.open(uri=link_to(shop.public_key, amount="12.5", asset_code="USDC", asset_issuer=usdc.issuer))
        rich.press("/wallet/payments", pay_with=f"USDC:{usdc.issuer}")

        operation = get(f"/transactions/{rich.transaction_hash}/operations")["_embedded"]["records"][0]
        assert (operation["type"], operation["asset_code"]) == ("payment", "USDC")

    def test_a_muxed_destination_keeps_its_id(self, rich, shop, get):
        target = MuxedAccount(shop.public_key, 77).account_muxed

        rich.open(uri=link_to(target, amount="1"))
        rich.press("/wallet/payments", pay_with="native")

        operation = get(f"/transactions/{rich.transaction_hash}/operations")["_embedded"]["records"][0]
        assert operation["to_muxed_id"] == "77"

    def test_an_open_amount_is_asked_for(self, rich, shop, get):
        rich.open(uri=link_to(shop.public_key))
        rich.press("/wallet/payments", pay_with="native", amount="1e3")
        assert rich.status == 422 and "plain digits" in rich.page and 'value="1e3"' in rich.page

        rich.press("/wallet/payments", pay_with="native", amount="3")

        operation = get(f"/transactions/{rich.transaction_hash}/operations")["_embedded"]["records"][0]
        assert operation["amount"] == "3.0000000"

    def test_an_address_without_an_account_is_created(self, rich, get):
        fresh = Keypair.random().public_key

        rich.open(uri=link_to(fresh, amount="20"))
        rich.press("/wallet/payments", pay_with="native")

        assert get(f"/accounts/{fresh}")["balances"][-1]["balance"] == "20.0000000"

    def test_too_little_money_is_said_in_a_sentence(self, rich, shop):
        rich.open(uri=link_to(shop.public_key, amount="20000"))
        rich.press("/wallet/payments", pay_with="native")

        assert rich.status == 422
        assert "does not hold enough" in rich.page

    def test_the_form_by_hand_becomes_a_link(self, rich, shop):
        rich.press(
            "/wallet/links",
            destination=shop.public_key,
            amount="5",
            asset="native",
            memo="x",
            memo_type="MEMO_TEXT",
        )

        uri = parse_qs(urlsplit(rich.path).query)["uri"][0]
        link = read_link(uri, PASSPHRASE)
        assert (link.account, link.amount, link.memo) == (shop.public_key, Decimal(5), "x")

    def test_forgetting_the_wallet_takes_the_key_out_of_the_browser(self, rich):
        rich.press("/wallet/forgotten")

        assert "sandbox_wallet" not in rich.session.cookies
        assert "Get a funded test account" in rich.page


def request_to_sign(shop, server, *operations, signer=None, memo=None, **fields):
    """Return a link to a transaction of `shop` as another program would write it, unsigned."""
    builder = TransactionBuilder(server.load_account(shop.public_key), PASSPHRASE, base_fee=100)
    for operation in operations:
        builder.append_operation(operation)
    if memo is not None:
        builder.add_memo(memo)
    xdr = builder.set_timeout(300).build().to_xdr()
    asked = {"xdr": xdr, "pubkey": signer or shop.public_key, "network_passphrase": PASSPHRASE}
    return "web+stellar:tx?" + urlencode(asked | fields, quote_via=quote)


class TestSigning:
    def test_a_trustline_is_opened_with_the_signers_key(self, visitor, shop, server, usdc, get):
        uri = request_to_sign(shop, server, ChangeTrust(usdc), msg="Accept USDC")

        visitor.open(uri=uri, **{"return": CHECKOUT})
        shown = visitor.page
        visitor.press("/wallet/transactions", secret=shop.secret)

        assert "Accept USDC" in shown and usdc.issuer in shown and "as much as there can be" in shown
        assert "Transaction sent" in visitor.page and f'href="{CHECKOUT}"' in visitor.page
        assert shop.secret not in visitor.page
        [line] = [each for each in get(f"/accounts/{shop.public_key}")["balances"] if "asset_code" in each]
        assert (line["asset_issuer"], line["limit"]) == (usdc.issuer, "922337203685.4775807")

    def test_the_browsers_own_wallet_signs_without_a_key_typed(self, rich, shop, server, get):
        own = re.search(r'data-copy="(G[A-Z2-7]{55})"\s+aria-label="Copy address"', rich.page)[1]
        account = Keypair.from_public_key(own)
        uri = request_to_sign(
            account, server, Payment(shop.public_key, Asset.native(), "2.5"), memo=IdMemo(77)
        )

        rich.open(uri=uri)
        shown = rich.page
        rich.press("/wallet/transactions")

        assert "Pay 2.50 XLM" in shown and "77" in shown and "Secret key" not in shown
        record = get(f"/transactions/{rich.transaction_hash}")
        assert (record["source_account"], record["memo"]) == (own, "77")

    def test_another_key_is_refused_in_words(self, visitor, shop, server, usdc):
        visitor.open(uri=request_to_sign(shop, server, ChangeTrust(usdc)))

        for typed, words in (
            (Keypair.random().secret, "not that of the account"),
            ("SNOKEY", "no secret key"),
        ):
            visitor.press("/wallet/transactions", secret=typed)
            assert (visitor.status, words in visitor.page) == (422, True), visitor.page
            assert typed not in visitor.page

    @pytest.mark.parametrize(
        "fields", [{"network_passphrase": "elsewhere"}, {"callback": "url:https://a.example"}, {"xdr": "AAAA"},
                   {"pubkey": "GNOBODY"}, {"xdr": "A" * 50_000}],
    )  # fmt: skip
    def test_a_bad_request_is_refused_in_words(self, visitor, shop, server, usdc, fields):
        visitor.open(uri=request_to_sign(shop, server, ChangeTrust(usdc), **fields))

        assert visitor.status == 200
        assert 'role="alert"' in visitor.page
        assert "/wallet/transactions" not in visitor.page


class TestSafety:
    def test_the_key_is_out_of_reach_of_scripts(self, sandbox):
        answer = requests.post(f"{sandbox.url}/wallet/account", allow_redirects=False, timeout=20)

        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/wallet" in cookie

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "//evil.example", "data:text/html,x", "ftp://a/b"]
    )
    def test_only_web_addresses_are_linked_back(self, visitor, url):
        visitor.open(**{"return": url})

        assert url not in visitor.page

    def test_words_of_a_link_are_escaped(self, rich, shop):
        rich.open(uri=link_to(shop.public_key, amount="1", msg="<script>alert(1)</script>"))

        assert "<script>alert" not in rich.page

    def test_pages_carry_a_strict_policy(self, sandbox):
        answer = requests.get(f"{sandbox.url}/wallet", timeout=20)

        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers

    @pytest.mark.parametrize("cookie", ["", "SXXXX", "x" * 5000])
    def test_a_spoilt_cookie_is_no_wallet(self, sandbox, cookie):
        answer = requests.get(f"{sandbox.url}/wallet", cookies={"sandbox_wallet": cookie}, timeout=20)

        assert answer.status_code == 200
        assert "No account yet" in answer.text


class TestLinks:
    GOOD = "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF"

    @pytest.mark.parametrize(
        "uri",
        [
            "https://example.com",
            "web+stellar:tx?xdr=AAAA",
            "web+stellar:pay?destination=GNOBODY",
            f"web+stellar:pay?destination={GOOD}&amount=-1",
            f"web+stellar:pay?destination={GOOD}&asset_code=USDC",
            f"web+stellar:pay?destination={GOOD}&memo=x&memo_type=MEMO_ID",
            f"web+stellar:pay?destination={GOOD}&memo=AAAA&memo_type=MEMO_HASH",
            f"web+stellar:pay?destination={GOOD}&memo={'x' * 29}",
            f"web+stellar:pay?destination={GOOD}&memo=x&memo_type=MEMO_SONG",
            f"web+stellar:pay?destination={GOOD}&network_passphrase=elsewhere",
            f"web+stellar:pay?destination={GOOD}&msg={'x' * 5000}",
        ],
    )
    def test_a_bad_link_is_refused_in_words(self, visitor, uri):
        with pytest.raises(BadPaymentLink):
            read_link(uri, PASSPHRASE)

        visitor.open(uri=uri)

        assert visitor.status == 200
        assert 'role="alert"' in visitor.page

    def test_the_passphrase_of_this_network_is_welcome(self):
        link = read_link(
            f"web+stellar:pay?destination={self.GOOD}&network_passphrase={quote(PASSPHRASE)}", PASSPHRASE
        )

        assert (link.asset, link.amount) == (Asset.native().type, None)


class TestPlayPayment:
    def test_a_program_pays_in_one_call(self, sandbox, payer, shop, get):
        paid = play_payment(
            sandbox.url, PASSPHRASE, payer.secret, shop.public_key, "native", Decimal("2.5"), IdMemo(12)
        )

        record = get(f"/transactions/{paid}")
        assert (record["successful"], record["memo"]) == (True, "12")
