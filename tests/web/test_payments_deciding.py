"""What a person decides about unmatched money: seen before it is done, done once, undone, refused in words."""

import html
import re
from decimal import Decimal
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import select

from portal.db import run_transaction
from portal.domain.audit.models import AuditEntry
from portal.domain.invoices import service as invoice_service
from portal.domain.invoices.models import Invoice
from portal.domain.merchants.models import Merchant
from portal.domain.payments import credit
from portal.domain.payments.booking import Desk
from portal.domain.payments.models import Payment
from portal.domain.refunds import service as refunds
from portal.domain.refunds.rules import Memo
from portal.extensions import db
from portal.kernel.chain import Debit
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref
from tests.support.builders import ISSUER, NETWORK, PAYER, make_member
from tests.web.posting import pay_for, visit, write_client, write_invoice

NAMELESS: dict[str, Any] = {"memo_type": "none", "memo": None}


@pytest.fixture
def owner(web_app):
    return visit(web_app)


def money(owner, amount: str = "90", **transfer: Any) -> str:
    """Let money reach the shop that names no invoice, and return the payment's ref."""
    ref = write_invoice(owner.app, owner.shop, amount="1000", asset=transfer.pop("asset", "native"))
    payment = pay_for(owner.app, owner.shop, ref, amount, **{**NAMELESS, **transfer})
    with owner.app.app_context():
        # The invoice only lent its address; nobody should be offered it.
        owner.shop.enter()
        run_transaction(
            lambda: invoice_service.cancel(
                merchant_id=owner.shop.id, invoice_id=from_ref("inv", ref), now=utc_now()
            )
        )
    return payment


def row_of(owner, model: type, prefix: str, ref: str) -> Any:
    with owner.app.app_context():
        owner.shop.enter()
        return db.session.get_one(model, from_ref(prefix, ref))


def invoice(owner, **fields: Any) -> tuple[str, str]:
    """Issue an invoice and return its ref and number."""
    ref = write_invoice(owner.app, owner.shop, **fields)
    return ref, row_of(owner, Invoice, "inv", ref).number


def words_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def hidden_in(page: str) -> dict[str, str]:
    """Return what the button of a preview would send."""
    return dict(re.findall(r'<input type="hidden" name="(parts-[^"]+)" value="([^"]*)">', page))


def confirm(owner, payment: str, query: str, **typed: str):
    """Look at a match and confirm what is shown."""
    page = owner.get(f"/payments/{payment}/match?{query}")
    return owner.send(f"/payments/{payment}/match", {**hidden_in(page), **typed}, page=f"/payments/{payment}")


class TestMatch:
    def test_is_announced_before_it_is_done(self, owner):
        ref, number = invoice(owner)
        payment = money(owner, "100")

        words = words_of(owner.get(f"/payments/{payment}/match?invoice={number}"))

        assert "Nothing is booked yet" in words and f"{number} 90.00 XLM of 90.00 XLM due 10.00 XLM" in words
        assert "It carries no reference of this invoice. You say that it is meant for it." in words
        assert f"10.00 XLM is more than {number} asks for" in words and "Overpaid" in words
        assert row_of(owner, Invoice, "inv", ref).amount_received == 0
        assert row_of(owner, Payment, "pay", payment).status == "UNMATCHED"

    @pytest.mark.parametrize("written", ["{number}", " {lower} ", "{ref}", "{pay_ref}", "# {spaced}"])
    def test_takes_an_invoice_by_whatever_names_it(self, owner, written):
        ref, number = invoice(owner)
        digits = str(row_of(owner, Invoice, "inv", ref).pay_ref)
        name = written.format(
            number=number, lower=number.lower(), ref=ref, pay_ref=digits, spaced=f"{digits[:6]} {digits[6:]}"
        )

        page = owner.client.get(f"/payments/{money(owner)}/match", query_string={"invoice": name})

        assert page.status_code == 200 and number in page.text

    def test_pays_the_invoice_and_is_told_with_who_and_why(self, owner):
        ref, number = invoice(owner)
        payment = money(owner)

        answer = confirm(owner, payment, f"invoice={ref}", note="Rina  called\n")

        words = words_of(owner.get(f"/payments/{payment}"))
        assert (answer.status_code, answer.location) == (303, f"/payments/{payment}")
        assert f"Matched: 90.00 XLM to {number}." in words and f"Matched to {number} by Dewi" in words
        assert "Rina called" in words and "A person chose the invoice" in words
        assert row_of(owner, Invoice, "inv", ref).status == "PAID"
        with owner.app.app_context():
            owner.shop.enter()
            entry = db.session.scalars(
                select(AuditEntry).where(
                    AuditEntry.object_ref == payment, AuditEntry.action == "payment.confirmed"
                )
            ).one()
            assert entry.actor.startswith("usr_") and entry.after["decision"]["note"] == "Rina called"

    def test_is_split_and_an_empty_amount_takes_the_rest(self, owner):
        (first, number), (second, _) = invoice(owner, amount="30"), invoice(owner, amount="60")
        payment = money(owner, "100")
        query = f"parts-0-invoice={number}&parts-0-amount=30&parts-4-invoice={second}&parts-7-amount="

        shown = owner.get(f"/payments/{payment}/match?{query}")
        confirm(owner, payment, query)

        words = words_of(owner.get(f"/payments/{payment}"))
        assert f'href="/payments/{payment}/split?parts-0-invoice={first}' in shown
        assert row_of(owner, Invoice, "inv", first).status == row_of(owner, Invoice, "inv", second).status
        assert row_of(owner, Invoice, "inv", second).overpaid_by == 10
        assert "Client credit, beyond what was due 10.00 Received 100.00 XLM" in words

    def test_names_every_rule_that_a_person_sets_aside(self, owner):
        ref, _ = invoice(owner, expires_in_seconds=60)
        older = row_of(owner, Invoice, "inv", ref).issued_at.replace(year=2025)
        newer = older.replace(year=2027)

        early = words_of(owner.get(f"/payments/{money(owner, closed_at=older)}/match?invoice={ref}"))
        late = words_of(owner.get(f"/payments/{money(owner, closed_at=newer)}/match?invoice={ref}"))

        assert "It is older than the invoice." in early and "after the invoice had expired" not in early
        assert "It came after the invoice had expired." in late

    def test_of_an_invoice_that_changed_since_shows_the_match_anew(self, owner):
        ref, _ = invoice(owner)
        payment = money(owner)
        shown = hidden_in(owner.get(f"/payments/{payment}/match?invoice={ref}"))
        pay_for(owner.app, owner.shop, ref, "60")

        answer = owner.send(
            f"/payments/{payment}/match", {**shown, "note": "kept"}, page=f"/payments/{payment}"
        )

        words = words_of(answer.text)
        assert answer.status_code == 409 and "An invoice changed since you looked" in words
        assert "30.00 XLM of 30.00 XLM due 60.00 XLM" in words and 'value="kept"' in answer.text
        assert row_of(owner, Payment, "pay", payment).status == "UNMATCHED"

    @pytest.mark.parametrize("announced", ["", "sNaN", "-1", "1e9", "90", "٩٠.0000000"])
    def test_is_not_done_unless_it_was_announced_so(self, owner, announced):
        ref, _ = invoice(owner)
        payment = money(owner)
        typed = {"parts-0-invoice": ref, "parts-0-amount": "90", "parts-0-allocated": announced}

        answer = owner.send(f"/payments/{payment}/match", typed, page=f"/payments/{payment}")

        assert answer.status_code == 409 and hidden_in(answer.text)["parts-0-allocated"] == "90.0000000"
        assert row_of(owner, Payment, "pay", payment).status == "UNMATCHED"

    def test_of_two_people_at_once_one_wins(self, owner):
        (first, _), (second, _) = invoice(owner), invoice(owner)
        payment = money(owner)
        with owner.app.app_context():
            colleague = visit(owner.app, make_member(owner.shop, role="admin"))
        people = [(owner, first), (colleague, second)]
        sent = [
            (person, hidden_in(person.get(f"/payments/{payment}/match?invoice={ref}")))
            for person, ref in people
        ]
        barrier, answers = Barrier(2), []

        def go(person, shown) -> None:
            token = re.search(r'name="csrf_token" value="([^"]+)"', person.get(f"/payments/{payment}"))[1]
            barrier.wait()
            answers.append(
                person.client.post(f"/payments/{payment}/match", data={"csrf_token": token, **shown})
            )

        threads = [Thread(target=go, args=each) for each in sent]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(answer.status_code for answer in answers) == [303, 409]
        loser = next(answer for answer in answers if answer.status_code == 409)
        assert "Somebody decided about this payment in the meantime." in loser.text
        received = [row_of(owner, Invoice, "inv", ref).amount_received for ref in (first, second)]
        assert sorted(received) == [0, 90]


class TestRefusals:
    """Every code, beside its field where there is one, with what was typed still there."""

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("invoice=", "Name an invoice by its number or its reference."),
            ("invoice=INV-1999-01-0001", "You have no such invoice."),
            ("invoice=inv_nonsense", "You have no such invoice."),
            ("invoice=%00", "You have no such invoice."),
            (f"invoice={'9' * 300}", "You have no such invoice."),
            ("parts-0-invoice={number}&parts-0-amount=1e3", "Write the amount in plain digits"),
            ("parts-0-invoice={number}&parts-0-amount=-5", "Write the amount in plain digits"),
            ("parts-0-invoice={number}&parts-0-amount=80", "must add up to 90: 10 is missing."),
            ("parts-0-invoice={number}&parts-0-amount=90.0000001", "that is 0.0000001 too much."),
            ("parts-0-invoice=&parts-0-amount=90", "Name the invoice that gets this amount."),
            (
                "parts-0-invoice={number}&parts-0-amount=50&parts-1-invoice={ref}&parts-1-amount=40",
                "This invoice stands in another row already.",
            ),
            (
                "parts-0-invoice={number}&parts-1-invoice={other}",
                "One amount alone may stay empty: it takes the rest.",
            ),
            (
                "parts-0-invoice={number}&parts-0-amount=90&parts-1-invoice={other}",
                "Nothing is left for this one.",
            ),
            ("parts-x-invoice=1&nothing=here", "Name an invoice by its number or its reference."),
        ],
    )
    def test_of_what_was_typed_stand_beside_the_field(self, owner, query, said):
        (ref, number), (other, _) = invoice(owner), invoice(owner)

        page = owner.get(
            f"/payments/{money(owner)}/match?{query.format(number=number, ref=ref, other=other)}", status=422
        )

        assert said in html.unescape(page) and 'aria-invalid="true"' in page

    def test_keep_every_row_that_was_typed(self, owner):
        _, number = invoice(owner)
        query = f"parts-0-invoice={number}&parts-0-amount=12&parts-1-invoice=nope%22&parts-1-amount=x"

        page = owner.get(f"/payments/{money(owner)}/match?{query}", status=422)

        for typed in (number, "12", "nope&#34;", "x"):
            assert f'value="{typed}"' in page

    def test_rows_are_added_without_losing_any_up_to_the_limit(self, owner):
        payment = money(owner)
        rows = "&".join(f"parts-{at}-invoice=INV-{at}" for at in range(19))

        first = owner.get(f"/payments/{payment}/split")
        full = owner.get(f"/payments/{payment}/split?{rows}")

        assert first.count("<fieldset") == 3 and "More rows" in first
        assert full.count("<fieldset") == 20 and "More rows" not in full and 'value="INV-18"' in full

    def test_wrong_asset(self, owner):
        ref, _ = invoice(owner, asset=f"USDC:{ISSUER}")

        page = owner.get(f"/payments/{money(owner)}/match?invoice={ref}", status=409)

        assert "This invoice is priced in another asset." in page

    def test_cancelled_invoice(self, owner):
        ref, _ = invoice(owner)
        owner.send(f"/invoices/{ref}/cancel")

        page = owner.get(f"/payments/{money(owner)}/match?invoice={ref}", status=409)

        assert "This invoice was cancelled." in page

    def test_draft(self, owner):
        draft = write_invoice(owner.app, owner.shop, issue=False)

        page = owner.get(f"/payments/{money(owner)}/match?invoice={draft}", status=409)

        assert "This invoice is a draft. Issue it first." in page

    def test_money_that_went_out_again(self, owner):
        ref, _ = invoice(owner)
        gone = Debit(1, owner.shop.wallet, PAYER, "native", 900_000_000, "payment")
        payment = money(owner, debits=(gone,))

        page = owner.get(f"/payments/{payment}/match?invoice={ref}", status=409)

        assert "The money is no longer there, so it cannot pay an invoice." in page
        assert "Set it aside once you have looked at it." in owner.get(f"/payments/{payment}")

    def test_a_payment_that_counts_already(self, owner):
        ref, _ = invoice(owner)
        payment = pay_for(owner.app, owner.shop, ref)

        for path in ("match?invoice=x", "split", "unmatch"):
            owner.get(f"/payments/{payment}/{path}", status=409)
        for path in ("match", "unmatch", "restore", "refund-due", "refund-not-due"):
            answer = owner.send(f"/payments/{payment}/{path}", page="/clients/new")
            assert answer.status_code == 409 and "That no longer fits" in answer.text
        answer = owner.send(f"/payments/{payment}/ignore", {"note": "tip"}, page="/clients/new")
        assert answer.status_code == 409

    def test_money_that_is_being_sent_back(self, owner):
        ref, _ = invoice(owner)
        payment = money(owner)
        with owner.app.app_context():
            owner.shop.enter()
            run_transaction(
                lambda: refunds.create(
                    desk=Desk(owner.shop.id, NETWORK, utc_now()),
                    payment_id=from_ref("pay", payment),
                    amount=Decimal(40),
                    reason="sent twice",
                    memo=Memo(),
                )
            )

        page = owner.get(f"/payments/{payment}")
        refused = owner.get(f"/payments/{payment}/match?invoice={ref}", status=409)

        assert "A refund of 40.00 XLM is under way." in words_of(page)
        assert "Refund To be sent sent twice 40.00 XLM" in words_of(page) and "/ignore" not in page
        assert "A refund of this payment is under way. Cancel it first." in refused


class TestUndo:
    def test_of_a_match_says_first_what_it_takes(self, owner):
        ref, number = invoice(owner)
        payment = money(owner, "100")
        confirm(owner, payment, f"invoice={ref}")

        asked = words_of(owner.get(f"/payments/{payment}/unmatch"))
        before = row_of(owner, Invoice, "inv", ref).amount_received
        answer = owner.send(f"/payments/{payment}/unmatch", page=f"/payments/{payment}/unmatch")

        assert f"{number} 90.00 XLM 10.00 XLM Reversed 90.00 XLM due" in asked and before == 90
        words = words_of(owner.get(answer.location))
        assert "Match undone by Dewi" in words and "What was it for?" in words
        assert "Match undone 90.00 XLM taken off, by Dewi" in words_of(owner.get(f"/invoices/{ref}"))
        assert row_of(owner, Invoice, "inv", ref).amount_received == 0

    def test_of_credit_that_was_spent_is_refused(self, owner):
        client = write_client(owner.app, owner.shop, email=None)
        first, second = (self.bill(owner, client) for _ in range(2))
        payment = money(owner, "100")
        confirm(owner, payment, f"invoice={first}")
        with owner.app.app_context():
            owner.shop.enter()
            run_transaction(
                lambda: credit.apply_credit(
                    merchant=db.session.get_one(Merchant, owner.shop.id),
                    desk=Desk(owner.shop.id, NETWORK, utc_now()),
                    invoice_id=from_ref("inv", second),
                )
            )

        page = owner.get(f"/payments/{payment}/unmatch", status=409)
        answer = owner.send(f"/payments/{payment}/unmatch", page="/clients/new")

        assert answer.status_code == 409
        for text in (page, answer.text):
            assert "spent since" in text
        assert row_of(owner, Invoice, "inv", first).status == "PAID"

    def bill(self, owner, client: str) -> str:
        answer = owner.send(
            "/invoices/new/issue",
            {
                "client": client, "asset": "native", "items-0-description": "Class", "items-0-quantity": "1",
                "items-0-unit_price": "90",
            },
            page="/invoices/new",
        )  # fmt: skip
        assert answer.status_code == 303, words_of(answer.text)
        return answer.location.rpartition("/")[2]


class TestAside:
    def test_needs_a_reason_and_is_put_back(self, owner):
        payment = money(owner)
        page = f"/payments/{payment}"

        empty = owner.send(f"{page}/ignore", {"note": "  "}, page=page)
        done = owner.send(f"{page}/ignore", {"note": "a tip"}, page=page)
        listed = owner.get("/payments/unmatched?tab=ignored")
        shown = words_of(owner.get(page))
        restored = owner.send(f"{page}/restore", page=page)

        assert empty.status_code == 422 and "Say why" in empty.text
        assert (done.status_code, restored.status_code) == (303, 303)
        assert (
            payment in listed
            and "a tip" in listed
            and payment not in owner.get("/payments/unmatched?tab=ignored")
        )
        assert "Somebody set it aside: a tip" in shown and "Set aside by Dewi" in shown
        assert payment in owner.get("/payments/unmatched")
        assert "Put back into the inbox by Dewi" in words_of(owner.get(page))

    def test_keeps_the_reason_that_somebody_was_too_late_with(self, owner):
        payment = money(owner)
        owner.send(f"/payments/{payment}/ignore", {"note": "mine"}, page=f"/payments/{payment}")

        again = owner.send(f"/payments/{payment}/ignore", {"note": "theirs"}, page=f"/payments/{payment}")

        assert again.status_code == 409 and "mine" in again.text

    def test_money_for_refund_has_a_tab_of_its_own(self, owner):
        payment = money(owner)
        page = f"/payments/{payment}"

        owner.send(f"{page}/refund-due", page=page)

        assert payment in owner.get("/payments/unmatched?tab=refund")
        assert payment not in owner.get("/payments/unmatched")
        words = words_of(owner.get(page))
        assert "Marked for refund by Dewi" in words and f"/payments/{payment}/refunds/new" in owner.get(page)
        owner.send(f"{page}/refund-not-due", page=page)
        assert payment in owner.get("/payments/unmatched")

    @pytest.mark.parametrize("path", ["ignore", "restore", "refund-due", "refund-not-due"])
    def test_addresses_of_forms_lead_back_when_they_are_opened(self, owner, path):
        payment = money(owner)

        answer = owner.client.get(f"/payments/{payment}/{path}")

        assert (answer.status_code, answer.location) == (303, f"/payments/{payment}")


class TestWhoMay:
    WRITES = ("match", "unmatch", "ignore", "restore", "refund-due", "refund-not-due")

    @pytest.mark.parametrize("role", ["viewer", "accountant", "seller"])
    def test_decides_is_admin_alone(self, owner, role):
        ref, _ = invoice(owner)
        payment = money(owner)
        with owner.app.app_context():
            person = visit(owner.app, make_member(owner.shop, role=role))

        page = person.get(f"/payments/{payment}")

        assert "What was it for?" in page and "/match" not in page and "/ignore" not in page
        for path in (f"match?invoice={ref}", "split", "unmatch"):
            person.get(f"/payments/{payment}/{path}", status=403)
        for path in self.WRITES:
            answer = person.send(f"/payments/{payment}/{path}", {"note": "x"}, page="/settings/preferences")
            assert answer.status_code == 403, path

    def test_knows_nothing_of_other_merchants_money(self, owner):
        payment, stranger = money(owner), visit(owner.app)

        for path in ("", ".json", "/match?invoice=x", "/split", "/unmatch"):
            stranger.get(f"/payments/{payment}{path}", status=404)
        for path in self.WRITES:
            answer = stranger.send(f"/payments/{payment}/{path}", {"note": "x"}, page="/clients/new")
            assert answer.status_code == 404, path
        assert row_of(owner, Payment, "pay", payment).status == "UNMATCHED"

    def test_gives_nothing_to_other_merchants_invoices(self, owner):
        stranger = visit(owner.app)
        ref, number = invoice(stranger, amount="77")

        page = owner.get(f"/payments/{money(owner)}/match?invoice={ref}", status=422)

        assert "You have no such invoice." in page and number not in page.replace(f'value="{number}"', "")

    def test_asks_for_the_token_of_the_form(self, owner):
        payment = money(owner)

        for path in self.WRITES:
            assert owner.client.post(f"/payments/{payment}/{path}", data={"note": "x"}).status_code == 400
        assert row_of(owner, Payment, "pay", payment).status == "UNMATCHED"
