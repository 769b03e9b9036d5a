"""A transaction that the merchant records by its hash, against a real simulated network."""

from urllib.request import urlopen

import pytest
from stellar_sdk import Asset, Keypair, Server, TransactionBuilder

from config import SANDBOX_PASSPHRASE, Config
from portal.app import create_app
from portal.domain.invoices.models import Invoice
from portal.domain.payments.models import Submission
from portal.extensions import db
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref, to_ref
from tests.support.builders import make_invoice, make_member, make_shop
from tests.web.checkout_scene import words_of
from tests.web.posting import visit


@pytest.fixture(scope="module")
def network_app(sandbox_environment):
    return create_app(Config.checked("web", sandbox_environment))


@pytest.fixture(scope="module")
def payer(sandbox):
    pair = Keypair.random()
    _fund(sandbox, pair.public_key)
    return pair


@pytest.fixture
def owner(network_app, sandbox):
    person = visit(network_app)
    _fund(sandbox, person.shop.wallet)
    return person


def _fund(sandbox, address: str) -> None:
    with urlopen(f"{sandbox.url}/friendbot?addr={address}", timeout=10) as answer:
        assert answer.status == 200


def issue(owner, **fields) -> dict:
    """Issue an invoice and return what tests need of it."""
    with owner.app.app_context():
        invoice = make_invoice(owner.shop, **{"amount": "12.5", "now": utc_now(), **fields})
        return {"ref": to_ref("inv", invoice.id), "memo": invoice.pay_ref, "to": invoice.destination}


def send(sandbox, payer, *, to: str, memo: int | None, amount: str = "12.5") -> str:
    server = Server(sandbox.url)
    builder = TransactionBuilder(server.load_account(payer.public_key), SANDBOX_PASSPHRASE, base_fee=100)
    builder.append_payment_op(to, Asset.native(), amount).set_timeout(60)
    if memo is not None:
        builder.add_id_memo(memo)
    envelope = builder.build()
    envelope.sign(payer)
    return server.submit_transaction(envelope)["hash"]


def submit(person, ref: str, text: str):
    return person.send(f"/invoices/{ref}/submissions", {"transaction_hash": text})


class TestRecord:
    def test_credits_what_the_transaction_pays_and_says_so_once_more_when_asked_again(
        self, owner, sandbox, payer
    ):
        bill = issue(owner)
        found = send(sandbox, payer, to=bill["to"], memo=bill["memo"])

        answer = submit(owner, bill["ref"], f"  {found.upper()}\n")
        page = owner.get(answer.location)
        again = submit(owner, bill["ref"], found)

        assert (answer.status_code, answer.location) == (303, f"/invoices/{bill['ref']}")
        assert "is found and credited to this invoice" in page and "Paid 12.50 XLM" in page.replace(
            '<bdi class="num" dir="ltr">', ""
        )
        assert again.status_code == 303
        assert "was credited to this invoice before" in owner.get(again.location)
        with owner.app.app_context():
            owner.shop.enter()
            kept = db.session.scalars(
                db.select(Submission).where(Submission.invoice_id == from_ref("inv", bill["ref"]))
            ).one()
            assert (kept.state, kept.origin) == ("ACCEPTED", "portal")

    def test_explains_a_refusal_rule_by_rule_and_leads_to_the_money(self, owner, sandbox, payer):
        bill = issue(owner)
        found = send(sandbox, payer, to=bill["to"], memo=None)

        answer = submit(owner, bill["ref"], found)

        words = words_of(answer)
        assert answer.status_code == 422
        assert "This transaction does not pay this invoice" in words
        assert "it carries no reference" in words and "It carries no clear reference" in words
        assert "Match it by hand" in words
        html = answer.get_data(as_text=True)
        assert f'value="{found}"' in html
        payment = html.partition('href="/payments/pay_')[2].partition('"')[0]
        assert "Unmatched" in owner.get(f"/payments/pay_{payment}")

    def test_of_what_pays_another_invoice_is_a_conflict_that_shows_which_payment(self, owner, sandbox, payer):
        paid, other = issue(owner), issue(owner)
        found = send(sandbox, payer, to=paid["to"], memo=paid["memo"])
        submit(owner, paid["ref"], found)

        answer = submit(owner, other["ref"], found)

        assert answer.status_code == 409
        assert "it pays something else" in words_of(answer) and "See the payment" in words_of(answer)

    def test_of_money_that_went_elsewhere_promises_nothing(self, owner, sandbox, payer):
        bill, elsewhere = issue(owner), Keypair.random().public_key
        _fund(sandbox, elsewhere)
        found = send(sandbox, payer, to=elsewhere, memo=bill["memo"])

        answer = submit(owner, bill["ref"], found)

        assert answer.status_code == 422
        assert "It reached no wallet of yours" in words_of(answer) and "/payments/pay_" not in answer.text

    def test_keeps_checking_what_the_network_does_not_show_yet(self, owner):
        bill = issue(owner)

        answer = submit(owner, bill["ref"], "ab" * 32)

        page = owner.get(answer.location)
        assert answer.status_code == 303
        assert "We keep checking" in page and "A transaction was submitted, we are checking it" in page

    @pytest.mark.parametrize("text", ["", "ab", "g" * 64, "１" * 64, '"><b>', "a" * 63 + "\x00"])
    def test_refuses_what_is_no_hash_beside_the_field_and_keeps_it(self, owner, text):
        bill = issue(owner)

        answer = submit(owner, bill["ref"], text)

        html = answer.get_data(as_text=True)
        assert answer.status_code == 422
        assert 'id="transaction_hash-error-1"' in html
        kept = text.replace('"', "&#34;").replace("<", "&lt;").replace(">", "&gt;")
        assert f'value="{kept}"' in html

    def test_leads_back_when_its_address_is_opened_again(self, owner):
        ref = issue(owner)["ref"]

        answer = owner.client.get(f"/invoices/{ref}/submissions")

        assert (answer.status_code, answer.location) == (303, f"/invoices/{ref}")


class TestWhoMayRecord:
    def test_is_for_those_who_write_invoices(self, owner, sandbox, payer):
        bill = issue(owner)
        found = send(sandbox, payer, to=bill["to"], memo=bill["memo"])
        with owner.app.app_context():
            seller, viewer = (make_member(owner.shop, role=role) for role in ("seller", "viewer"))

        refused = submit(visit(owner.app, viewer), bill["ref"], found)
        recorded = submit(visit(owner.app, seller), bill["ref"], found)

        assert (refused.status_code, recorded.status_code) == (403, 303)
        assert "Record a payment" not in visit(owner.app, viewer).get(f"/invoices/{bill['ref']}")

    def test_knows_nothing_of_other_merchants_invoices_nor_of_drafts(self, owner):
        with owner.app.app_context():
            elsewhere = to_ref("inv", make_invoice(make_shop(), now=utc_now()).id)
            draft = to_ref("inv", make_invoice(owner.shop, issue=False, now=utc_now()).id)

        for ref in (elsewhere, draft):
            assert submit(owner, ref, "ab" * 32).status_code == 404
        assert submit(owner, elsewhere, "no hash").status_code == 404

    def test_asks_for_the_token_of_the_form(self, owner):
        bill = issue(owner)

        answer = owner.client.post(
            f"/invoices/{bill['ref']}/submissions", data={"transaction_hash": "ab" * 32}
        )

        assert answer.status_code == 400
        with owner.app.app_context():
            owner.shop.enter()
            assert db.session.get_one(Invoice, from_ref("inv", bill["ref"])).amount_received == 0
