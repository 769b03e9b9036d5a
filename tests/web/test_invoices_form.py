"""Writing and changing drafts in a browser without scripts: one form that never loses what was typed."""

import re

import pytest

from tests.support.builders import make_member, make_shop
from tests.web.posting import visit, write_client, write_invoice

LINE = {"items-0-description": "Barista class", "items-0-quantity": "2", "items-0-unit_price": "45"}
GOOD = {**LINE, "asset": "native"}


def item(**cells):
    return {**GOOD, **{f"items-0-{name}": value for name, value in cells.items()}}


@pytest.fixture(scope="module")
def careless(web_app):
    """An owner whose every form is refused, so that all of them may share one shop."""
    return visit(web_app)


class TestSaveDraft:
    def test_writes_the_invoice_with_its_totals(self, web_app):
        owner = visit(web_app)
        typed = {
            **GOOD,
            "discounts-0-label": "KOPI5", "discounts-0-kind": "percent", "discounts-0-value": "5",
            "taxes-0-label": "PPN", "taxes-0-percent": "11",
            "description": "Class in November", "due_date": "2031-12-31", "expires_hours": "48",
            "metadata": "order: A-17",
        }  # fmt: skip

        answer = owner.send("/invoices/new", typed)

        assert answer.status_code == 303
        page = owner.get(answer.location)
        assert "94.905 XLM" in page and "Draft" in page and "A-17" in page

    def test_writes_one_draft_when_the_same_form_is_sent_twice(self, web_app):
        owner = visit(web_app)

        first = owner.send("/invoices/new", {**GOOD, "once": "the-same-form"})
        second = owner.send("/invoices/new", {**GOOD, "once": "the-same-form"})
        changed = owner.send("/invoices/new", {**item(quantity="3"), "once": "the-same-form"})

        assert first.location == second.location
        assert changed.location != first.location

    def test_writes_a_new_client_along(self, web_app):
        owner = visit(web_app)

        answer = owner.send(
            "/invoices/new", {**GOOD, "client": "new", "client_name": "Rina", "client_email": "r@a.example"}
        )

        assert "Rina" in owner.get(answer.location)
        assert "r@a.example" in owner.get("/clients")

    def test_takes_a_client_of_the_list(self, web_app):
        owner = visit(web_app)
        ref = write_client(web_app, owner.shop)

        answer = owner.send("/invoices/new", {**GOOD, "client": ref})

        assert f"/clients/{ref}" in owner.get(answer.location)

    def test_writes_neither_invoice_nor_client_when_the_address_is_taken(self, web_app):
        owner = visit(web_app)
        write_client(web_app, owner.shop)

        page = owner.refused(
            "/invoices/new",
            {**GOOD, "client": "new", "client_name": "Twin", "client_email": "RINA@kopi.example"},
        )

        assert "exists already" in page and "Twin" in page
        assert "No invoices yet" in owner.get("/invoices")

    def test_refuses_another_merchants_client(self, web_app):
        foreign = write_client(web_app, visit(web_app).shop)

        assert "No such client" in visit(web_app).refused("/invoices/new", {**GOOD, "client": foreign})

    @pytest.mark.parametrize(
        ("typed", "words"),
        [
            ({"asset": "native"}, "Write at least one line"),
            (item(unit_price=""), "Write the amount in plain digits"),
            (item(unit_price="0"), "The total must be above zero"),
            (item(unit_price="-5"), "Write the amount in plain digits"),
            (item(unit_price="1e3"), "Write the amount in plain digits"),
            (item(unit_price="１２"), "Write the amount in plain digits"),
            (item(unit_price="12,5"), "Write the amount in plain digits"),
            (item(unit_price="0.12345678"), "at most 7 decimals"),
            (item(unit_price="922337203685.4775808"), "The largest amount is"),
            (item(unit_price="9" * 60), "Write the amount in plain digits"),
            (item(unit_price="500000000000", quantity="2"), "The largest amount is"),
            (item(unit_price="NaN"), "Write the amount in plain digits"),
            (item(quantity="0"), "The quantity must be above zero"),
            (item(quantity="0.1234567"), "at most 6 decimals"),
            (item(quantity="1e2"), "Write the quantity in plain digits"),
            (item(quantity="٢"), "Write the quantity in plain digits"),
            (item(description=""), "Write the description."),
            (item(description="nul\x00byte"), "Use plain characters"),
            (item(description="x" * 501), "within 500 characters"),
            (
                {**GOOD, "discounts-0-label": "All", "discounts-0-kind": "amount", "discounts-0-value": "91"},
                "more than what is left",
            ),
            ({**GOOD, "discounts-0-label": "Off", "discounts-0-value": "101"}, "from 0 to 100"),
            ({**GOOD, "discounts-0-label": "", "discounts-0-value": "5"}, "Write what the discount is for."),
            ({**GOOD, "taxes-0-label": "PPN", "taxes-0-percent": "11%"}, "from 0 to 100"),
            ({**GOOD, "due_date": "2020-01-01"}, "The due date is over already"),
            ({**GOOD, "due_date": "31.12.2031"}, "year-month-day"),
            ({**GOOD, "due_date": "9999-12-31"}, "year-month-day"),
            ({**GOOD, "expires_hours": "0"}, "from a minute up to"),
            ({**GOOD, "expires_hours": "99999"}, "from a minute up to"),
            ({**GOOD, "expires_hours": "soon"}, "Write hours in plain digits"),
            ({**GOOD, "asset": "USDC"}, "Write XLM, or the code and the issuer"),
            (
                {**GOOD, "asset": "other", "asset_other": "USDC:GABC"},
                "Write XLM, or the code and the issuer",
            ),
            ({**GOOD, "client": "cli_nonsense"}, "Choose a client of the list"),
            ({**GOOD, "client": "new"}, "Write the client&#39;s name"),
            ({**GOOD, "metadata": "no separator"}, "Write one fact a line"),
            ({**GOOD, "description": "d" * 501}, "within 500 characters"),
        ],
    )
    def test_says_beside_the_field_what_is_wrong_and_keeps_what_was_typed(self, careless, typed, words):
        page = careless.refused("/invoices/new", typed)

        assert words in page
        assert 'class="error-summary"' in page
        assert "No invoices yet" in careless.get("/invoices")
        for value in typed.values():
            if value.isprintable() and value.isascii() and value != "cli_nonsense":
                assert value.replace("'", "&#39;") in page

    def test_refuses_201_lines_with_all_of_them_still_there(self, web_app):
        typed = {"asset": "native"}
        for number in range(201):
            typed |= {
                f"items-{number}-description": f"Line number {number}",
                f"items-{number}-quantity": "1",
                f"items-{number}-unit_price": "1",
            }

        page = visit(web_app).refused("/invoices/new", typed)

        assert "1 to 200 lines" in page
        assert 'value="Line number 200"' in page

    def test_shows_markup_as_text(self, web_app):
        owner = visit(web_app)

        answer = owner.send("/invoices/new", {**item(description="<img src=x onerror=alert(1)>")})

        assert "<img src=x" not in owner.get(answer.location)

    def test_is_not_for_viewers_and_accountants(self, web_app):
        owner = visit(web_app)
        with web_app.app_context():
            members = [make_member(owner.shop, role=role) for role in ("viewer", "accountant")]

        for member in members:
            assert visit(web_app, member).send("/invoices/new", GOOD, page="/home").status_code == 403


class TestIssueAtOnce:
    def test_opens_the_invoice_for_payment(self, web_app):
        owner = visit(web_app)

        answer = owner.send("/invoices/new/issue", GOOD)

        assert answer.status_code == 303
        page = owner.get(answer.location)
        assert "INV-" in page and "Pending" in page

    def test_needs_a_proven_wallet_and_keeps_what_was_typed(self, web_app):
        with web_app.app_context():
            shop = make_shop(wallet=False)
        owner = visit(web_app, shop)

        page = owner.refused("/invoices/new/issue", GOOD)

        assert "Prove a receiving wallet" in page and "Barista class" in page


class TestRows:
    @pytest.mark.parametrize(
        ("order", "lines"),
        [
            ("items.add", ["first", "second", ""]),
            ("items.remove.0", ["second"]),
            ("items.down.0", ["second", "first"]),
            ("items.up.1", ["second", "first"]),
            ("items.up.0", ["first", "second"]),
            ("items.remove.7", ["first", "second"]),
            ("items.up.٢", ["first", "second"]),
            ("payments.add", ["first", "second"]),
            ("", ["first", "second"]),
        ],
    )
    def test_are_added_moved_and_removed_without_scripts(self, web_app, order, lines):
        typed = {
            "items-0-description": "first",
            "items-5-description": "second",
            "description": "kept",
            "change": order,
        }

        answer = visit(web_app).send("/invoices/new/rows", typed)

        page = answer.get_data(as_text=True).partition("<template")[0]
        assert answer.status_code == 200
        assert re.findall(r'name="items-\d+-description" type="text" value="([^"]*)"', page) == lines
        assert 'value="kept"' in answer.get_data(as_text=True)

    def test_show_the_totals_on_request(self, web_app):
        answer = visit(web_app).send("/invoices/new/rows", {**GOOD, "change": "totals"})

        assert "90.00 XLM" in answer.get_data(as_text=True)


class TestPreview:
    def test_answers_with_totals_alone(self, web_app):
        answer = visit(web_app).send(
            "/invoices/preview", {**GOOD, "taxes-0-label": "PPN", "taxes-0-percent": "11"}
        )

        page = answer.get_data(as_text=True)
        assert "99.90 XLM" in page and "<html" not in page

    @pytest.mark.parametrize("typed", [{}, {"items-0-unit_price": "x"}, {"asset": "<b>", **LINE}])
    def test_takes_no_harm_from_half_a_form(self, web_app, typed):
        answer = visit(web_app).send("/invoices/preview", typed)

        assert answer.status_code == 200 and "<b>" not in answer.get_data(as_text=True)


class TestEdit:
    def test_shows_the_draft_and_replaces_it(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop, issue=False, metadata={"order": "two\nlines", "other": "x"})

        form = owner.get(f"/invoices/{ref}/edit")
        answer = owner.send(
            f"/invoices/{ref}/edit", {**item(unit_price="50"), "metadata": "order: two lines\nother: y"}
        )

        assert 'value="Barista class"' in form and "order: two lines" in form
        assert answer.status_code == 303
        page = owner.get(f"/invoices/{ref}")
        assert "100.00 XLM" in page and "two\nlines" in page

    def test_saves_and_issues(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop, issue=False)

        owner.send(f"/invoices/{ref}/edit/issue", item(unit_price="50"))

        page = owner.get(f"/invoices/{ref}")
        assert "Pending" in page and "100.00 XLM" in page

    def test_refuses_bad_input_and_leaves_the_draft_alone(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop, issue=False)

        owner.refused(f"/invoices/{ref}/edit", item(unit_price="-1"))

        assert "90.00 XLM" in owner.get(f"/invoices/{ref}")

    def test_is_over_once_the_invoice_is_issued(self, web_app):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop)

        assert owner.client.get(f"/invoices/{ref}/edit").status_code == 303
        owner.send(f"/invoices/{ref}/edit", item(unit_price="1"))

        page = owner.get(f"/invoices/{ref}")
        assert "90.00 XLM" in page and "can no longer be changed" in page

    def test_is_invisible_to_a_stranger(self, web_app):
        ref = write_invoice(web_app, visit(web_app).shop, issue=False)
        stranger = visit(web_app)

        stranger.get(f"/invoices/{ref}/edit", status=404)
        for path in ("edit", "edit/issue", "edit/rows"):
            assert stranger.send(f"/invoices/{ref}/{path}", GOOD).status_code == 404
