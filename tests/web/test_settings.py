"""Settings pages: business, preferences, devices."""

import re
from decimal import Decimal
from urllib.parse import quote

import pytest
from sqlalchemy import text

from portal.domain.merchants.sessions import handle_of
from portal.extensions import db
from portal.kernel.tokens import digest
from portal.web.settings.payments import examples_of
from tests.web.checkout_scene import words_of
from tests.web.people import PASSWORD, Browser, browser_of, mails_to, new_member

BUSINESS = {
    "name": "Kopi Selatan", "time_zone": "Asia/Jakarta", "invoice_prefix": "kop", "default_asset": "XLM",
}  # fmt: skip
PAYMENTS = {"expiry_hours": "48", "tolerance": "0.5", "late_policy": "unmatched"}


def row(app, sql: str, **parameters):
    with app.app_context():
        found = db.session.execute(text(sql), parameters).one_or_none()
        db.session.rollback()
    return found


class TestBusiness:
    def test_is_saved_with_an_audit_row_and_shown_at_once(self, web_app, worker_app):
        browser, shop = browser_of(web_app)

        answer = browser.post("/settings/business", BUSINESS, form_on="/settings/business")

        assert answer.status_code == 303
        page = browser.get("/settings/business").text
        assert "Kopi Selatan" in page
        assert "Business settings saved." in page
        saved = row(
            worker_app,
            "SELECT invoice_prefix, default_asset, time_zone FROM merchants WHERE id = :id",
            id=shop.id,
        )
        assert tuple(saved) == ("KOP", "native", "Asia/Jakarta")
        audit = row(
            worker_app, "SELECT actor, after FROM audit_log WHERE merchant_id = :id AND action = 'merchant.changed'",
            id=shop.id,
        )  # fmt: skip
        assert audit.actor.startswith("usr_")
        assert audit.after["invoice_prefix"] == "KOP"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""),
            ("name", "a\x00"),
            ("invoice_prefix", "TOO LONG PREFIX"),
            ("invoice_prefix", "Ä"),
            ("default_asset", "USDC"),
            ("default_asset", "USDC:GABC"),
            ("time_zone", "x"),
        ],
    )
    def test_answers_bad_input_beside_its_field(self, web_app, field, value):
        browser, _ = browser_of(web_app)

        page = browser.post("/settings/business", {**BUSINESS, field: value}, form_on="/settings/business")

        assert page.status_code == 422
        assert "Please check one thing" in page.text


class TestPayments:
    def test_are_saved_with_an_audit_row_and_explained_by_example(self, web_app, worker_app):
        browser, shop = browser_of(web_app)

        before = words_of(browser.get("/settings/payments"))
        answer = browser.post("/settings/payments", PAYMENTS, form_on="/settings/payments")

        page = browser.get("/settings/payments")
        assert "asks for the last 0.01 XLM" in before
        assert answer.status_code == 303 and "Payment settings saved." in page.text
        assert 'value="0.5"' in page.text and 'value="48"' in page.text
        assert "an invoice of 100.00 XLM is paid from 99.50 XLM on" in words_of(page)
        assert "an invoice of 2.00 XLM is paid from 1.80 XLM on, because a tenth is the limit" in words_of(
            page
        )
        saved = row(
            worker_app,
            "SELECT expiry_hours, tolerance::text, late_policy, name FROM merchants WHERE id = :id",
            id=shop.id,
        )
        assert tuple(saved) == (48, "0.5000000", "unmatched", "Kopi Selatan")
        audit = row(
            worker_app, "SELECT actor, after FROM audit_log WHERE merchant_id = :id AND action = 'merchant.changed'",
            id=shop.id,
        )  # fmt: skip
        assert audit.actor.startswith("usr_")
        assert audit.after == {"tolerance": "0.5000000", "expiry_hours": 48, "late_policy": "unmatched"}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("expiry_hours", "0"),
            ("expiry_hours", "1e3"),
            ("expiry_hours", "99999999999999999999"),
            ("tolerance", "-1"),
            ("tolerance", "1,5"),
            ("tolerance", "NaN"),
            ("late_policy", "x"),
        ],
    )
    def test_answer_bad_input_beside_its_field_and_keep_it(self, web_app, field, value):
        browser, _ = browser_of(web_app)

        page = browser.post("/settings/payments", {**PAYMENTS, field: value}, form_on="/settings/payments")

        assert page.status_code == 422
        assert "Please check one thing" in page.text
        assert field == "late_policy" or f'value="{value}"' in page.text

    @pytest.mark.parametrize(
        ("tolerance", "enough", "capped"),
        [("0", ["100", "2"], [False, False]), ("0.2", ["99.8", "1.8"], [False, False]),
         ("50", ["90", "1.8"], [True, True])],
    )  # fmt: skip
    def test_never_promise_to_waive_more_than_a_tenth(self, tolerance, enough, capped):
        examples = examples_of(Decimal(tolerance))

        assert [each.enough for each in examples] == [Decimal(each) for each in enough]
        assert [each.is_capped for each in examples] == capped


class TestRoles:
    @pytest.mark.parametrize("role", ["accountant", "seller", "viewer"])
    @pytest.mark.parametrize(
        "path", ["/settings/business", "/settings/payments", "/settings/wallets/new", "/developers/keys"]
    )
    def test_without_settings_see_why(self, web_app, role, path):
        browser, _ = browser_of(web_app, role=role)

        page = browser.get(path)

        assert page.status_code == 403
        assert f"Your role is {role}; this needs owner or admin" in page.text

    @pytest.mark.parametrize("role", ["accountant", "seller", "viewer"])
    @pytest.mark.parametrize("path", ["/settings/business", "/settings/payments", "/settings/wallets", "/settings/wallets/demo",
                                      "/developers/keys"])  # fmt: skip
    def test_without_settings_change_nothing(self, web_app, role, path):
        browser, _ = browser_of(web_app, role=role)

        assert browser.post(path, BUSINESS, form_on="/settings/security").status_code == 403

    @pytest.mark.parametrize("role", ["owner", "admin"])
    @pytest.mark.parametrize(
        "path", ["/settings/business", "/settings/payments", "/settings/wallets/new", "/developers/keys"]
    )
    def test_with_settings_open_them(self, web_app, role, path):
        browser, _ = browser_of(web_app, role=role)

        assert browser.get(path).status_code == 200

    @pytest.mark.parametrize("role", ["owner", "admin", "accountant", "seller", "viewer"])
    @pytest.mark.parametrize("path", ["/settings/wallets", "/settings/security", "/settings/preferences"])
    def test_each_open_what_is_everybodys(self, web_app, role, path):
        browser, _ = browser_of(web_app, role=role)

        assert browser.get(path).status_code == 200

    def test_lead_to_their_first_section(self, web_app):
        assert browser_of(web_app)[0].get("/settings").headers["Location"] == "/settings/business"
        seller, _ = browser_of(web_app, role="seller")
        assert seller.get("/settings").headers["Location"] == "/settings/preferences"

    def test_end_with_the_membership(self, web_app, worker_app):
        browser, shop = browser_of(web_app)
        with worker_app.app_context():
            db.session.execute(text("DELETE FROM memberships WHERE user_id = :id"), {"id": shop.user_id})
            db.session.commit()

        assert browser.get("/settings/wallets").status_code == 403


class TestPreferences:
    def test_theme_reaches_the_page_at_once(self, web_app):
        browser, _ = browser_of(web_app)
        fields = {"name": "Dewi", "theme": "dark"}

        assert (
            browser.post("/settings/preferences", fields, form_on="/settings/preferences").status_code == 303
        )

        page = browser.get("/settings/preferences").text
        assert 'data-theme="dark"' in page
        assert "Dewi" in page

    @pytest.mark.parametrize("fields", [{"name": "Dewi", "theme": "pink"}, {"name": "", "theme": "dark"}, {}])
    def test_refuses_what_is_not_offered(self, web_app, fields):
        browser, _ = browser_of(web_app)

        assert (
            browser.post("/settings/preferences", fields, form_on="/settings/preferences").status_code == 422
        )


class TestDevices:
    def test_are_listed_and_signed_out(self, web_app):
        browser, email = new_member(web_app)
        other = Browser(web_app)
        other.post(
            "/login", {"email": email, "password": PASSWORD}, headers={"User-Agent": "X Firefox/1 Linux"}
        )

        page = browser.get("/settings/security").text
        handles = re.findall(r"/settings/security/sessions/([0-9a-f]{32})/revoke", page)

        assert "This device" in page
        assert "Firefox on Linux" in page
        assert handles == [handle_of(digest(other.token))]
        browser.post(f"/settings/security/sessions/{handles[0]}/revoke", form_on="/settings/security")
        assert other.get("/settings/security").status_code == 303
        assert browser.get("/settings/security").status_code == 200

    @pytest.mark.parametrize("handle", ["", "%", "_" * 32, "a" * 32, "a"])
    def test_of_nobody_are_not_found(self, web_app, handle):
        browser, _ = new_member(web_app)

        answer = browser.post(
            f"/settings/security/sessions/{quote(handle)}/revoke", form_on="/settings/security"
        )

        assert answer.status_code == 404
        assert browser.get("/settings/security").status_code == 200

    def test_of_strangers_stay_signed_in(self, web_app):
        browser, _ = new_member(web_app)
        victim, _ = new_member(web_app)
        handle = handle_of(digest(victim.token))

        answer = browser.post(f"/settings/security/sessions/{handle}/revoke", form_on="/settings/security")

        assert answer.status_code == 404
        assert victim.get("/settings/security").status_code == 200


class TestPassword:
    def test_change_signs_the_other_devices_out(self, web_app):
        browser, email = new_member(web_app)
        other = Browser(web_app)
        other.post("/login", {"email": email, "password": PASSWORD})
        fields = {"current": PASSWORD, "password": "a completely new one"}

        answer = browser.post("/settings/security/password", fields, form_on="/settings/security")

        assert answer.status_code == 303
        assert browser.get("/settings/security").status_code == 200
        assert other.get("/settings/security").status_code == 303

    @pytest.mark.parametrize(
        ("current", "password"), [("wrong", "a completely new one"), (PASSWORD, "short"), ("", "")]
    )
    def test_is_kept_when_the_form_is_wrong(self, web_app, current, password):
        browser, email = new_member(web_app)
        fields = {"current": current, "password": password}

        answer = browser.post("/settings/security/password", fields, form_on="/settings/security")

        assert answer.status_code == 422
        assert Browser(web_app).post("/login", {"email": email, "password": PASSWORD}).status_code == 303
        assert len(mails_to(web_app, email)) == 1
