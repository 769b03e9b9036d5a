"""The list, the export and the page of invoices."""

import csv
import io
from datetime import timedelta

import pytest

from portal.kernel.clock import utc_now
from portal.web.csv_files import safe_cell
from tests.support.builders import make_member
from tests.web.posting import pay, visit, write_client, write_invoice


class TestList:
    def test_says_what_will_appear_here_while_it_is_empty(self, web_app):
        assert "No invoices yet" in visit(web_app).get("/invoices")

    def test_shows_the_newest_first_with_counts_by_status(self, web_app):
        owner = visit(web_app)
        older = write_invoice(web_app, owner.shop, now=utc_now() - timedelta(days=1))
        newer = write_invoice(web_app, owner.shop, issue=False)

        page = owner.get("/invoices")

        assert page.index(newer) < page.index(older)
        assert "Draft 1" in page and "Pending 1" in page

    def test_is_narrowed_by_status_dates_client_and_words(self, web_app):
        owner = visit(web_app)
        old = write_invoice(
            web_app, owner.shop, now=utc_now() - timedelta(days=9), description="Grinder repair"
        )
        new = write_invoice(web_app, owner.shop, issue=False)
        nobody = write_client(web_app, owner.shop)
        today = utc_now().date().isoformat()

        def found(query):
            page = owner.get(f"/invoices?{query}")
            return (old in page, new in page)

        assert found("status=pending") == (True, False)
        assert found("status=DRAFT") == (False, True)
        assert found("q=grinder") == (True, False)
        assert found(f"from={today}") == (False, True)
        assert found(f"to={(utc_now() - timedelta(days=2)).date().isoformat()}") == (True, False)
        assert found(f"client={nobody}") == (False, False)

    def test_offers_to_clear_filters_that_match_nothing(self, web_app):
        owner = visit(web_app)
        write_invoice(web_app, owner.shop)

        assert "Clear filters" in owner.get("/invoices?q=zzzzz")
        assert "at least 3 characters" in owner.get("/invoices?q=zz")

    def test_pages_back_and_forth_by_place(self, web_app):
        owner = visit(web_app)
        refs = [
            write_invoice(web_app, owner.shop, issue=False, now=utc_now() - timedelta(hours=hours))
            for hours in range(30)
        ]

        first = owner.get("/invoices")
        older = owner.get(_link(first, "next"))
        again = owner.get(_link(older, "prev"))

        assert [ref for ref in refs if ref in first] == refs[:25]
        assert [ref for ref in refs if ref in older] == refs[25:]
        assert [ref for ref in refs if ref in again] == refs[:25]
        assert 'rel="prev"' not in again

    @pytest.mark.parametrize(
        "query",
        ["after=garbage", "before=MTIz", "q=%00%00%00", "status=paid%27", "from=9999-99-99", "to=2026-02-30",
         "client=cli_x", "after=" + "9" * 99, "q=" + "x" * 5000, "from=0001-01-01&to=9999-12-31"],
    )  # fmt: skip
    def test_takes_no_harm_from_hand_made_links(self, web_app, query):
        visit(web_app).get(f"/invoices?{query}")

    def test_never_shows_another_merchants_invoices(self, web_app):
        ref = write_invoice(web_app, visit(web_app).shop)

        stranger = visit(web_app)

        assert ref not in stranger.get("/invoices") and ref not in stranger.get("/invoices?q=barista")

    def test_reads_a_page_in_few_statements(self, web_app, statements):
        owner = visit(web_app)
        for _ in range(3):
            write_invoice(web_app, owner.shop)
        owner.get("/invoices")
        statements.clear()

        owner.get("/invoices")

        assert len(statements) <= 8, statements


class TestExport:
    def test_holds_the_lines_of_the_filtered_list(self, web_app):
        owner = visit(web_app)
        pending = write_invoice(web_app, owner.shop)
        write_invoice(web_app, owner.shop, issue=False)

        answer = owner.client.get("/invoices.csv?status=pending")

        lines = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
        assert [(line["id"], line["amount"], line["asset_code"]) for line in lines] == [
            (pending, "90.0000000", "XLM")
        ]
        assert answer.mimetype == "text/csv" and "attachment" in answer.headers["Content-Disposition"]

    def test_reads_beyond_one_batch(self, web_app):
        owner = visit(web_app)
        for hours in range(103):
            write_invoice(web_app, owner.shop, issue=False, now=utc_now() - timedelta(hours=hours))

        lines = owner.get("/invoices.csv").splitlines()

        assert len(lines) == 104 and len(set(lines)) == 104

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "＝1"])
    def test_makes_formulas_harmless(self, text):
        assert safe_cell(text) == f"'{text}"

    def test_leaves_other_words_alone(self):
        assert (safe_cell("Toko Melati"), safe_cell(None)) == ("Toko Melati", "")

    def test_is_for_those_who_may_export(self, web_app):
        owner = visit(web_app)
        with web_app.app_context():
            accountant, seller = (make_member(owner.shop, role=role) for role in ("accountant", "seller"))

        visit(web_app, accountant).get("/invoices.csv")
        visit(web_app, seller).get("/invoices.csv", status=403)


class TestPage:
    def test_of_a_draft_offers_to_issue_edit_and_delete(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop, issue=False)

        page = owner.get(f"/invoices/{ref}")

        assert all(words in page for words in ("Issue", "Edit", "Delete draft", "Draft written"))

    def test_of_an_open_invoice_shows_where_it_is_paid(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop)

        page = owner.get(f"/invoices/{ref}")

        assert owner.shop.wallet in page and "/i/" in page and "Still due" in page

    def test_shows_what_was_paid_and_why_it_counts(self, web_app):
        owner = visit(web_app)
        ref, payment_ref = pay(web_app, owner.shop, paid="60")

        page = owner.get(f"/invoices/{ref}")

        assert "Partly paid" in page and "30.00 XLM" in page
        assert f"/payments/{payment_ref}" in page and "60.00 XLM credited" in page

    def test_explains_its_flags_in_words(self, web_app):
        owner = visit(web_app)
        ref, _ = pay(web_app, owner.shop, paid="100")

        page = owner.get(f"/invoices/{ref}")

        assert "More was paid than due" in page and "10.00 XLM in excess" in page

    def test_shows_a_viewer_no_way_to_change_it(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop, issue=False)
        with web_app.app_context():
            viewer = make_member(owner.shop, role="viewer")

        page = visit(web_app, viewer).get(f"/invoices/{ref}")

        assert "Edit" not in page and f"/invoices/{ref}/issue" not in page

    def test_reads_in_few_statements(self, web_app, statements):
        owner = visit(web_app)
        ref, _ = pay(web_app, owner.shop, paid="60")
        owner.get(f"/invoices/{ref}")
        statements.clear()

        owner.get(f"/invoices/{ref}")

        assert len(statements) <= 14, statements


class TestIssue:
    def test_opens_the_invoice_and_is_safe_twice(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop, issue=False)

        first = owner.send(f"/invoices/{ref}/issue")
        opened = owner.get(f"/invoices/{ref}")
        owner.send(f"/invoices/{ref}/issue")

        assert first.status_code == 303
        assert "is open for payment" in opened
        assert "can no longer be changed" in owner.get(f"/invoices/{ref}")
        assert "Pending 1" in owner.get("/invoices")


class TestCancel:
    def test_asks_first_and_then_closes_for_good(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop)

        assert "cannot be undone" in owner.get(f"/invoices/{ref}/cancel")
        for _ in range(2):
            owner.send(f"/invoices/{ref}/cancel")

        assert "Cancelled" in owner.get(f"/invoices/{ref}")
        assert owner.client.get(f"/invoices/{ref}/cancel").status_code == 303

    def test_refuses_while_the_invoice_holds_money(self, web_app):
        owner = visit(web_app)
        ref, _ = pay(web_app, owner.shop, paid="60")

        assert "cannot be cancelled" in owner.get(f"/invoices/{ref}/cancel")
        owner.send(f"/invoices/{ref}/cancel")

        assert "Partly paid" in owner.get(f"/invoices/{ref}")


class TestDelete:
    def test_removes_a_draft(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop, issue=False)

        assert owner.send(f"/invoices/{ref}/delete").location == "/invoices"
        assert owner.send(f"/invoices/{ref}/delete").status_code == 404

        owner.get(f"/invoices/{ref}", status=404)

    def test_never_removes_an_issued_invoice(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop)

        owner.send(f"/invoices/{ref}/delete")

        assert "Pending" in owner.get(f"/invoices/{ref}")


class TestDuplicate:
    def test_writes_a_draft_that_says_the_same(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop)

        answer = owner.send(f"/invoices/{ref}/duplicate")

        assert answer.location.endswith("/edit") and ref not in answer.location
        assert "Barista class" in owner.get(answer.location)


class TestStrangers:
    def test_can_neither_see_nor_change_an_invoice(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop)
        stranger = visit(web_app)

        for path in ("", "/cancel"):
            stranger.get(f"/invoices/{ref}{path}", status=404)
        for path in ("issue", "cancel", "delete", "duplicate"):
            assert stranger.send(f"/invoices/{ref}/{path}").status_code == 404

        assert "Pending" in owner.get(f"/invoices/{ref}")

    def test_are_sent_to_sign_in_when_they_are_nobody(self, web_app):
        answer = web_app.test_client().get("/invoices")

        assert answer.status_code == 303 and "/login" in answer.location


def _link(page: str, rel: str) -> str:
    return page.partition(f'rel="{rel}" href="')[2].partition('"')[0].replace("&amp;", "&")
