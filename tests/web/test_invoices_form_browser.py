"""The invoice form and page in a real browser: with scripts, and the same form without."""

import threading

import pytest
from werkzeug.serving import make_server

from tests.web.posting import pay_for, visit, write_invoice

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(web_app):
    server = make_server("127.0.0.1", 0, web_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def open_page(web_app, chromium, address):
    """Return a function that opens a page as the owner of a new shop and fails on what the console complains of."""
    contexts, complaints = [], []

    def open_it(path, owner=None, **options):
        owner = owner or visit(web_app)
        context = chromium.new_context(**options)
        contexts.append(context)
        cookie = owner.client.get_cookie("tagih_session")
        context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": address}])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.goto(address + path)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


def fill_line(page, number, description, quantity, price):
    page.fill(f"#items-{number}-description", description)
    page.fill(f"#items-{number}-quantity", quantity)
    page.fill(f"#items-{number}-unit_price", price)


class TestWithScripts:
    def test_rows_come_and_go_and_the_server_keeps_the_totals(self, open_page):
        page = open_page("/invoices/new")

        fill_line(page, 0, "Arabica", "3", "42")
        page.get_by_role("button", name="Add a line").click()
        fill_line(page, 1, "Delivery", "1", "22.5")
        page.get_by_role("button", name="Add a tax").click()
        page.fill("#taxes-0-label", "PPN")
        page.fill("#taxes-0-percent", "11")

        page.get_by_text("164.835 XLM").wait_for()
        page.get_by_role("button", name="Remove tax").click()
        page.get_by_text("148.50 XLM").wait_for()
        page.get_by_role("button", name="Move line up").nth(1).click()
        page.get_by_role("button", name="Issue invoice").click()
        page.wait_for_url("**/invoices/inv_*")
        lines = page.locator("table").first.inner_text()
        assert lines.index("Delivery") < lines.index("Arabica")

    def test_inputs_of_a_new_client_appear_when_one_is_wanted(self, open_page):
        page = open_page("/invoices/new")

        assert not page.is_visible("#client_name")
        page.select_option("#client", "new")
        assert page.is_visible("#client_name")

    def test_cancelling_a_deletion_keeps_the_draft(self, open_page):
        page = open_page("/invoices/new")
        fill_line(page, 0, "Arabica", "1", "42")
        page.locator("aside").get_by_role("button", name="Save draft").click()
        page.wait_for_url("**/invoices/inv_*")

        page.get_by_text("More", exact=True).first.click()
        page.get_by_text("Delete draft…").click()
        page.get_by_role("button", name="Keep it").click()
        assert page.get_by_role("heading", name="Draft invoice").is_visible()

        page.get_by_text("More", exact=True).first.click()
        page.get_by_text("Delete draft…").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete draft").click()
        page.get_by_text("The draft is deleted.").wait_for()

    def test_an_open_invoice_shows_by_itself_that_it_was_paid(self, web_app, open_page):
        owner = visit(web_app)
        ref = write_invoice(web_app, owner.shop)
        page = open_page(f"/invoices/{ref}", owner=owner)
        assert page.get_by_text("Waiting for the payer.").is_visible()

        pay_for(web_app, owner.shop, ref, "60")

        page.get_by_role("heading", name="Still due 30.00 XLM").wait_for()


class TestWithoutScripts:
    def test_rows_totals_and_issuing_work_by_plain_buttons(self, open_page):
        page = open_page("/invoices/new", java_script_enabled=False)

        fill_line(page, 0, "Arabica", "3", "42")
        page.get_by_role("button", name="Add a line").click()
        fill_line(page, 1, "Delivery", "1", "22.5")
        page.get_by_role("button", name="Update totals").click()
        assert page.get_by_text("148.50 XLM").is_visible()

        page.get_by_role("button", name="Remove line").nth(1).click()
        page.get_by_role("button", name="Issue invoice").click()

        assert "INV-" in page.title() and page.get_by_text("126.00 XLM").first.is_visible()

    def test_enter_in_a_field_saves_a_draft_and_issues_nothing(self, open_page):
        page = open_page("/invoices/new", java_script_enabled=False)

        fill_line(page, 0, "Arabica", "3", "42")
        page.press("#items-0-unit_price", "Enter")

        assert page.get_by_role("heading", name="Draft invoice").is_visible()
