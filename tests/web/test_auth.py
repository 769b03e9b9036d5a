"""Sign-up, sign-in and passwords through the pages, as a visitor and as a prying one."""

import re
import time
from datetime import timedelta
from io import BytesIO

import pytest
from flask import Flask
from sqlalchemy import text

from portal.extensions import db
from portal.kernel.tokens import digest
from portal.web import access
from tests.web.people import (
    PASSWORD,
    Browser,
    browser_of,
    code_in,
    mails_to,
    new_email,
    new_member,
    sign_up,
    verify,
)


def rows(app, sql: str, **parameters):
    """Read as the worker, who sees every tenant."""
    with app.app_context():
        found = db.session.execute(text(sql), parameters).all()
        db.session.rollback()
    return found


def run(app, sql: str, **parameters) -> None:
    with app.app_context():
        db.session.execute(text(sql), parameters)
        db.session.commit()


class TestSignUp:
    def test_leads_through_the_mailed_code_to_the_home_page(self, web_app, worker_app):
        browser, email = Browser(web_app), new_email()

        asked = sign_up(browser, email)
        assert (asked.status_code, asked.headers["Location"]) == (303, "/verify")
        assert browser.token is None

        answer = verify(browser, email)

        assert (answer.status_code, answer.headers["Location"]) == (303, "/home")
        assert browser.get("/settings/security").status_code == 200
        [(status, zone)] = rows(
            worker_app,
            "SELECT m.status, m.time_zone FROM merchants m JOIN memberships s ON s.merchant_id = m.id"
            " JOIN users u ON u.id = s.user_id WHERE u.email_lower = :email AND s.role = 'owner'",
            email=email,
        )
        assert (status, zone) == ("ACTIVE", "Asia/Jakarta")

    def test_keeps_what_was_typed_but_the_password(self, web_app):
        browser = Browser(web_app)

        page = sign_up(browser, "not an address", password="short", business_name="Kopi <b>")

        assert page.status_code == 422
        assert 'value="not an address"' in page.text
        assert "Kopi &lt;b&gt;" in page.text
        assert "short" not in re.findall(r'value="([^"]*)"', page.text)
        assert "at least 10 characters" in page.text

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("business_name", ""),
            ("business_name", "a\x00b"),
            ("business_name", "x" * 5000),
            ("name", "\n\t"),
            ("email", "rina@"),
            ("email", "rina@kopi.example\r\nBcc: all@kopi.example"),
            ("email", "\u0130rina@kopi.example"),
            ("password", "aaaaaaaaaaaaaaaa"),
            ("time_zone", "Mars/Olympus"),
        ],
    )
    def test_answers_bad_input_beside_its_field(self, web_app, field, value):
        changes = {"email": new_email(), field: value}

        page = sign_up(Browser(web_app), **changes)

        assert page.status_code == 422
        assert 'aria-invalid="true"' in page.text

    def test_answers_the_same_for_a_known_address(self, web_app):
        _, known = new_member(web_app)

        taken, free = Browser(web_app), Browser(web_app)
        answers = [sign_up(taken, known), sign_up(free, new_email())]

        assert {(a.status_code, a.headers["Location"]) for a in answers} == {(303, "/verify")}
        # What differs by chance: the address itself, nonces, tokens.
        chance = re.compile(r'[\w-]+@kopi\.example|nonce="[^"]*"|csrf_token"[^>]*')
        assert len({chance.sub("X", browser.get("/verify").text) for browser in (taken, free)}) == 1
        assert "already have a Tagih account" in mails_to(web_app, known)[0]
        wrong = [
            browser.post("/verify", {"email": email, "code": "000000"}, form_on="/verify").status_code
            for browser, email in ((taken, known), (free, "nobody@kopi.example"))
        ]
        assert wrong == [422, 422]

    def test_changes_nothing_for_a_known_address(self, web_app):
        browser, known = new_member(web_app)

        sign_up(Browser(web_app), known, password="another long sentence", business_name="Thief")

        stranger = Browser(web_app)
        assert (
            stranger.post("/login", {"email": known, "password": "another long sentence"}).status_code == 422
        )
        assert stranger.post("/login", {"email": known, "password": PASSWORD}).status_code == 303
        assert "Kopi Nusantara" in browser.get("/settings/business").text

    def test_lets_nobody_lie_in_wait_on_an_unproven_address(self, web_app):
        thief, owner, email = Browser(web_app), Browser(web_app), new_email()
        sign_up(thief, email, password="the thief knows this")
        sign_up(owner, email)
        code = code_in(mails_to(web_app, email)[0])

        assert thief.post("/verify", {"email": email, "code": code}, form_on="/verify").status_code == 422
        assert owner.post("/verify", {"email": email, "code": code}, form_on="/verify").status_code == 303
        assert thief.post("/login", {"email": email, "password": "the thief knows this"}).status_code == 422

    def test_does_not_sign_in_before_the_address_is_proven(self, web_app):
        browser, email = Browser(web_app), new_email()
        sign_up(browser, email)

        assert browser.post("/login", {"email": email, "password": PASSWORD}).status_code == 422


class TestCode:
    def test_works_once(self, web_app):
        browser, email = Browser(web_app), new_email()
        sign_up(browser, email)
        code = code_in(mails_to(web_app, email)[0])
        assert verify(browser, email).status_code == 303

        again = Browser(web_app)
        sign_up(again, email)

        assert again.post("/verify", {"email": email, "code": code}, form_on="/verify").status_code == 422

    def test_ends_after_five_wrong_attempts(self, web_app):
        browser, email = Browser(web_app), new_email()
        sign_up(browser, email)
        code = code_in(mails_to(web_app, email)[0])
        wrong = "111111" if code != "111111" else "222222"
        for _ in range(5):
            browser.post("/verify", {"email": email, "code": wrong}, form_on="/verify")

        assert browser.post("/verify", {"email": email, "code": code}, form_on="/verify").status_code == 422

    def test_is_not_burnt_by_a_stranger(self, web_app):
        browser, stranger, email = Browser(web_app), Browser(web_app), new_email()
        sign_up(browser, email)
        for _ in range(6):
            stranger.post("/verify", {"email": email, "code": "000000"}, form_on="/verify")

        assert verify(browser, email).status_code == 303

    def test_ends_after_five_minutes(self, web_app, worker_app):
        browser, email = Browser(web_app), new_email()
        sign_up(browser, email)
        run(
            worker_app,
            "UPDATE one_time_codes SET expires_at = now() - interval '1 second' WHERE user_id ="
            " (SELECT id FROM users WHERE email_lower = :email)",
            email=email,
        )

        assert verify(browser, email).status_code == 422

    def test_is_sent_again_and_replaces_the_first(self, web_app):
        browser, email = Browser(web_app), new_email()
        sign_up(browser, email)
        first = code_in(mails_to(web_app, email)[0])

        browser.post("/verify/resend", {"email": email}, form_on="/verify")
        second = code_in(mails_to(web_app, email)[0])

        assert len(mails_to(web_app, email)) == 2
        if first != second:
            assert (
                browser.post("/verify", {"email": email, "code": first}, form_on="/verify").status_code == 422
            )
        assert browser.post("/verify", {"email": email, "code": second}, form_on="/verify").status_code == 303

    def test_is_not_sent_at_a_strangers_wish(self, web_app):
        browser, stranger, email = Browser(web_app), Browser(web_app), new_email()
        sign_up(browser, email)

        answer = stranger.post("/verify/resend", {"email": email}, form_on="/verify")

        assert answer.status_code == 303
        assert len(mails_to(web_app, email)) == 1
        assert verify(browser, email).status_code == 303

    def test_is_kept_as_a_hash(self, web_app, worker_app):
        browser, email = Browser(web_app), new_email()
        sign_up(browser, email)
        code = code_in(mails_to(web_app, email)[0])

        [(kept,)] = rows(
            worker_app,
            "SELECT code_hash FROM one_time_codes WHERE user_id = (SELECT id FROM users WHERE email_lower = :email)",
            email=email,
        )

        assert code not in kept
        assert digest(code) not in kept


class TestSignIn:
    def test_opens_a_session_and_returns_to_the_page(self, web_app):
        _, email = new_member(web_app)
        browser = Browser(web_app)

        refused = browser.get("/settings/security")
        assert refused.headers["Location"] == "/login?next=/settings/security"
        answer = browser.post(
            "/login", {"email": email.upper(), "password": PASSWORD, "next": "/settings/security"}
        )

        assert (answer.status_code, answer.headers["Location"]) == (303, "/settings/security")
        cookie = next(
            line for line in answer.headers.getlist("Set-Cookie") if line.startswith("tagih_session=")
        )
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert browser.get("/settings/security").status_code == 200

    def test_says_one_sentence_for_every_bad_credential(self, web_app, worker_app):
        _, email = new_member(web_app)
        browser = Browser(web_app)

        answers = [
            browser.post("/login", {"email": address, "password": password})
            for address, password in (
                (email, "wrong"),
                ("nobody@kopi.example", PASSWORD),
                ("", ""),
                (email, "\x00"),
            )
        ]

        assert {answer.status_code for answer in answers} == {422}
        assert all("do not match an account" in answer.text for answer in answers)
        failures = rows(
            worker_app,
            "SELECT after ->> 'reason', merchant_id FROM audit_log WHERE action = 'session.refused' AND ip = :ip",
            ip=browser.ip,
        )
        assert sorted(reason for reason, _ in failures) == [
            "bad_password", "bad_password", "unknown_user", "unknown_user",
        ]  # fmt: skip
        assert {merchant for _, merchant in failures} == {None}

    def test_takes_about_the_same_time_for_unknown_names(self, web_app):
        _, email = new_member(web_app)

        def least_work(address: str) -> float:
            """The processor time of the quickest of some tries, which other work on the machine cannot bend."""
            spent = []
            for _ in range(5):
                browser = Browser(web_app)
                browser.get("/login")
                started = time.thread_time()
                browser.post("/login", {"email": address, "password": "wrong"})
                spent.append(time.thread_time() - started)
            return min(spent)

        least_work("warm@kopi.example")
        known, unknown = least_work(email), least_work("nobody@kopi.example")

        assert 0.4 < known / unknown < 2.5

    @pytest.mark.parametrize("typed_along", ["", "\x00"], ids=["plain", "with-nul"])
    def test_is_refused_for_a_while_after_ten_failures(self, web_app, typed_along):
        _, email = new_member(web_app)
        for number in range(10):
            name = email + typed_along * number
            Browser(web_app).post("/login", {"email": name, "password": "wrong"})

        answer = Browser(web_app).post("/login", {"email": email, "password": PASSWORD})

        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 900
        assert "minute" in answer.text

    @pytest.mark.parametrize(
        "target",
        ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
         "javascript:alert(1)", "evil", "", "/ok\r\nSet-Cookie: a=b", "/" + "a" * 600],
    )  # fmt: skip
    def test_leads_nowhere_else(self, web_app, target):
        _, email = new_member(web_app)

        answer = Browser(web_app).post("/login", {"email": email, "password": PASSWORD, "next": target})

        assert answer.headers["Location"] == "/home"

    def test_refuses_a_form_without_its_token(self, web_app):
        answer = Browser(web_app).client.post("/login", data={"email": "a@b.example", "password": "x"})

        assert answer.status_code == 400

    def test_renews_the_hash_when_its_parameters_changed(self, web_app, worker_app):
        from argon2 import PasswordHasher

        _, email = new_member(web_app)
        old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        run(
            worker_app,
            "UPDATE users SET password_hash = :old WHERE email_lower = :email",
            old=old,
            email=email,
        )

        assert Browser(web_app).post("/login", {"email": email, "password": PASSWORD}).status_code == 303

        [(kept,)] = rows(
            worker_app, "SELECT password_hash FROM users WHERE email_lower = :email", email=email
        )
        assert "m=47104,t=1,p=1" in kept


class TestSession:
    def test_ends_at_sign_out_everywhere(self, web_app):
        browser, _ = new_member(web_app)
        token = browser.token

        browser.post("/logout", form_on="/settings/security")

        thief = Browser(web_app)
        thief.client.set_cookie("tagih_session", token)
        assert thief.get("/settings/security").status_code == 303

    def test_keeps_only_the_hash_of_its_id(self, web_app, worker_app):
        browser, _ = new_member(web_app)

        kept = rows(
            worker_app, "SELECT id_hash FROM user_sessions WHERE id_hash = :hash", hash=digest(browser.token)
        )

        assert len(kept) == 1

    @pytest.mark.parametrize(
        "ending", ["last_seen_at = now() - interval '13 hours'", "expires_at = now() - interval '1 second'"]
    )
    def test_ends_when_idle_or_old(self, web_app, worker_app, ending):
        browser, _ = new_member(web_app)
        hashed = digest(browser.token)

        run(worker_app, f"UPDATE user_sessions SET {ending} WHERE id_hash = :hash", hash=hashed)

        assert browser.get("/settings/security").status_code == 303

    @pytest.mark.parametrize("cookie", ["", "x", "a" * 5000, "%00", "' OR 1=1 --"])
    def test_is_not_opened_by_a_made_up_cookie(self, web_app, cookie):
        browser = Browser(web_app)
        browser.client.set_cookie("tagih_session", cookie)

        assert browser.get("/settings/security").status_code == 303

    def test_costs_no_statement_while_cached(self, web_app, statements):
        browser, _ = new_member(web_app)
        browser.get("/confirm")
        statements.clear()

        assert browser.get("/confirm").status_code == 200

        assert [line for line in statements if "SELECT" in line and "set_config" not in line] == []

    def test_works_while_redis_is_away(self, web_app):
        from portal.adapters import cache
        from portal.extensions import redis

        browser, _ = new_member(web_app)
        there, away = (
            redis.client,
            type(redis.client).from_url("redis://127.0.0.1:9/0", socket_connect_timeout=0.2),
        )
        redis._client = away
        try:
            assert browser.get("/settings/security").status_code == 200
            assert browser.post("/logout", form_on="/settings/security").status_code == 303
            assert browser.get("/settings/security").status_code == 303
        finally:
            redis._client = there
            cache.pause.end()

    def test_notes_its_use_at_most_once_a_minute(self, web_app, worker_app):
        browser, _ = new_member(web_app)
        hashed = digest(browser.token)
        run(
            worker_app,
            "UPDATE user_sessions SET last_seen_at = now() - interval '2 minutes' WHERE id_hash = :hash",
            hash=hashed,
        )

        browser.get("/confirm")
        browser.get("/confirm")

        [(age,)] = rows(
            worker_app, "SELECT now() - last_seen_at FROM user_sessions WHERE id_hash = :h", h=hashed
        )
        assert age < timedelta(seconds=60)


class TestReset:
    def link(self, app, email: str) -> str:
        browser = Browser(app)
        assert browser.post("/reset", {"email": email}, form_on="/reset").headers["Location"] == "/reset/sent"
        return re.search(r"/reset/\S+", mails_to(app, email)[0])[0]

    def test_sets_a_password_once_and_signs_every_device_out(self, web_app):
        device, email = new_member(web_app)
        link, browser = self.link(web_app, email), Browser(web_app)

        answer = browser.post(link, {"password": "a completely new one"}, form_on=link)

        assert answer.headers["Location"] == "/login"
        assert device.get("/settings/security").status_code == 303
        assert browser.post("/login", {"email": email, "password": PASSWORD}).status_code == 422
        assert browser.post("/login", {"email": email, "password": "a completely new one"}).status_code == 303
        assert browser.get(link).status_code == 404
        assert "was changed" in mails_to(web_app, email)[0]

    def test_answers_the_same_for_an_unknown_address(self, web_app):
        _, email = new_member(web_app)

        answers = [
            Browser(web_app).post("/reset", {"email": address}, form_on="/reset")
            for address in (email, "nobody@kopi.example")
        ]

        assert {(a.status_code, a.headers["Location"], a.text) for a in answers} == {
            (303, "/reset/sent", answers[0].text)
        }
        assert mails_to(web_app, "nobody@kopi.example") == []

    def test_ends_after_thirty_minutes(self, web_app, worker_app):
        _, email = new_member(web_app)
        link = self.link(web_app, email)
        run(
            worker_app,
            "UPDATE one_time_codes SET expires_at = now() - interval '1 second' WHERE code_hash = :hash",
            hash=digest(link.removeprefix("/reset/")),
        )

        page = Browser(web_app).post(link, {"password": "a completely new one"}, form_on="/reset")

        assert page.status_code == 404
        assert "no longer works" in page.text

    def test_refuses_a_weak_password_and_keeps_the_link(self, web_app):
        _, email = new_member(web_app)
        link, browser = self.link(web_app, email), Browser(web_app)

        assert browser.post(link, {"password": "short"}, form_on=link).status_code == 422
        assert browser.post(link, {"password": "a completely new one"}, form_on=link).status_code == 303


class TestStepUp:
    def test_asks_for_the_password_and_returns(self, web_app, worker_app):
        browser, _ = new_member(web_app)
        run(
            worker_app,
            "UPDATE user_sessions SET confirmed_at = now() - interval '11 minutes' WHERE id_hash = :hash",
            hash=digest(browser.token),
        )

        asked = browser.get("/developers/keys/new")
        assert asked.headers["Location"] == "/confirm?next=/developers/keys/new"
        before = browser.token
        wrong = browser.post(
            "/confirm", {"password": "wrong", "next": "/developers/keys/new"}, form_on="/confirm"
        )
        right = browser.post(
            "/confirm", {"password": PASSWORD, "next": "/developers/keys/new"}, form_on="/confirm"
        )

        assert wrong.status_code == 422
        assert right.headers["Location"] == "/developers/keys/new"
        assert browser.token != before
        assert browser.get("/developers/keys/new").status_code == 200

    def test_turns_strangers_to_the_sign_in(self, web_app):
        answer = Browser(web_app).post("/confirm", {"password": PASSWORD})

        assert answer.headers["Location"].startswith("/login")


class TestDevMail:
    def test_lists_and_shows_mails_as_text(self, web_app):
        _, email = new_member(web_app)
        browser = Browser(web_app)

        listing = browser.get("/dev/mail").text
        name = re.search(r"/dev/mail/([^\"]+\.eml)", listing)[1]

        assert email in listing
        assert browser.get(f"/dev/mail/{name}").status_code == 200

    @pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "nothing.eml", "x"])
    def test_opens_no_other_file(self, web_app, name):
        assert Browser(web_app).get(f"/dev/mail/{name}").status_code == 404


class TestRoutes:
    def test_all_say_who_may_call_them(self, web_app):
        access.check_every_route_is_marked(web_app)

    def test_stop_the_start_when_one_says_nothing(self):
        app = Flask("bare", static_folder=None)
        app.add_url_rule("/bare", "bare", lambda: "")

        with pytest.raises(RuntimeError, match="bare"):
            access.check_every_route_is_marked(app)


class TestForeignBodies:
    """Pages take what forms send; whatever else arrives is an empty form and never a fault of ours."""

    @pytest.mark.parametrize("path", ["/login", "/reset/" + "a" * 43])
    @pytest.mark.parametrize("body", ["[1, 2]", '{"email": 5, "password": ["a"]}'], ids=["list", "numbers"])
    def test_of_json_are_read_as_an_empty_form(self, web_app, path, body):
        browser = Browser(web_app)
        token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', browser.get("/login").text)[1]

        answer = browser.client.post(
            path,
            data=body,
            content_type="application/json",
            headers={"X-CSRFToken": token},
            environ_overrides={"REMOTE_ADDR": browser.ip},
        )

        assert answer.status_code == 422

    def test_with_a_file_in_place_of_a_text_are_refused(self, web_app):
        browser, _ = browser_of(web_app)

        answer = browser.post(
            "/settings/security/password",
            {"current": (BytesIO(b"x"), "x.txt"), "password": (BytesIO(b"y" * 20), "y.txt")},
            form_on="/settings/security",
        )

        assert answer.status_code == 422
