"""The status that the payer's page asks for again and again: true, small, and 304 from one look at Redis."""

from datetime import timedelta

import pytest
from sqlalchemy import delete

from portal.db import run_transaction
from portal.domain.payments import watching
from portal.domain.payments.models import WatchCursor
from portal.extensions import db
from portal.kernel.clock import iso, utc_now
from portal.web.checkout import watcher
from tests.support.builders import make_invoice, make_shop
from tests.web.checkout_scene import claim, expire, pay, words_of


@pytest.fixture
def shop(as_web):
    return make_shop()


@pytest.fixture
def ask(client):
    def get(invoice, etag: str | None = None):
        return client.get(
            f"/i/{invoice.token}/status", headers={} if etag is None else {"If-None-Match": etag}
        )

    return get


class TestStatus:
    def test_has_every_field_of_the_contract(self, shop, ask):
        invoice = make_invoice(shop, amount="90", now=utc_now())
        pay(shop, invoice, amount="60")

        answer = ask(invoice)

        assert answer.json == {
            "status": "PENDING",
            "settlement": "PARTIAL",
            "amount_received": "60.0000000",
            "amount_due": "30.0000000",
            "flags": [],
            "expires_at": iso(invoice.expires_at),
            "server_now": answer.json["server_now"],
            "poll_after_ms": 2000,
            "submission": None,
        }
        assert answer.json["server_now"].endswith("Z")
        assert answer.headers["Cache-Control"] == "no-cache"

    def test_names_the_latest_submission(self, shop, ask):
        invoice = make_invoice(shop, now=utc_now())
        claim(shop, invoice, state="REJECTED", code="no_reference")

        assert ask(invoice).json["submission"] == {"state": "REJECTED", "code": "no_reference"}

    def test_is_304_while_nothing_changed_and_takes_no_sql(self, shop, ask, statements):
        invoice = make_invoice(shop, now=utc_now())
        first = ask(invoice)
        statements.clear()

        again = ask(invoice, first.headers["ETag"])
        whole = ask(invoice)

        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert whole.json["server_now"] >= first.json["server_now"]
        assert statements == []

    @pytest.mark.parametrize(
        "change", [pay, expire, lambda shop, invoice: claim(shop, invoice, state="CHECKING")]
    )
    def test_changes_its_tag_with_every_change(self, shop, ask, change):
        invoice = make_invoice(shop, now=utc_now())
        before = ask(invoice).headers["ETag"]

        change(shop, invoice)

        after = ask(invoice, before)
        assert after.status_code == 200
        assert after.headers["ETag"] != before

    def test_asks_to_be_polled_slowly_once_it_is_settled(self, shop, ask):
        invoice = make_invoice(shop, now=utc_now())
        pay(shop, invoice)

        assert ask(invoice).json["poll_after_ms"] == 10_000


class TestSlowConfirmation:
    @pytest.fixture
    def watcher_seen(self, worker_app):
        """Return a function that sets when the watcher last looked at a scope."""

        def at(scope, moment) -> None:
            with worker_app.app_context():
                run_transaction(
                    lambda: watching.move_cursor(
                        network="test", scope=scope, cursor="0", seen_until=moment, now=moment
                    )
                )
            watcher.forget()

        yield at
        with worker_app.app_context():
            run_transaction(lambda: db.session.execute(delete(WatchCursor)))

    @pytest.mark.parametrize(("seconds", "is_said"), [(5, False), (300, True)])
    def test_is_announced_when_the_wallets_last_look_is_a_minute_ago(
        self, shop, client, watcher_seen, seconds, is_said
    ):
        invoice, closed = make_invoice(shop, now=utc_now()), make_invoice(shop, now=utc_now())
        pay(shop, closed)
        watcher_seen(shop.wallet, utc_now() - timedelta(seconds=seconds))

        for _ in range(2):
            assert ("Confirmation may be slow" in words_of(client.get(f"/i/{invoice.token}"))) is is_said
            assert "Confirmation may be slow" not in words_of(client.get(f"/i/{closed.token}"))

    def test_is_not_announced_for_the_trouble_of_another_wallet(self, shop, client, watcher_seen):
        invoice = make_invoice(shop, now=utc_now())
        watcher_seen(shop.wallet, utc_now())
        watcher_seen("G" + "A" * 55, utc_now() - timedelta(hours=1))

        for _ in range(2):
            assert "Confirmation may be slow" not in words_of(client.get(f"/i/{invoice.token}"))

    def test_is_not_announced_for_a_wallet_that_the_stream_covers(self, shop, client, watcher_seen):
        # A wallet that joined the stream keeps the row of its last look by itself; nobody moves it again.
        invoice = make_invoice(shop, now=utc_now())
        watcher_seen("network", utc_now())
        watcher_seen(shop.wallet, utc_now() - timedelta(days=3))

        assert "Confirmation may be slow" not in words_of(client.get(f"/i/{invoice.token}"))

    def test_is_announced_for_a_wallet_that_the_stream_does_not_cover_yet(self, shop, client, watcher_seen):
        invoice = make_invoice(shop, now=utc_now())
        watcher_seen("network", utc_now())
        watcher_seen("joining:" + shop.wallet, utc_now() - timedelta(hours=1))

        assert "Confirmation may be slow" in words_of(client.get(f"/i/{invoice.token}"))

    def test_leaves_no_trace_of_what_decides_it_on_the_page(self, shop, client, watcher_seen):
        invoice = make_invoice(shop, now=utc_now())
        addresses = []
        for seconds in (5, 300):
            watcher_seen(shop.wallet, utc_now() - timedelta(seconds=seconds))
            addresses.append(client.get(f"/i/{invoice.token}").text.count(shop.wallet))

        assert addresses[0] == addresses[1] > 0
