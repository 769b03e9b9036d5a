"""Money that people bring to an invoice by hand: cash, client credit, and both taken back."""

import re
from datetime import timedelta
from decimal import Decimal
from threading import Barrier, Thread

import pytest

from portal.db import run_transaction
from portal.domain.invoices import service
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants import queries as merchants
from portal.domain.merchants.models import Merchant
from portal.domain.payments.decisions import Part, match
from portal.domain.payments.models import ExternalPayment
from portal.extensions import db
from portal.kernel.actor import Actor, acting_as
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref
from tests.support.builders import make_member
from tests.support.money import decide, make_desk
from tests.web.checkout_scene import words_of
from tests.web.posting import pay, pay_for, visit, write_client, write_invoice

TODAY = utc_now().date()
CASH = {"amount": "60", "method": "cash", "received_on": TODAY.isoformat(), "reason": "paid at the counter"}


@pytest.fixture
def owner(web_app):
    return visit(web_app)


def read(person, path: str) -> str:
    return words_of(person.client.get(path))


def state_of(person, ref: str) -> tuple[str, str]:
    """Return status and money received of an invoice."""
    with person.app.app_context():
        person.shop.enter()
        invoice = db.session.get_one(Invoice, from_ref("inv", ref))
        return invoice.status, f"{invoice.amount_received.normalize():f}"


def record(person, ref: str, **changes: str):
    return person.send(f"/invoices/{ref}/external-payments", {**CASH, **changes})


def undo_path(person, ref: str) -> str:
    return re.search(r'href="(/invoices/[^"]+/undo)"', person.get(f"/invoices/{ref}"))[1]


def write_for_client(person, client_ref: str, **fields) -> str:
    """Write an invoice of a client through the form and return its ref."""
    typed = {
        "items-0-description": "Class", "items-0-quantity": "1", "items-0-unit_price": fields.pop("amount", "90"),
        "asset": "native", "client": client_ref, **fields,
    }  # fmt: skip
    return person.send("/invoices/new", typed).location.rpartition("/")[2]


class TestRecordByHand:
    def test_counts_for_the_invoice_and_is_listed_with_its_reason(self, owner):
        ref = write_invoice(owner.app, owner.shop)

        answer = record(owner, ref)

        words = read(owner, answer.location)
        assert answer.status_code == 303
        assert "Partly paid" in words and "Still due 30.00 XLM" in words
        assert "By hand and from credit" in words and "paid at the counter" in words and "Cash" in words
        assert "60.00 XLM recorded by hand" in words
        assert state_of(owner, ref) == ("PENDING", "60")

    def test_may_pay_the_whole_which_the_payers_page_says(self, owner):
        ref = write_invoice(owner.app, owner.shop)

        record(owner, ref, amount="90", method="bank")

        with owner.app.app_context():
            owner.shop.enter()
            token = db.session.get_one(Invoice, from_ref("inv", ref)).token
        assert state_of(owner, ref) == ("PAID", "90")
        assert "There is nothing left to do" in words_of(owner.app.test_client().get(f"/i/{token}"))

    def test_offers_what_is_left_today(self, owner):
        ref, _ = pay(owner.app, owner.shop, paid="60")

        page = owner.get(f"/invoices/{ref}")

        assert re.search(r'id="external-amount"[^>]* value="30"', page)
        assert f'value="{TODAY.isoformat()}"' in page

    @pytest.mark.parametrize(
        ("field", "typed", "id_of", "says"),
        [
            ("amount", "90.0000001", "external-amount", "Only 90 is due."),
            ("amount", "1e3", "external-amount", "plain digits"),
            ("amount", "0", "external-amount", "above zero"),
            ("amount", "", "external-amount", "plain digits"),
            ("reason", " ", "external-reason", "Say why"),
            ("reason", "x" * 501, "external-reason", "within 500 characters"),
            ("reason", "a\x00b", "external-reason", "plain characters"),
            ("received_on", "yesterday", "external-day", "year-month-day"),
            ("received_on", (TODAY + timedelta(days=3)).isoformat(), "external-day", "has not come yet"),
            ("method", "gold", "external-method", "valid choice"),
        ],
    )
    def test_refuses_beside_the_field_and_loses_nothing(self, owner, field, typed, id_of, says):
        ref = write_invoice(owner.app, owner.shop)

        answer = record(owner, ref, **{field: typed})

        html = answer.get_data(as_text=True)
        assert answer.status_code == 422
        assert f'id="{id_of}-error-1"' in html and says in html
        kept = {**CASH, field: typed}
        assert f'value="{kept["amount"]}"' in html and f'value="{kept["received_on"]}"' in html
        assert state_of(owner, ref) == ("PENDING", "0")

    def test_is_refused_once_nothing_is_due(self, owner):
        ref, _ = pay(owner.app, owner.shop)

        answer = record(owner, ref)

        assert answer.status_code == 409
        assert "external-amount" not in owner.get(f"/invoices/{ref}")

    def test_is_refused_in_words_for_a_draft(self, owner):
        ref = write_invoice(owner.app, owner.shop, issue=False)

        for answer in (record(owner, ref), owner.send(f"/invoices/{ref}/credit", {"amount": "1"})):
            assert answer.status_code == 409 and "Issue it first" in answer.text

    def test_counts_once_when_the_form_is_sent_twice(self, owner):
        ref = write_invoice(owner.app, owner.shop, amount="500")
        for _ in range(2):
            assert record(owner, ref, once="the-same-form").status_code == 303
        record(owner, ref, once="another-form")

        assert state_of(owner, ref) == ("PENDING", "120")

    def test_of_two_at_once_never_takes_more_than_is_due(self, owner):
        ref = write_invoice(owner.app, owner.shop)
        gate, answers = Barrier(2), []
        people = [visit(owner.app, owner.shop) for _ in range(2)]

        def send(person) -> None:
            gate.wait()
            answers.append(record(person, ref).status_code)

        threads = [Thread(target=send, args=(person,)) for person in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(answers) == [303, 422]
        assert state_of(owner, ref) == ("PENDING", "60")

    def test_pays_an_expired_invoice_too(self, owner):
        ref = write_invoice(owner.app, owner.shop, now=utc_now() - timedelta(days=9))
        with owner.app.app_context():
            owner.shop.enter()
            run_transaction(
                lambda: service.expire(
                    merchant_id=owner.shop.id, invoice_id=from_ref("inv", ref), now=utc_now()
                )
            )

        record(owner, ref, amount="90")

        assert state_of(owner, ref) == ("PAID", "90")


class TestUndo:
    def test_asks_why_and_takes_the_money_off_again(self, owner):
        ref = write_invoice(owner.app, owner.shop)
        record(owner, ref)
        path = undo_path(owner, ref)

        asked = read(owner, path)
        nameless = owner.send(path, {"reason": ""})
        done = owner.send(path, {"reason": "wrong invoice"})
        again = owner.send(path, {"reason": "wrong invoice"})

        words = read(owner, f"/invoices/{ref}")
        assert "Undo this payment?" in asked and "paid at the counter" in asked
        assert nameless.status_code == 422 and 'id="reason-error-1"' in nameless.text
        assert (done.status_code, again.status_code) == (303, 409)
        assert state_of(owner, ref) == ("PENDING", "0")
        assert "undone" in words and "wrong invoice" in words and "Still due 90.00 XLM" in words
        assert "was undone before" in read(owner, path)

    def test_of_what_paid_the_invoice_makes_it_owed_again(self, owner):
        ref = write_invoice(owner.app, owner.shop)
        record(owner, ref, amount="90")

        owner.send(undo_path(owner, ref), {"reason": "the cheque bounced"})

        words = read(owner, f"/invoices/{ref}")
        assert "Reversed" in words and "Still due 90.00 XLM" in words and "the cheque bounced" in words

    def test_knows_only_payments_of_this_invoice(self, owner):
        ref, other = (write_invoice(owner.app, owner.shop) for _ in range(2))
        record(owner, ref)
        path = undo_path(owner, ref)

        owner.get(path.replace(ref, other), status=404)
        assert owner.send(path.replace(ref, other), {"reason": "x"}).status_code == 404
        assert state_of(owner, ref) == ("PENDING", "60")


class TestClientCredit:
    @pytest.fixture
    def bills(self, owner):
        """Return a client with 10 XLM of credit, the invoice it came from and another invoice to pay."""
        client = write_client(owner.app, owner.shop)
        paid, other = (self.issue(owner, client) for _ in range(2))
        pay_for(owner.app, owner.shop, paid, "100")
        return client, paid, other

    @staticmethod
    def issue(owner, client: str, amount: str = "90") -> str:
        ref = write_for_client(owner, client, amount=amount)
        with owner.app.app_context():
            owner.shop.enter()

            def work() -> None:
                merchant = db.session.get_one(Merchant, owner.shop.id)
                wallet = merchants.default_wallet(owner.shop.id, "test")
                service.issue(
                    merchant=merchant,
                    invoice_id=from_ref("inv", ref),
                    terms=IssueTerms(wallet),
                    now=utc_now(),
                )

            run_transaction(work)
        return ref

    def test_is_shown_with_the_client_and_offered_on_his_open_invoices(self, owner, bills):
        client, paid, other = bills

        assert "Credit 10.00 XLM" in read(owner, f"/clients/{client}")
        assert "Use 10 XLM credit" in read(owner, f"/invoices/{other}")
        assert "Use 10 XLM credit" not in read(owner, f"/invoices/{paid}")
        assert "use it for another invoice of theirs" in read(owner, f"/invoices/{paid}")

    def test_pays_another_invoice_as_far_as_it_is_used(self, owner, bills):
        client, _, other = bills

        answer = owner.send(f"/invoices/{other}/credit", {"amount": "4"})

        words = read(owner, answer.location)
        assert answer.status_code == 303 and state_of(owner, other) == ("PENDING", "4")
        assert "4.00 XLM of credit used" in words and "from what was paid too much before" in words
        assert "Credit 6.00 XLM" in read(owner, f"/clients/{client}")

    @pytest.mark.parametrize(
        ("typed", "says"),
        [("10.0000001", "has less credit than that"), ("91", "Only 90 is due"), ("x", "digits")],
    )
    def test_refuses_what_is_not_there_beside_the_field(self, owner, bills, typed, says):
        answer = owner.send(f"/invoices/{bills[2]}/credit", {"amount": typed})

        assert answer.status_code == 422
        assert 'id="credit-amount-error-1"' in answer.text and says in answer.text
        assert f'value="{typed}"' in answer.text
        assert state_of(owner, bills[2]) == ("PENDING", "0")

    def test_is_used_once_when_the_form_is_sent_twice(self, owner, bills):
        for _ in range(2):
            owner.send(f"/invoices/{bills[2]}/credit", {"amount": "4", "once": "the-same-form"})

        assert state_of(owner, bills[2]) == ("PENDING", "4")

    def test_is_made_of_what_an_invoice_holds_so_that_it_can_be_cancelled(self, owner, bills):
        client, _, other = bills
        pay_for(owner.app, owner.shop, other, "60")

        asked = read(owner, f"/invoices/{other}/cancel")
        confirm = read(owner, f"/invoices/{other}/move-to-credit")
        moved = owner.send(f"/invoices/{other}/move-to-credit")

        assert "It has received 60.00 XLM" in asked and "Move the money to client credit" in asked
        assert "60.00 XLM of" in confirm and "becomes credit of Rina Hartono" in confirm
        assert moved.location == f"/invoices/{other}/cancel"
        assert "will no longer be asked for" in read(owner, moved.location)
        assert owner.send(f"/invoices/{other}/cancel").status_code == 303
        assert state_of(owner, other) == ("CANCELLED", "0")
        assert "Credit 70.00 XLM" in read(owner, f"/clients/{client}")
        assert "60.00 XLM moved to credit" in read(owner, f"/invoices/{other}")

    def test_returns_with_what_was_paid_and_both_are_said(self, owner, bills):
        other = bills[2]
        pay_for(owner.app, owner.shop, other, "60")
        owner.send(f"/invoices/{other}/credit", {"amount": "4"})

        moved = owner.send(f"/invoices/{other}/move-to-credit")

        assert "64.00 XLM is credit now" in read(owner, moved.location)

    def test_warns_of_an_excess_only_while_it_is_there(self, owner, bills):
        _, paid, other = bills

        owner.send(f"/invoices/{other}/credit", {"amount": "10"})

        words = read(owner, f"/invoices/{paid}")
        assert "has been sent back or used since" in words
        assert "use it for another invoice of theirs" not in words

    def test_cannot_be_made_of_cash(self, owner, bills):
        other = bills[2]
        record(owner, other)

        assert "Undo what was recorded by hand" in read(owner, f"/invoices/{other}/cancel")
        owner.send(f"/invoices/{other}/move-to-credit")

        assert state_of(owner, other) == ("PENDING", "60")

    def test_of_an_invoice_without_client_is_said_to_be_for_refunds_only(self, owner):
        ref, payment = pay(owner.app, owner.shop, paid="100")

        page = owner.get(f"/invoices/{ref}")

        assert "This invoice names no client" in page and f"/payments/{payment}/refunds/new?amount=" in page

    def test_offers_no_move_where_there_is_nothing_to_move(self, owner):
        ref = write_invoice(owner.app, owner.shop)

        assert owner.client.get(f"/invoices/{ref}/move-to-credit").status_code == 303
        owner.send(f"/invoices/{ref}/move-to-credit")
        assert "holds no money that could be moved" in read(owner, f"/invoices/{ref}")


class TestSplit:
    def test_payment_shows_each_invoice_and_its_payer_their_own_part_alone(self, owner):
        refs = [write_invoice(owner.app, owner.shop, amount=amount) for amount in ("90", "70")]
        payment = pay_for(owner.app, owner.shop, refs[0], "160", memo=None, memo_type="none")
        with owner.app.app_context():
            owner.shop.enter()
            parts = [
                Part(from_ref("inv", ref), Decimal(amount))
                for ref, amount in zip(refs, ("90", "70"), strict=True)
            ]
            decide(
                owner.shop,
                match,
                payment_id=from_ref("pay", payment),
                parts=parts,
                desk=make_desk(owner.shop, utc_now()),
            )
            tokens = [db.session.get_one(Invoice, from_ref("inv", ref)).token for ref in refs]

        for ref, token, part in zip(refs, tokens, ("90.00 XLM", "70.00 XLM"), strict=True):
            words, receipt = read(owner, f"/invoices/{ref}"), words_of(owner.client.get(f"/i/{token}"))
            assert f"{part} of 160.00 XLM sent" in words and "matched by hand" in words
            assert "Payment matched by hand" in words
            assert f"Amount, time {part}" in receipt and "160.00" not in receipt


class TestTimeline:
    def test_says_what_happened_and_by_whom(self, owner):
        with acting_as(Actor("worker.watch")):
            ref, _ = pay(owner.app, owner.shop, paid="30")
        record(owner, ref)

        words = read(owner, f"/invoices/{ref}")

        lines = ["Paid in full60.00 XLM credited, by Dewi", "60.00 XLM recorded by handCash: paid at the counter",
                 "Partly paid30.00 XLM credited, automatically", "Payment found on the network30.00 XLM from"]  # fmt: skip
        places = [words.find(line) for line in lines]
        assert -1 not in places and places == sorted(places), (places, words)


class TestPage:
    def test_reads_in_few_statements_however_much_happened(self, owner, statements):
        ref, _ = pay(owner.app, owner.shop, paid="30")
        for amount in ("10", "20"):
            record(owner, ref, amount=amount)
        owner.send(undo_path(owner, ref), {"reason": "wrong invoice"})
        owner.get(f"/invoices/{ref}")
        statements.clear()

        owner.get(f"/invoices/{ref}")

        assert len(statements) <= 17, statements


class TestWhoMay:
    PATHS = ("external-payments", "credit", "move-to-credit")

    def test_decide_about_money_is_owners_and_admins(self, owner):
        ref, _ = pay(owner.app, owner.shop, paid="30")
        with owner.app.app_context():
            seller, admin = (
                visit(owner.app, make_member(owner.shop, role=role)) for role in ("seller", "admin")
            )

        assert [seller.send(f"/invoices/{ref}/{path}", CASH).status_code for path in self.PATHS] == [403] * 3
        assert "external-amount" not in seller.get(f"/invoices/{ref}")
        assert "An owner or admin can do that" in read(seller, f"/invoices/{ref}/cancel")
        assert record(admin, ref).status_code == 303
        path = undo_path(admin, ref)
        seller.get(path, status=403)
        assert seller.send(path, {"reason": "x"}).status_code == 403

    def test_never_is_a_stranger(self, owner):
        ref, _ = pay(owner.app, owner.shop, paid="30")
        record(owner, ref)
        path, stranger = undo_path(owner, ref), visit(owner.app)

        assert [stranger.send(f"/invoices/{ref}/{each}", CASH).status_code for each in self.PATHS] == [
            404
        ] * 3
        for each in (f"/invoices/{ref}/move-to-credit", path):
            stranger.get(each, status=404)
        assert stranger.send(path, {"reason": "x"}).status_code == 404
        assert state_of(owner, ref) == ("PAID", "90")

    def test_needs_the_token_of_the_form(self, owner):
        ref = write_invoice(owner.app, owner.shop)

        answers = [owner.client.post(f"/invoices/{ref}/{path}", data=CASH) for path in self.PATHS]

        assert [answer.status_code for answer in answers] == [400] * 3
        with owner.app.app_context():
            owner.shop.enter()
            assert db.session.scalars(db.select(ExternalPayment)).all() == []

    def test_leads_back_whoever_reloads_a_refused_form(self, owner):
        ref = write_invoice(owner.app, owner.shop)

        for path in ("external-payments", "credit"):
            assert owner.client.get(f"/invoices/{ref}/{path}").location == f"/invoices/{ref}"
