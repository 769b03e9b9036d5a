"""A pasted hash on the payer's page, against a real simulated network."""

from urllib.request import urlopen

import pytest
from stellar_sdk import Asset, Keypair, Server, TransactionBuilder

from config import SANDBOX_PASSPHRASE, Config
from portal.app import create_app
from portal.domain.invoices import queries as invoices
from portal.kernel.clock import utc_now
from tests.support.builders import make_invoice, make_shop
from tests.web.checkout_scene import words_of

OWN = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def network_app(sandbox_environment):
    return create_app(Config.checked("web", sandbox_environment))


@pytest.fixture
def payer_client(network_app):
    return network_app.test_client()


@pytest.fixture
def shop(network_app, sandbox):
    with network_app.app_context():
        shop = make_shop()
        _fund(sandbox, shop.wallet)
        yield shop


def _fund(sandbox, address: str) -> None:
    with urlopen(f"{sandbox.url}/friendbot?addr={address}", timeout=10) as answer:
        assert answer.status == 200


def send(sandbox, *, to: str, amount: str, memo: int | None) -> str:
    payer = Keypair.random()
    _fund(sandbox, payer.public_key)
    server = Server(sandbox.url)
    builder = TransactionBuilder(server.load_account(payer.public_key), SANDBOX_PASSPHRASE, base_fee=100)
    builder.append_payment_op(to, Asset.native(), amount).set_timeout(60)
    if memo is not None:
        builder.add_id_memo(memo)
    envelope = builder.build()
    envelope.sign(payer)
    return server.submit_transaction(envelope)["hash"]


def submit(client, invoice, text: str, **headers: str):
    return client.post(f"/i/{invoice.token}/submissions", data={"transaction_hash": text}, headers=headers)


class TestPayment:
    def test_turns_the_page_to_paid(self, shop, sandbox, payer_client):
        invoice = make_invoice(shop, amount="12.5", now=utc_now())
        found = send(sandbox, to=invoice.destination, amount="12.5", memo=invoice.pay_ref)

        answer = submit(payer_client, invoice, f"  {found.upper()}\n", **OWN)
        page = payer_client.get(answer.headers["Location"])

        assert answer.status_code == 303
        assert answer.headers["Location"].startswith(f"/i/{invoice.token}?submission=sub_")
        assert "Your payment was found" in words_of(page)
        assert "There is nothing left to do" in words_of(payer_client.get(f"/i/{invoice.token}"))

    def test_without_memo_is_explained(self, shop, sandbox, payer_client):
        invoice = make_invoice(shop, amount="12.5", now=utc_now())
        found = send(sandbox, to=invoice.destination, amount="12.5", memo=None)

        page = payer_client.get(submit(payer_client, invoice, found).headers["Location"])

        assert "That payment has no memo" in words_of(page)
        assert "Waiting for your payment" in words_of(page)

    def test_that_the_network_does_not_know_is_looked_for(self, shop, payer_client):
        invoice = make_invoice(shop, now=utc_now())

        page = payer_client.get(submit(payer_client, invoice, "ab" * 32).headers["Location"])

        assert "Looking for your payment" in words_of(page)
        assert invoices.get(merchant_id=shop.id, invoice_id=invoice.id).status == "PENDING"


class TestBadHash:
    @pytest.mark.parametrize(
        "text",
        ["", "   ", "ab", "a" * 63, "a" * 65, "g" * 64, "１" * 64, "a" * 63 + "\x00", "a" * 100_000, '"><b>', "https://x/tx/" + "a" * 64],
    )  # fmt: skip
    def test_gets_a_field_error_and_keeps_what_was_typed(self, shop, payer_client, text):
        invoice = make_invoice(shop, now=utc_now())

        answer = submit(payer_client, invoice, text)

        html = answer.get_data(as_text=True)
        assert answer.status_code == 422
        assert 'aria-invalid="true"' in html and 'id="transaction_hash-error-1"' in html
        kept = text.replace('"', "&#34;").replace("<", "&lt;").replace(">", "&gt;")
        assert f'value="{kept}"' in html
        assert 'http-equiv="refresh"' not in html

    def test_page_leads_back_when_its_address_is_opened_again(self, shop, payer_client):
        invoice = make_invoice(shop, now=utc_now())

        answer = payer_client.get(f"/i/{invoice.token}/submissions")

        assert (answer.status_code, answer.headers["Location"]) == (303, f"/i/{invoice.token}")

    def test_field_that_is_missing_is_an_empty_one(self, shop, payer_client):
        invoice = make_invoice(shop, now=utc_now())

        assert payer_client.post(f"/i/{invoice.token}/submissions").status_code == 422

    def test_for_a_page_nobody_has_is_404(self, shop, payer_client):
        draft = make_invoice(shop, issue=False)

        for token in (draft.token, "C" * 27, "%00" * 9):
            for text in ("ab" * 32, ""):
                answer = payer_client.post(f"/i/{token}/submissions", data={"transaction_hash": text})
                assert answer.status_code == 404


class TestForeignForm:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost.evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
        ],
    )
    def test_is_refused(self, shop, payer_client, headers):
        invoice = make_invoice(shop, now=utc_now())

        assert submit(payer_client, invoice, "ab" * 32, **headers).status_code == 403

    @pytest.mark.parametrize("headers", [{}, OWN, {"Sec-Fetch-Site": "none"}])
    def test_of_our_own_page_or_of_a_program_is_taken(self, shop, payer_client, headers):
        invoice = make_invoice(shop, now=utc_now())

        assert submit(payer_client, invoice, "ab" * 32, **headers).status_code == 303


def test_too_many_hashes_from_one_place_are_refused_for_a_while(shop, payer_client, network_app, monkeypatch):
    monkeypatch.setitem(network_app.config, "CHECKOUT_SUBMISSIONS_LIMIT", "2 per minute")
    invoice, other = make_invoice(shop, now=utc_now()), make_invoice(shop, now=utc_now())

    answers = [submit(payer_client, invoice, "zz").status_code for _ in range(3)]

    assert answers == [422, 422, 429]
    assert submit(payer_client, other, "zz").status_code == 422
