"""The payer's page says the right words and numbers in every state an invoice can have."""

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from portal.kernel.addresses import muxed
from portal.kernel.clock import utc_now
from portal.kernel.refs import to_ref
from portal.web.checkout.words import REFUSALS, RULES
from tests.support.builders import ISSUER, make_invoice, make_shop
from tests.web.checkout_scene import LINES, cancel, claim, expire, pay, words_of

USDC = f"USDC:{ISSUER}"


@pytest.fixture
def shop(as_web):
    return make_shop(name="Kopi <Selatan>", time_zone="Asia/Jakarta")


@pytest.fixture
def read(client):
    """Return a function that loads the page of an invoice and gives its words."""

    def load(invoice, query: str = "") -> str:
        page = client.get(f"/i/{invoice.token}{query}")
        assert page.status_code == 200
        return words_of(page)

    return load


class TestOpenInvoice:
    def test_says_who_asks_for_how_much_and_how_to_pay_it(self, shop, read):
        invoice = make_invoice(shop, amount="1148.6845", now=utc_now())

        words = read(invoice)

        for expected in (
            "Kopi <Selatan>", invoice.number, "1,148.6845 XLM", "1148.6845000 XLM", invoice.destination,
            "The memo is required or your payment will not be recognised.", "Waiting for your payment",
            muxed(invoice.destination, invoice.pay_ref), "Pay with Stellar", "Test network: play money",
            "Open in wallet", "Pay before", "WIB",
        ):  # fmt: skip
            assert expected in words
        assert str(invoice.pay_ref) in words.replace(" ", "")

    def test_lists_lines_discounts_taxes_and_total(self, shop, read):
        invoice = make_invoice(shop, now=utc_now(), asset=USDC, **LINES)

        words = read(invoice)

        assert "Arabica Gayo, 1 kg3 × 42.00 126.00" in words
        for expected in ("−7.05", "5% off", "PPN", "11%", "14.7345", "148.6845 USDC", ISSUER):
            assert expected in words

    def test_has_one_heading_landmarks_and_a_live_region(self, shop, client):
        html = client.get(f"/i/{make_invoice(shop, now=utc_now()).token}").get_data(as_text=True)

        assert html.count("<h1") == 1
        assert html.count("<main") == 1
        assert 'role="status" data-status-line' in html
        assert re.search(r'role="img" aria-label="QR code[^"]+"><svg', html)
        assert 'aria-hidden="true" data-countdown' in html
        assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in html
        assert 'name="robots" content="noindex' in html

    def test_opens_wallets_by_a_payment_link_that_names_amount_and_memo(self, shop, client, web_app):
        invoice = make_invoice(shop, amount="12.5", now=utc_now())

        html = client.get(f"/i/{invoice.token}").get_data(as_text=True).replace("&amp;", "&")

        uri = re.search(r'href="(web\+stellar:pay\?[^"]+)"', html).group(1)
        assert f"amount=12.5000000&memo={invoice.pay_ref}&memo_type=MEMO_ID" in uri
        config = web_app.config["TAGIH"]
        back = quote(f"{config.public_base_url}/i/{invoice.token}", safe="")
        assert f'href="{config.horizon_url}/wallet?uri={quote(uri, safe="")}&return={back}"' in html

    def test_serves_its_code_as_a_file_with_a_validator(self, shop, client):
        invoice = make_invoice(shop, now=utc_now())

        image = client.get(f"/i/{invoice.token}/qr.svg")
        again = client.get(f"/i/{invoice.token}/qr.svg", headers={"If-None-Match": image.headers["ETag"]})

        assert image.mimetype == "image/svg+xml"
        assert b'xmlns="http://www.w3.org/2000/svg"' in image.data
        assert again.status_code == 304

    def test_says_that_a_submitted_hash_is_looked_for(self, shop, read):
        invoice = make_invoice(shop, now=utc_now())
        claim(shop, invoice, state="CHECKING")

        assert "Looking for your payment on the network" in read(invoice)

    def test_asks_for_the_exact_rest_with_the_same_memo(self, shop, read, client):
        invoice = make_invoice(shop, amount="90", now=utc_now())
        pay(shop, invoice, amount="60")

        words = read(invoice)

        for expected in ("We received 60.00 XLM", "30.0000000 XLM", "Still due 30.00 XLM", "Pay the rest"):
            assert expected in words
        assert str(invoice.pay_ref) in words.replace(" ", "")
        assert "amount=30.0000000" in client.get(f"/i/{invoice.token}").get_data(as_text=True)


class TestSettledInvoice:
    def test_becomes_a_receipt_with_amount_time_and_hash(self, shop, read, client):
        invoice = make_invoice(shop, amount="90", now=utc_now())
        paid_by = pay(shop, invoice)

        words = read(invoice)

        assert "received 90.00 XLM." in words
        assert paid_by in words
        assert "There is nothing left to do" in words
        html = client.get(f"/i/{invoice.token}").get_data(as_text=True)
        assert '<h1 tabindex="-1">Paid</h1>' in html
        assert (
            "web+stellar" not in html and "data-status-url" not in html and 'http-equiv="refresh"' not in html
        )

    def test_says_how_much_was_too_much(self, shop, read):
        invoice = make_invoice(shop, amount="90", now=utc_now())
        pay(shop, invoice, amount="92.5")

        assert "You sent 2.50 XLM too much. Contact Kopi <Selatan>" in read(invoice)

    def test_says_that_a_late_payment_counts(self, shop, read):
        invoice = make_invoice(shop, amount="90", now=utc_now())
        pay(shop, invoice, closed_at=invoice.expires_at + timedelta(hours=1))

        assert "This payment came after the time to pay." in read(invoice)


class TestClosedInvoice:
    def test_says_why_and_whom_to_ask_when_it_expired(self, shop, read, client):
        invoice = make_invoice(shop, now=utc_now())
        expire(shop, invoice)

        words = read(invoice)

        for expected in (
            "This invoice has expired",
            "The time to pay ended on",
            "Already sent money?",
            "ask Kopi",
        ):
            assert expected in words
        assert "Open in wallet" not in words
        assert client.get(f"/i/{invoice.token}/qr.svg").status_code == 404

    def test_reads_as_expired_before_the_sweep_has_closed_it(self, shop, read):
        invoice = make_invoice(shop, now=utc_now() - timedelta(days=30))

        assert invoice.status == "PENDING"
        assert "This invoice has expired" in read(invoice)

    def test_says_why_and_whom_to_ask_when_it_was_cancelled(self, shop, read):
        invoice = make_invoice(shop, now=utc_now())
        cancel(shop, invoice)

        words = read(invoice)

        assert "This invoice was cancelled" in words
        assert "Already sent money?" in words


class TestSubmittedHash:
    @pytest.mark.parametrize("code", sorted(REFUSALS))
    def test_is_refused_in_plain_words_with_a_next_step(self, shop, read, code):
        invoice = make_invoice(shop, now=utc_now())
        rules = (
            {"code": "successful", "ok": True, "detail": ""},
            {"code": "reference", "ok": False, "detail": ""},
        )
        submission = claim(shop, invoice, state="REJECTED", code=code, rules=rules)

        words = read(invoice, f"?submission={to_ref('sub', submission)}")

        assert REFUSALS[code].title in words
        assert "What now:" in words
        assert f"Yes: {RULES['successful'][0]}" in words and f"No: {RULES['reference'][1]}" in words
        assert "{" not in words

    @pytest.mark.parametrize("state", ["CHECKING", "NOT_FOUND", "ACCEPTED"])
    def test_has_words_for_every_state(self, shop, read, state):
        invoice = make_invoice(shop, now=utc_now())
        submission = claim(shop, invoice, state=state)

        plain = read(invoice)
        words = read(invoice, f"?submission={to_ref('sub', submission)}")

        assert "What we checked" in words and "What we checked" not in plain

    def test_of_another_invoice_shows_nothing(self, shop, read):
        mine, other = make_invoice(shop, now=utc_now()), make_invoice(shop, now=utc_now())
        submission = claim(shop, other, state="REJECTED", code="late")

        assert "What we checked" not in read(mine, f"?submission={to_ref('sub', submission)}")

    @pytest.mark.parametrize("ref", ["sub_", "inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB", "%00", "x" * 5000])
    def test_with_a_mistyped_name_shows_the_page_without_it(self, shop, read, ref):
        invoice = make_invoice(shop, now=utc_now())

        assert "Pay with Stellar" in read(invoice, f"?submission={ref}")


class TestEveryRefusalCode:
    def test_of_the_rules_has_words(self):
        folder = Path("portal/domain/payments")
        source = "".join(
            (folder / f"{name}.py").read_text() for name in ("rules", "references", "submissions")
        )
        codes = set(re.findall(r'otherwise="(\w+)"', source))
        codes |= set(re.findall(r'Reference\(None, "(\w+)"', source))
        codes |= {"transaction_failed", "hash_used", "wrong_destination", "not_a_payment"}

        assert codes <= set(REFUSALS)
        assert set(re.findall(r'RuleResult\("(\w+)"', source)) | set(
            re.findall(r'ask\("(\w+)"', source)
        ) <= set(RULES)


class TestStranger:
    @pytest.mark.parametrize("token", ["A" * 27, "short", "%00" * 20, "A" * 500, "..%2F..%2Fetc", "é" * 27])
    @pytest.mark.parametrize("page", ["", "/status", "/qr.svg"])
    def test_meets_a_neutral_404(self, as_web, client, token, page):
        assert client.get(f"/i/{token}{page}").status_code == 404

    def test_cannot_tell_a_draft_from_nothing(self, shop, client, statements):
        draft = make_invoice(shop, issue=False)

        def asked(token: str):
            statements.clear()
            page = client.get(f"/i/{token}")
            html = page.get_data(as_text=True)
            for once in (page.headers["X-Request-Id"], *re.findall(r'nonce="([^"]+)"', html)):
                html = html.replace(once, "")
            return page.status_code, html.replace(token, ""), list(statements)

        assert asked(draft.token) == asked("B" * 27)

    def test_sees_only_the_merchant_the_link_belongs_to(self, as_web, read):
        mine, other = make_shop(name="Warung Satu"), make_shop(name="Warung Dua")
        invoice, foreign = make_invoice(mine, now=utc_now()), make_invoice(other, now=utc_now())

        words = read(invoice)

        assert "Warung Satu" in words and "Warung Dua" not in words
        assert foreign.destination not in words
