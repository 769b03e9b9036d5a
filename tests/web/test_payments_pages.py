"""The pages of payments: all of them, the unmatched ones, and why one counts."""

import pytest

from tests.support.builders import PAYER
from tests.web.posting import pay, visit


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
