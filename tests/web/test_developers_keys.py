"""API keys through the pages: shown once, revoked for good, invisible to strangers."""

import re

import pytest
from sqlalchemy import text

from portal.domain.api_keys import rules
from portal.extensions import db
from portal.kernel.refs import to_ref
from tests.web.people import browser_of

FIELDS = {"name": "Web shop", "scopes": ["invoices:read", "invoices:write"], "days": "90"}


def make_key(browser, **changes):
    return browser.post("/developers/keys", {**FIELDS, **changes}, form_on="/developers/keys/new")


def key_in(page) -> str:
    return re.search(r"tgh_test_[0-9A-Za-z]{57}", page.text)[0]


def ref_of(app, shop) -> str:
    with app.app_context():
        key_id = db.session.scalar(text("SELECT id FROM api_keys WHERE merchant_id = :id"), {"id": shop.id})
        db.session.rollback()
    return to_ref("key", key_id)


class TestNewKey:
    def test_is_shown_once_and_kept_as_a_hash(self, web_app, worker_app):
        browser, shop = browser_of(web_app)

        page = make_key(browser)

        assert page.status_code == 201
        assert page.headers["Cache-Control"] == "no-store"
        key = key_in(page)
        assert rules.parse_key(key).network == "test"
        assert f"Authorization: Bearer {key}" in page.text.replace("&#39;", "'")
        listing = browser.get("/developers/keys").text
        assert key not in listing
        assert f"tgh_test_{key[9:17]}…{key[-4:]}" in listing
        with worker_app.app_context():
            tables = ("api_keys", "audit_log", "events", "outbox")
            everything = " ".join(
                str(row) for table in tables
                for row in db.session.execute(text(f"SELECT t::text FROM {table} t WHERE merchant_id = :id"),
                                              {"id": shop.id})
            )  # fmt: skip
            db.session.rollback()
        assert key[9:17] in everything
        assert key[17:-6] not in everything

    @pytest.mark.parametrize(
        "changes",
        [{"name": ""}, {"name": "a\x00"}, {"name": "x" * 200}, {"scopes": []}, {"scopes": ["everything"]},
         {"days": "7"}, {"days": "x"}],
    )  # fmt: skip
    def test_is_refused_beside_the_field(self, web_app, changes):
        browser, _ = browser_of(web_app)

        page = make_key(browser, **changes)

        assert page.status_code == 422
        assert "Please check" in page.text

    def test_without_one_the_page_shows_how_to_begin(self, web_app):
        browser, _ = browser_of(web_app)

        assert "Quick start" in browser.get("/developers/keys").text


class TestRevocation:
    def test_asks_first_and_is_safe_twice(self, web_app, worker_app):
        browser, shop = browser_of(web_app)
        make_key(browser)
        page = f"/developers/keys/{ref_of(worker_app, shop)}/revoke"

        assert "Web shop" in browser.get(page).text
        for _ in range(2):
            assert browser.post(page, form_on="/developers/keys/new").status_code == 303

        assert "Revoked" in browser.get("/developers/keys").text
        with worker_app.app_context():
            types = db.session.scalars(
                text("SELECT type FROM events WHERE merchant_id = :id ORDER BY version"), {"id": shop.id}
            ).all()
            db.session.rollback()
        assert types == ["api_key.created", "api_key.revoked"]

    def test_of_another_merchants_key_is_not_found(self, web_app, worker_app):
        browser, shop = browser_of(web_app)
        make_key(browser)
        stranger, _ = browser_of(web_app)
        page = f"/developers/keys/{ref_of(worker_app, shop)}/revoke"

        assert stranger.get(page).status_code == 404
        assert stranger.post(page, form_on="/developers/keys/new").status_code == 404
        assert "Revoked" not in browser.get("/developers/keys").text

    @pytest.mark.parametrize("ref", ["key_x", "inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB", "%00", "'"])
    def test_of_nonsense_is_not_found(self, web_app, ref):
        browser, _ = browser_of(web_app)

        assert browser.get(f"/developers/keys/{ref}/revoke").status_code == 404
