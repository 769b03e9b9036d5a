"""The payer's page in a real browser: it becomes true by itself, and does without scripts."""

import gzip
import re
import threading
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from portal.kernel.clock import utc_now
from tests.support.builders import make_invoice, make_shop
from tests.web.checkout_scene import LINES, expire, pay

pytestmark = pytest.mark.browser
# Design, section 12, T10; fonts are counted apart.
WEIGHT_BYTES_MAX = 40_000
SOON_MS = 15_000
AXE = Path("node_modules/axe-core/axe.min.js")


@pytest.fixture(scope="module")
def address(web_app):
    server = make_server("127.0.0.1", 0, web_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def shop(as_web):
    return make_shop()


@pytest.fixture
def open_page(chromium, address):
    """Return a function that opens an invoice's page; what the browser complains about fails the test."""
    contexts, complaints = [], []

    def load(invoice, **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda line: complaints.append(line.text) if "Security Policy" in line.text else None
        )
        page.goto(f"{address}/i/{invoice.token}")
        return page

    yield load
    for context in contexts:
        context.close()
    assert complaints == []


def test_turns_to_paid_by_itself_and_moves_the_focus_once(shop, open_page):
    invoice = make_invoice(shop, amount="90", now=utc_now())
    page = open_page(invoice)
    assert page.locator("[data-status-line]").inner_text() == "Waiting for your payment"

    pay(shop, invoice)

    page.locator("main h1", has_text="Paid").wait_for(timeout=SOON_MS)
    assert page.evaluate("document.activeElement.textContent") == "Paid"
    assert page.locator("h1").count() == 1


def test_asks_for_the_rest_by_itself_and_keeps_what_is_being_typed(shop, open_page):
    invoice = make_invoice(shop, amount="90", now=utc_now())
    page = open_page(invoice)
    page.get_by_text("I have paid").click()
    page.get_by_label("Transaction hash").fill("abc")

    pay(shop, invoice, amount="60")

    page.get_by_text("We received 60.00 XLM").wait_for(timeout=SOON_MS)
    assert page.get_by_label("Transaction hash").input_value() == "abc"
    assert page.get_by_text("30.0000000 XLM").is_visible()


def test_counts_down_by_the_clock_of_the_server(shop, open_page):
    invoice = make_invoice(shop, now=utc_now(), expires_in_seconds=600)

    page = open_page(invoice)
    page.locator("[data-countdown]:not(:empty)").wait_for(timeout=SOON_MS)

    assert re.fullmatch(r"(9:\d\d|10:00)", page.locator("[data-countdown]").inner_text())


def test_works_without_scripts(shop, open_page):
    invoice = make_invoice(shop, now=utc_now())
    page = open_page(invoice, java_script_enabled=False)

    page.get_by_text("I have paid").click()
    page.get_by_label("Transaction hash").fill("xyz")
    page.get_by_role("button", name="Check my payment").click()

    assert page.get_by_text("This has 3.").is_visible()
    assert page.get_by_label("Transaction hash").input_value() == "xyz"
    assert not page.get_by_role("button", name="Copy amount").is_visible()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_needs_no_sideways_scrolling(shop, open_page, width):
    invoice = make_invoice(shop, now=utc_now(), **LINES)

    page = open_page(invoice, viewport={"width": width, "height": 800})

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_weighs_less_than_its_budget_and_asks_nobody_else(shop, client):
    invoice = make_invoice(shop, now=utc_now(), **LINES)

    html = client.get(f"/i/{invoice.token}").get_data(as_text=True)

    urls = re.findall(r'<(?:link|script)[^>]+(?:href|src)="([^"]+)"', html)
    assert urls and all(url.startswith("/static/") for url in urls)
    parts = [html.encode(), *(client.get(url).data for url in urls)]
    assert sum(len(gzip.compress(part)) for part in parts) < WEIGHT_BYTES_MAX


class TestAccessibility:
    @pytest.mark.parametrize(
        ("happening", "scheme"),
        [
            ("nothing", "light"),
            ("part", "dark"),
            ("paid", "dark"),
            ("expired", "light"),
            ("refused", "light"),
        ],
    )
    def test_has_no_known_faults(self, shop, open_page, happening, scheme):
        invoice = make_invoice(shop, amount="90", now=utc_now())
        happenings = {
            "part": lambda: pay(shop, invoice, amount="60"),
            "paid": lambda: pay(shop, invoice),
            "expired": lambda: expire(shop, invoice),
        }
        happenings.get(happening, lambda: None)()

        page = open_page(invoice, color_scheme=scheme)
        if happening == "refused":
            page.get_by_text("I have paid").click()
            page.get_by_role("button", name="Check my payment").click()
            page.locator("[aria-invalid]").wait_for()
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run().then(result => result.violations)")

        assert [(fault["id"], fault["nodes"][0]["html"][:200]) for fault in found] == []
