"""The first page: a checklist for a new merchant, then what came in and what needs a person."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from portal.domain.payments.figures import Received
from portal.web.home.chart import charts_of
from portal.web.home.overview import change_words, duration_words
from tests.support.builders import make_member, make_shop
from tests.web.posting import pay, visit, write_invoice

MONDAY = date(2026, 11, 16)


class TestNewMerchant:
    def test_is_led_to_prove_a_wallet_first(self, web_app):
        with web_app.app_context():
            shop = make_shop(wallet=False)

        page = visit(web_app, shop).get("/home")

        assert "Prove your receiving wallet" in page and "/settings/wallets" in page
        assert '<svg class="chart"' not in page

    def test_is_led_to_the_first_invoice_next(self, web_app):
        owner = visit(web_app)

        assert "Issue your first invoice" in owner.get("/home")
        write_invoice(web_app, owner.shop, issue=False)
        assert "Your draft is waiting" in owner.get("/home")

    def test_sees_no_button_that_his_role_forbids(self, web_app):
        with web_app.app_context():
            viewer = make_member(make_shop(wallet=False), role="viewer")

        page = visit(web_app, viewer).get("/home")

        assert "Prove wallet</a>" not in page and 'class="btn" href="/invoices/new"' not in page


class TestOverview:
    def test_adds_up_what_came_in_and_what_is_awaited(self, web_app):
        owner = visit(web_app)
        pay(web_app, owner.shop, amount="90")
        pay(web_app, owner.shop, amount="50", paid="20")

        page = owner.get("/home")

        assert "110.00" in page and '30.00 <span class="code">XLM' in page
        assert "Partly paid" in page and "30.00 XLM" in page
        assert '<svg class="chart"' in page and "Show as table" in page

    def test_draws_no_chart_when_nothing_came_in(self, web_app):
        owner = visit(web_app)
        write_invoice(web_app, owner.shop)

        page = owner.get("/home")

        assert "Nothing came in" in page and '<svg class="chart"' not in page

    @pytest.mark.parametrize("days", ["7", "30", "90", "0", "-1", "1e9", "٣", "9" * 50])
    def test_takes_any_period_in_the_link(self, web_app, days):
        owner = visit(web_app)
        pay(web_app, owner.shop)

        assert "Received per day" in owner.get(f"/home?days={days}")

    def test_shows_nothing_of_another_merchant(self, web_app):
        pay(web_app, visit(web_app).shop)

        assert "Set up to be paid" in visit(web_app).get("/home")

    def test_reads_in_a_bounded_number_of_statements(self, web_app, statements):
        owner = visit(web_app)
        for _ in range(3):
            pay(web_app, owner.shop)
        owner.get("/home")
        statements.clear()

        owner.get("/home")

        assert len(statements) <= 18, statements


class TestChart:
    def test_has_a_bar_for_every_day_and_the_highest_fills_it(self):
        received = [
            Received("native", MONDAY, Decimal(10)),
            Received("native", MONDAY + timedelta(days=2), Decimal(5)),
        ]

        (chart,) = charts_of(received, first=MONDAY, last=MONDAY + timedelta(days=6))

        assert [bar.height for bar in chart.bars] == [150, 0, 75, 0, 0, 0, 0]
        assert (chart.total, chart.peak.day) == (Decimal(15), MONDAY)
        assert chart.labels[0] == MONDAY and chart.labels[-1] == MONDAY + timedelta(days=6)

    def test_shows_even_the_smallest_sum(self):
        received = [
            Received("native", MONDAY, Decimal(10**9)),
            Received("native", MONDAY + timedelta(days=1), Decimal("0.0000001")),
        ]

        (chart,) = charts_of(received, first=MONDAY, last=MONDAY + timedelta(days=1))

        assert chart.bars[1].height == 2

    def test_is_not_made_up_for_assets_that_brought_nothing(self):
        assert charts_of([], first=MONDAY, last=MONDAY) == []


class TestWords:
    @pytest.mark.parametrize(
        ("now", "before", "words"),
        [
            ("112", "100", "12% more than"),
            ("50", "100", "50% less than"),
            ("100", "100", "as much as"),
            ("5", None, ""),
        ],
    )
    def test_compare_with_the_period_before(self, now, before, words):
        assert change_words(Decimal(now), before and Decimal(before), 30).startswith(words)

    @pytest.mark.parametrize(
        ("taken", "words"),
        [
            (timedelta(seconds=40), "40 s"),
            (timedelta(minutes=5), "5 m"),
            (timedelta(hours=3, minutes=12), "3 h 12 m"),
            (timedelta(days=3, hours=4), "3 d 4 h"),
            (timedelta(seconds=-5), "1 s"),
            (None, ""),
        ],
    )
    def test_say_durations_shortly(self, taken, words):
        assert duration_words(taken) == words
