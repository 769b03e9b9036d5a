"""An invoice whose payment the issuer took back: nobody reads "Paid", everybody reads what is due again."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest

from portal.db import run_transaction
from portal.domain.api_keys import service as api_keys
from portal.domain.api_keys.rules import SCOPES
from portal.domain.invoices import queries, service
from portal.domain.invoices.models import Invoice
from portal.extensions import db
from portal.kernel.chain import Debit
from portal.kernel.clock import utc_now
from portal.kernel.money import to_stroops
from portal.kernel.refs import from_ref, to_ref
from tests.api.callers import Caller
from tests.support.builders import ISSUER, NETWORK, make_invoice, make_shop, make_transfer
from tests.support.money import record
from tests.web.checkout_scene import words_of
from tests.web.posting import visit

USDC = f"USDC:{ISSUER}"


def invoice_of(person, ref: str) -> Invoice:
    person.shop.enter()
    return db.session.get_one(Invoice, from_ref("inv", ref), populate_existing=True)


def issue(person, *, age: timedelta = timedelta(0), **fields) -> str:
    with person.app.app_context():
        invoice = make_invoice(person.shop, asset=USDC, now=utc_now() - age, **fields)
        return to_ref("inv", invoice.id)


def pay(person, ref: str, amount: str = "90", *, ledger: int = 51_200_000, **changes) -> None:
    with person.app.app_context():
        transfer = make_transfer(invoice_of(person, ref), amount=amount, ledger=ledger, **changes)
        record(person.shop, transfer, now=utc_now())


def claw_back(person, ref: str, amount: str = "90") -> None:
    """Let the issuer take a payment of this amount back."""
    with person.app.app_context():
        invoice = invoice_of(person, ref)
        debit = Debit(0, person.shop.wallet, ISSUER, USDC, to_stroops(Decimal(amount)), "clawback")
        transfer = make_transfer(
            invoice, ledger=51_300_000, credits=(), debits=(debit,), memo=None, memo_type="none"
        )  # fmt: skip
        record(person.shop, transfer, now=utc_now())


def checkout(person, ref: str, path: str = ""):
    with person.app.app_context():
        token = invoice_of(person, ref).token
    return person.app.test_client().get(f"/i/{token}{path}")


@pytest.fixture
def owner(web_app):
    return visit(web_app)


@pytest.fixture
def reversed_ref(owner) -> str:
    ref = issue(owner)
    pay(owner, ref)
    claw_back(owner, ref)
    return ref


class TestPortal:
    def test_calls_it_reversed_and_never_paid(self, owner, reversed_ref):
        page, listed = owner.get(f"/invoices/{reversed_ref}"), owner.get("/invoices")

        assert "<span>Reversed</span>" in page and "<span>Reversed</span>" in listed
        assert "<span>Paid</span>" not in page + listed
        assert "A payment was taken back" in page and "Still due" in page
        assert "can be paid again with the same link and reference" in page

    def test_lists_it_under_a_tab_that_is_there_once_it_is_needed(self, owner, web_app, reversed_ref):
        whole = issue(owner)

        found = owner.get("/invoices?status=reversed")

        assert reversed_ref in found and whole not in found
        assert "status=reversed" in owner.get("/invoices")
        assert "status=reversed" not in visit(web_app).get("/invoices")

    def test_counts_what_is_due_on_it_as_outstanding_and_asks_for_attention(self, owner, reversed_ref):
        home = owner.get("/home")

        assert '90.00 <span class="code">USDC' in home
        assert "Reversed</span>" in home and "due again" in home
        assert re.search(r"Invoices paid</dt>\s*<dd class=\"value num\">0<", home)

    def test_counts_it_beside_pending_invoices(self, owner, reversed_ref):
        issue(owner, amount="10")
        part = issue(owner, amount="50")
        pay(owner, part, "50", ledger=51_200_001)
        claw_back(owner, part, "50")

        with owner.app.app_context():
            owner.shop.enter()
            dues = queries.open_dues(merchant_id=owner.shop.id, network=NETWORK)

        assert [(each.asset, each.invoices, each.due) for each in dues] == [(USDC, 3, 150)]


class TestPayer:
    def test_reads_what_happened_and_how_to_pay_it_again(self, owner, reversed_ref):
        answer = checkout(owner, reversed_ref)

        words, html = words_of(answer), answer.get_data(as_text=True)
        assert "A payment was taken back" in words and "90.00 USDC is due again" in words
        assert (
            "Waiting for your payment" in words and "Open in wallet" in words and "amount=90.0000000" in html
        )
        assert "There is nothing left to do" not in words and "<h1>Paid" not in html
        assert "data-countdown" not in html and "data-status-url" in html

    def test_reads_the_exact_remainder_when_some_of_it_is_left(self, owner):
        ref = issue(owner)
        pay(owner, ref, "60")
        pay(owner, ref, "30", ledger=51_200_001)
        claw_back(owner, ref, "30")

        answer = checkout(owner, ref)

        assert "30.00 USDC of it is due again" in words_of(answer)
        assert "Waiting for the rest of your payment" in words_of(answer)
        assert "amount=30.0000000" in answer.get_data(as_text=True)
        assert checkout(owner, ref, "/qr.svg").status_code == 200

    def test_asks_for_the_status_as_often_as_while_it_was_open(self, owner, reversed_ref):
        status = checkout(owner, reversed_ref, "/status").get_json()

        told = {
            name: status[name] for name in ("status", "settlement", "amount_due", "flags", "poll_after_ms")
        }
        assert told == {
            "status": "PAID", "settlement": "UNPAID", "amount_due": "90.0000000", "flags": ["reversed"],
            "poll_after_ms": 2000,
        }  # fmt: skip

    def test_pays_again_with_the_same_reference_and_it_is_paid(self, owner, reversed_ref):
        pay(owner, reversed_ref, ledger=51_400_000)

        assert "There is nothing left to do" in words_of(checkout(owner, reversed_ref))
        assert "<span>Paid</span>" in owner.get(f"/invoices/{reversed_ref}")
        assert "status=reversed" not in owner.get("/invoices")

    @pytest.mark.parametrize(("policy", "pays"), [("accept", True), ("unmatched", False)])
    def test_is_asked_after_its_time_only_where_late_money_counts(self, web_app, policy, pays):
        with web_app.app_context():
            owner = visit(web_app, make_shop(late_policy=policy))
        ref = issue(owner, age=timedelta(days=9))
        pay(owner, ref)
        claw_back(owner, ref)

        words = words_of(checkout(owner, ref))

        assert "A payment was taken back" in words
        assert ("Open in wallet" in words) is pays
        assert ("Please do not pay it any more" in words) is not pays


class TestProgram:
    def test_reads_what_is_due_and_where_to_pay_it(self, owner, reversed_ref):
        def work() -> str:
            owner.shop.enter()
            return api_keys.create_key(
                merchant_id=owner.shop.id, network=NETWORK, name="Till", scopes=list(SCOPES), created_by=None,
                expires_at=None, now=utc_now(),
            )[1]  # fmt: skip

        with owner.app.app_context():
            key = run_transaction(work)

        document = Caller(owner.app, owner.shop, key).get(f"/invoices/{reversed_ref}").get_json()

        assert (document["status"], document["settlement"], document["flags"]) == (
            "PAID",
            "UNPAID",
            ["reversed"],
        )
        assert (document["amount_received"], document["amount_due"]) == ("0.0000000", "90.0000000")
        assert "amount=90.0000000" in document["pay_to"]["uri"]


class TestTime:
    def test_does_not_expire_it(self, owner):
        ref = issue(owner, age=timedelta(days=9))
        pay(owner, ref)
        claw_back(owner, ref)

        with owner.app.app_context():
            owner.shop.enter()
            invoice_id = from_ref("inv", ref)
            done = run_transaction(
                lambda: service.expire(merchant_id=owner.shop.id, invoice_id=invoice_id, now=utc_now())
            )

        assert not done
        assert "<span>Reversed</span>" in owner.get(f"/invoices/{ref}")
