"""What stands around a merchant's page: the way in, what waits, how current the books are."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete

from portal.db import run_transaction
from portal.domain.payments import watching
from portal.domain.payments.looks import MerchantLook
from portal.domain.payments.models import WatchCursor
from portal.extensions import db
from portal.kernel.clock import utc_now
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
            (timedelta(seconds=2), {"lag_seconds": 2, "slow": False, "reset": False}),
            (timedelta(seconds=-3), {"lag_seconds": 0, "slow": False, "reset": False}),
            (timedelta(minutes=5), {"lag_seconds": 300, "slow": True, "reset": False}),
        ],
    )
    def test_is_slow_after_a_minute_without_a_look(self, ago, said):
        assert frame.watching(MerchantLook(NOW - ago, is_reset=False), NOW) == said

    def test_is_silent_without_a_wallet(self):
        assert frame.watching(MerchantLook(None, is_reset=False), NOW) is None


class TestLook:
    @pytest.fixture
    def looked(self, worker_app):
        """Return a function that notes a look at some scope some seconds ago."""

        def at(scope, seconds) -> None:
            moment = utc_now() - timedelta(seconds=seconds)
            with worker_app.app_context():
                run_transaction(
                    lambda: watching.move_cursor(
                        network="test", scope=scope, cursor="0", seen_until=moment, now=moment
                    )
                )

        yield at
        with worker_app.app_context():
            run_transaction(lambda: db.session.execute(delete(WatchCursor)))

    def test_is_that_at_the_business_own_wallets(self, web_app, looked):
        owner, other = visit(web_app), visit(web_app)
        looked(owner.shop.wallet, 30)
        looked(other.shop.wallet, 600)

        fine, late = owner.get("/clients"), other.get("/clients")

        assert "Payments checked 30 s ago" in fine
        assert "Confirmations may be slow" not in fine
        assert "Payments checked 10 min ago" in late
        assert "Confirmations may be slow" in late

    def test_of_a_wallet_never_looked_at_counts_from_its_proof(self, web_app, looked):
        owner = visit(web_app)

        assert "Confirmations may be slow" in owner.get("/clients")

    def test_at_a_network_that_was_reset_says_so(self, web_app, looked):
        owner = visit(web_app)
        looked(owner.shop.wallet, 5)
        looked("reset", 31)

        page = owner.get("/clients")

        assert "Network was reset" in page
        assert "The network was reset" in page
        assert "Payments checked" not in page
