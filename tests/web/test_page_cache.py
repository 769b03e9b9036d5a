"""Kept pages: fast while nothing changes, never older than the last commit, and no need of Redis."""

import json
import subprocess
import sys

import pytest

from portal.adapters import page_cache
from portal.db import run_transaction
from portal.domain.invoices import service as invoices
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants.models import Merchant, Wallet
from portal.extensions import db, redis
from portal.kernel.clock import utc_now
from portal.kernel.refs import to_ref
from portal.kernel.tokens import new_token
from tests.support.builders import make_invoice, make_shop
from tests.web.checkout_scene import cancel, claim, expire, pay, words_of


@pytest.fixture
def shop(as_web):
    return make_shop()


@pytest.fixture
def read(client):
    def load(invoice):
        return client.get(f"/i/{invoice.token}")

    return load


class TestKeptPage:
    def test_costs_two_queries_cold_and_none_warm(self, shop, read, statements):
        invoice = make_invoice(shop, now=utc_now())
        statements.clear()

        cold = read(invoice)
        asked_cold = len(statements)
        statements.clear()
        warm = read(invoice)

        assert (cold.status_code, warm.status_code) == (200, 200)
        assert (asked_cold, len(statements)) == (2, 0)

    def test_with_a_submission_costs_two_queries_and_is_not_kept(self, shop, client, statements):
        invoice = make_invoice(shop, now=utc_now())
        submission = to_ref("sub", claim(shop, invoice, state="REJECTED", code="late"))
        statements.clear()

        for _ in range(2):
            assert client.get(f"/i/{invoice.token}?submission={submission}").status_code == 200

        assert len(statements) == 4

    def test_has_a_nonce_and_a_clock_of_its_own_each_time(self, shop, read):
        invoice = make_invoice(shop, now=utc_now())

        first, second = read(invoice), read(invoice)

        for page in (first, second):
            nonce = page.headers["Content-Security-Policy"].partition("'nonce-")[2].partition("'")[0]
            assert page.get_data(as_text=True).count(f'nonce="{nonce}"') == 2
        assert first.headers["Content-Security-Policy"] != second.headers["Content-Security-Policy"]
        assert first.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (pay, "There is nothing left to do"),
            (lambda shop, invoice: pay(shop, invoice, amount="60"), "We received 60.00 XLM"),
            (cancel, "This invoice was cancelled"),
            (expire, "This invoice has expired"),
            (lambda shop, invoice: claim(shop, invoice, state="CHECKING"), "Looking for your payment"),
        ],
        ids=["paid", "partly", "cancelled", "expired", "submitted"],
    )
    def test_is_never_older_than_the_last_commit(self, shop, read, change, expected):
        invoice = make_invoice(shop, now=utc_now())
        read(invoice)
        assert expected not in words_of(read(invoice))

        change(shop, invoice)

        assert expected in words_of(read(invoice))

    def test_appears_with_the_commit_that_issues_it(self, shop, read):
        draft = make_invoice(shop, issue=False)
        assert read(draft).status_code == 404
        shop.enter()
        wallet = db.session.scalars(db.select(Wallet).where(Wallet.merchant_id == shop.id)).one()

        run_transaction(
            lambda: invoices.issue(
                merchant=db.session.get_one(Merchant, shop.id),
                invoice_id=draft.id,
                terms=IssueTerms(wallet),
                now=utc_now(),
            )
        )

        assert read(draft).status_code == 200

    def test_stays_when_the_change_was_rolled_back(self, shop, read, statements):
        invoice = make_invoice(shop, now=utc_now())
        read(invoice)

        def fail() -> None:
            invoices.cancel(merchant_id=shop.id, invoice_id=invoice.id, now=utc_now())
            raise RuntimeError("no")

        shop.enter()
        with pytest.raises(RuntimeError):
            run_transaction(fail)
        db.session.refresh(invoice)

        statements.clear()
        assert "Waiting for your payment" in words_of(read(invoice))
        assert statements == []


class TestGeneration:
    def test_keeps_a_slow_fill_out_that_read_before_the_change(self, as_web):
        token = new_token(160)
        generation = page_cache.generation(token)

        assert page_cache.drop_checkout([token])

        assert not page_cache.fill(token, "page", generation=generation, content=b"old")
        assert page_cache.read(token, "page").content is None

    def test_hides_what_was_kept_before_the_drop(self, as_web):
        token = new_token(160)
        assert page_cache.fill(token, "page", generation=page_cache.generation(token), content=b"old")
        assert page_cache.read(token, "page").content == b"old"

        page_cache.drop_checkout([token])

        assert page_cache.read(token, "page").content is None

    def test_does_not_come_back_after_it_was_lost(self, as_web):
        token = new_token(160)
        page_cache.fill(token, "page", generation=page_cache.generation(token), content=b"old")
        redis.client.delete(f"tagih:checkout:{{{token}}}:generation")

        page_cache.generation(token)

        assert page_cache.read(token, "page").content is None


_WITHOUT_REDIS = """
import json, sys
from config import Config
from portal.adapters import page_cache
from portal.app import create_app

environment, token = json.loads(sys.stdin.read())
client = create_app(Config.checked("web", environment)).test_client()
answers = [
    client.get(f"/i/{token}").status_code,
    client.get(f"/i/{token}").status_code,
    client.get(f"/i/{token}/status").json["status"],
    client.post(f"/i/{token}/submissions", data={"transaction_hash": "zz"}).status_code,
    client.post(f"/i/{token}/submissions", data={"transaction_hash": "ab" * 32}).status_code,
]
with client.application.app_context():
    answers.append(page_cache.drop_checkout([token]))
print(json.dumps(answers))
"""


def test_everything_works_without_redis_only_slower(shop, environment):
    invoice = make_invoice(shop, now=utc_now())
    away = environment | {"REDIS_URL": "redis://127.0.0.1:1/0", "HORIZON_URL": "http://127.0.0.1:1"}

    child = subprocess.run(
        [sys.executable, "-c", _WITHOUT_REDIS],
        input=json.dumps([away, invoice.token]),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout) == [200, 200, "PENDING", 422, 303, False]
