"""The pages of payments: all of them, the unmatched ones, and why one counts."""

import html
import re

import pytest

from tests.support.builders import PAYER
from tests.web.posting import pay, pay_for, visit


def words_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


class TestList:
    def test_says_what_will_appear_here_while_it_is_empty(self, web_app):
        assert "No payments yet" in visit(web_app).get("/payments")

    def test_shows_each_payment_with_its_invoice(self, web_app):
        owner = visit(web_app)
        invoice_ref, payment_ref = pay(web_app, owner.shop)

        page = owner.get("/payments")

        assert payment_ref in page and invoice_ref in page and "Credited" in page

    def test_is_narrowed_by_status(self, web_app):
        owner = visit(web_app)
        _, credited = pay(web_app, owner.shop)
        _, unmatched = pay(web_app, owner.shop, memo_type="none", memo=None)

        assert credited not in owner.get("/payments?status=unmatched")
        assert unmatched in owner.get("/payments?status=unmatched")
        assert "No such payment" in owner.get("/payments?status=ignored")

    @pytest.mark.parametrize("query", ["status=x%27", "after=garbage", "before=%00", "dust=maybe"])
    def test_takes_no_harm_from_hand_made_links(self, web_app, query):
        owner = visit(web_app)

        owner.get(f"/payments?{query}")
        owner.get(f"/payments/unmatched?{query}")

    def test_reads_a_page_in_few_statements(self, web_app, statements):
        owner = visit(web_app)
        for _ in range(3):
            pay(web_app, owner.shop)
        owner.get("/payments")
        statements.clear()

        owner.get("/payments")

        assert len(statements) <= 8, statements


class TestPage:
    def test_says_rule_by_rule_why_a_payment_counts(self, web_app):
        owner = visit(web_app)
        invoice_ref, payment_ref = pay(web_app, owner.shop)

        page = owner.get(f"/payments/{payment_ref}")

        assert "Why is this paid?" in page and f"/invoices/{invoice_ref}" in page
        assert "The network accepted the transaction" in page and PAYER in page
        assert "90 received, 90 allocated, 0 in excess" in page

    def test_says_why_one_does_not_count(self, web_app):
        owner = visit(web_app)
        _, payment_ref = pay(web_app, owner.shop, memo_type="none", memo=None)

        page = owner.get(f"/payments/{payment_ref}")

        assert "Why it does not count" in page and "It carries no clear reference" in page

    def test_names_the_field_that_answered_each_rule(self, web_app):
        owner = visit(web_app)
        operation = {
            "type": "payment",
            "from": PAYER,
            "to": "G",
            "amount": "90.0000000",
            "asset_type": "native",
        }
        raw = {
            "hash": "x",
            "successful": True,
            "created_at": "2026-11-20T12:05:00Z",
            "operations": [operation],
        }
        _, payment_ref = pay(web_app, owner.shop, raw=raw)

        words = words_of(owner.get(f"/payments/{payment_ref}"))

        for said in (
            "operations[0].amount = 90.0000000",
            "operations[0].from",
            "operations[0].to = G",
            "operations[0].asset_type",
            "created_at = 2026-11-20T12:05:00Z",
            "memo_type = id",
        ):
            assert said in words, said

    def test_accounts_for_every_stroop(self, web_app):
        owner = visit(web_app)
        invoice_ref, payment_ref = pay(web_app, owner.shop, paid="100")
        second = pay_for(web_app, owner.shop, invoice_ref, "7", ledger=51_203_999)

        first = words_of(owner.get(f"/payments/{payment_ref}"))

        assert "90.00 Client credit, beyond what was due 10.00 Received 100.00 XLM" in first
        assert "due 7.00 Received 7.00 XLM" in words_of(owner.get(f"/payments/{second}"))

    def test_tells_its_history(self, web_app):
        owner = visit(web_app)
        _, payment_ref = pay(web_app, owner.shop)

        assert "Recorded and credited to INV-" in owner.get(f"/payments/{payment_ref}")

    def test_is_downloaded_whole_as_json(self, web_app):
        owner = visit(web_app)
        invoice_ref, payment_ref = pay(web_app, owner.shop, paid="100")

        answer = owner.client.get(f"/payments/{payment_ref}.json")

        told = answer.json
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{payment_ref}.json"'
        assert (told["id"], told["invoice"], told["recorded"]) == (payment_ref, invoice_ref, True)
        assert (
            told["settlement"] | {"allocated": "90.0000000", "excess_to_credit": "10.0000000"}
            == (told["settlement"])
        )
        assert told["transaction"]["envelope_xdr"] == "AAAA" and told["rules"][0]["fields"]
        [journal] = told["journals"]
        assert [(each["account"], each["side"], each["amount"]) for each in journal["entries"]] == [
            ("wallet", "DEBIT", "100.0000000"),
            ("receivable", "CREDIT", "90.0000000"),
            ("client_credit", "CREDIT", "10.0000000"),
        ]
        assert {each["owner"] for each in journal["entries"]} == {owner.shop.wallet, invoice_ref}

    def test_lets_no_internal_id_out(self, web_app):
        owner = visit(web_app)
        _, payment_ref = pay(web_app, owner.shop)

        text = owner.get(f"/payments/{payment_ref}.json")

        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-", text)

    def test_is_read_in_few_statements(self, web_app, statements):
        owner = visit(web_app)
        _, payment_ref = pay(web_app, owner.shop, memo_type="none", memo=None)
        owner.get(f"/payments/{payment_ref}")
        statements.clear()

        owner.get(f"/payments/{payment_ref}")

        assert len(statements) <= 16, statements

    def test_is_invisible_to_a_stranger(self, web_app):
        _, payment_ref = pay(web_app, visit(web_app).shop)

        visit(web_app).get(f"/payments/{payment_ref}", status=404)

    @pytest.mark.parametrize("ref", ["pay_", "unmatchedx", "inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB"])
    def test_answers_404_to_what_never_existed(self, web_app, ref):
        visit(web_app).get(f"/payments/{ref}", status=404)


class TestUnmatched:
    def test_shows_reason_and_memo_as_text_never_as_a_link(self, web_app):
        owner = visit(web_app)
        memo = "<b>pay</b> https://evil.example"
        pay(web_app, owner.shop, memo_type="text", memo=memo, memo_bytes=memo.encode())

        page = owner.get("/payments/unmatched")

        assert "&lt;b&gt;pay&lt;/b&gt; https://evil.example" in page
        assert 'href="https://evil' not in page and "belongs to no invoice of yours" in page

    def test_folds_dust_into_one_line(self, web_app):
        owner = visit(web_app)
        _, dust = pay(web_app, owner.shop, paid="0.001", memo_type="none", memo=None)

        page = owner.get("/payments/unmatched")

        assert dust not in page and "Dust left out" in page and "0.001 XLM" in page
        assert dust in owner.get("/payments/unmatched?dust=1")

    def test_is_counted_on_the_pages_that_lead_there(self, web_app):
        owner = visit(web_app)
        pay(web_app, owner.shop, memo_type="none", memo=None)

        assert "Unmatched money" in owner.get("/payments")
        assert "1 payment has no invoice" in owner.get("/home")
