"""What stands around a merchant's page: the way in, what waits, how current the books are."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.web import frame
from tests.support.builders import make_member, make_shop
from tests.web.posting import visit, write_invoice

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_remembered():
    frame.forget()
    yield
    frame.forget()


class TestRoot:
    def test_leads_to_the_first_page_and_strangers_to_the_sign_in(self, web_app):
        stranger = web_app.test_client()

        assert stranger.get("/").location == "/home"
        assert "Sign in" in stranger.get("/", follow_redirects=True).text


class TestRail:
    def test_counts_the_pending_invoices_alone(self, web_app):
        owner = visit(web_app)
        write_invoice(web_app, owner.shop)
        write_invoice(web_app, owner.shop, issue=False)

        page = owner.get("/clients")

        assert '<span class="count">1<span class="sr-only"> pending</span></span>' in page

    def test_counts_anew_after_some_seconds_only(self, web_app, statements):
        owner = visit(web_app)
        owner.get("/clients")
        statements.clear()

        owner.get("/clients")

        assert not [line for line in statements if "watch_cursors" in line]

    @pytest.mark.parametrize(("role", "is_offered"), [("seller", True), ("viewer", False)])
    def test_offers_keys_for_what_the_role_may_write(self, web_app, role, is_offered):
        with web_app.app_context():
            person = make_member(make_shop(), role=role)

        assert ("<kbd>c</kbd> <kbd>i</kbd>" in visit(web_app, person).get("/clients")) is is_offered


class TestWatching:
    @pytest.mark.parametrize(
        ("ago", "said"),
        [
            (timedelta(seconds=2), {"lag_seconds": 2, "slow": False}),
            (timedelta(seconds=-3), {"lag_seconds": 0, "slow": False}),
            (timedelta(minutes=5), {"lag_seconds": 300, "slow": True}),
        ],
    )
    def test_is_slow_after_a_minute_without_a_look(self, ago, said):
        assert frame.watching(NOW - ago, NOW) == said

    def test_is_silent_before_the_first_look(self):
        assert frame.watching(None, NOW) is None
