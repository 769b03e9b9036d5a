"""Layouts, macros, headers and error pages, without a database."""

import gzip
import re
from decimal import Decimal
from pathlib import Path

import pytest
from flask import Flask, abort, flash, g, make_response, render_template_string, request
from flask_wtf import CSRFProtect
from sqlalchemy.exc import OperationalError

from portal.kernel import errors
from portal.web.errors import register_error_handlers, status_of
from portal.web.filters import register_filters
from portal.web.headers import init_headers
from portal.web.navigation import init_navigation

ROOT = Path(__file__).resolve().parents[2]
# T10 of the design: the weight of the page, its style and its behaviour, compressed.
CHECKOUT_BYTES_MAX = 40 * 1024
FAILURES = {
    404: errors.NotFound,
    409: errors.Conflict,
    403: errors.Denied,
    422: errors.Invalid,
    429: errors.Limited,
    503: errors.Unavailable,
}


class InvoiceNotDraft(errors.Conflict):
    code = "invoice_not_draft"


@pytest.fixture
def app() -> Flask:
    app = Flask("look", static_folder=str(ROOT / "static"), template_folder=str(ROOT / "templates"))
    app.secret_key = "look" * 8
    init_headers(app)
    CSRFProtect(app)
    init_navigation(app)
    register_filters(app)
    register_error_handlers(app)

    @app.get("/home", endpoint="home")
    @app.get("/invoices", endpoint="invoices")
    @app.get("/settings/wallets", endpoint="wallets")
    @app.get("/login", endpoint="login")
    def page():
        g.merchant_name = "<b>Kopi</b> Selatan"
        g.theme = request.args.get("theme", "auto")
        if "flash" in request.args:
            flash("Invoice INV-1 is open for payment.", "success")
        return render_template_string(
            '{% extends "layouts/portal.html" %}{% block content %}<h1>Hello</h1>{% endblock %}'
        )

    @app.get("/i/token")
    def checkout():
        return render_template_string(
            '{% extends "layouts/checkout.html" %}{% block how %}<h1>Pay</h1>{% endblock %}'
        )

    @app.route("/fail/<int:status>", methods=["GET", "POST"])
    @app.route("/api/fail/<int:status>", endpoint="api_fail")
    @app.route("/i/fail/<int:status>", endpoint="payer_fail")
    def fail(status):
        if "detail" in request.args:
            raise FAILURES[status](request.args["detail"])
        abort(status)

    @app.get("/private")
    def private():
        raise errors.Unauthenticated("Sign in first.")

    @app.get("/broken")
    def broken():
        raise ZeroDivisionError

    @app.get("/no-database")
    def no_database():
        raise OperationalError("SELECT 1", {}, Exception("connection refused"))

    @app.get("/kept")
    def kept():
        response = make_response("kept")
        response.headers["Cache-Control"] = "private, max-age=5"
        return response

    return app


@pytest.fixture
def client(app):
    return app.test_client()


def render(app, source: str, **values) -> str:
    with app.test_request_context("/home"):
        return render_template_string(source, **values)


class TestHeaders:
    def test_allow_scripts_by_this_answers_nonce_alone(self, client):
        first, second = client.get("/home"), client.get("/home")

        nonce = re.search(r"script-src 'nonce-([\w-]+)'", first.headers["Content-Security-Policy"])[1]
        scripts = re.findall(r"<script[^>]*>", first.text)
        assert scripts
        assert all(f'nonce="{nonce}"' in tag for tag in scripts)
        assert nonce not in second.headers["Content-Security-Policy"]

    def test_forbid_framing_sniffing_and_inline_code(self, client):
        headers = client.get("/home").headers

        policy = headers["Content-Security-Policy"]
        assert "unsafe-inline" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "Strict-Transport-Security" not in headers

    def test_pages_are_not_stored_unless_they_say_so(self, client):
        assert client.get("/home").headers["Cache-Control"] == "no-store"
        assert client.get("/kept").headers["Cache-Control"] == "private, max-age=5"

    def test_files_with_their_hash_are_kept_for_ever(self, client):
        sheet = re.search(r'href="(/static/css/base.css\?v=\w{12})"', client.get("/home").text)[1]

        assert "immutable" in client.get(sheet).headers["Cache-Control"]
        assert "immutable" not in client.get("/static/css/base.css").headers.get("Cache-Control", "")

    def test_a_sane_request_id_is_kept(self, client):
        answer = client.get("/home", headers={"X-Request-Id": "edge-0123456789"})

        assert answer.headers["X-Request-Id"] == "edge-0123456789"

    @pytest.mark.parametrize(
        "inbound", ["", "short", "x" * 65, "a b c d e f g h", "<script>alert(1)</script>"]
    )
    def test_any_other_request_id_is_replaced(self, client, inbound):
        answer = client.get("/home", headers={"X-Request-Id": inbound})

        assert re.fullmatch(r"[0-9a-f]{24}", answer.headers["X-Request-Id"])

    def test_error_pages_carry_them_too(self, client):
        answer = client.get("/nowhere")

        assert "script-src 'nonce-" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Request-Id"] in answer.text


class TestErrorPages:
    @pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503])
    def test_have_one_heading_and_one_next_step(self, client, status):
        answer = client.get(f"/fail/{status}")

        assert answer.status_code == status
        assert answer.text.count("<h1") == 1
        assert answer.text.count('class="btn primary') == 1

    @pytest.mark.parametrize(("status", "family"), FAILURES.items())
    def test_families_become_statuses(self, client, status, family):
        answer = client.get(f"/fail/{status}?detail=Because+of+reasons.")

        assert answer.status_code == status
        assert status_of(family()) == status

    def test_a_subclass_has_the_status_of_its_family(self):
        assert status_of(InvoiceNotDraft()) == 409

    def test_say_what_the_failure_said(self, client):
        assert "Issued &lt;already&gt;." in client.get("/fail/409?detail=Issued+<already>.").text

    def test_never_say_why_something_was_not_found(self, client):
        assert "secret" not in client.get("/fail/404?detail=secret").text

    def test_say_when_to_come_back(self, client):
        answer = client.get("/fail/429?detail=Slow+down.")

        assert answer.headers["Retry-After"] == "60"
        assert "in 1 minute." in answer.text

    def test_a_payer_is_sent_to_whoever_gave_him_the_link(self, client):
        answer = client.get("/i/fail/404")

        assert "ask whoever sent it" in answer.text
        assert "btn primary" not in answer.text

    def test_an_unexpected_error_names_its_request(self, client):
        answer = client.get("/broken")

        assert answer.status_code == 500
        assert answer.headers["X-Request-Id"] in answer.text
        assert "ZeroDivision" not in answer.text

    def test_a_database_that_is_away_is_503(self, client):
        answer = client.get("/no-database")

        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "10"
        assert "SELECT" not in answer.text

    def test_a_stranger_is_led_to_sign_in_and_back(self, client):
        answer = client.get("/private?page=2")

        assert answer.status_code == 303
        assert answer.headers["Location"] == "/login?next=/private%3Fpage%3D2"

    def test_a_form_without_its_token_has_expired(self, client):
        answer = client.post(
            "/fail/409", data={"secret": "hunter2"}, headers={"Referer": "http://localhost/invoices?a=1"}
        )

        assert answer.status_code == 400
        assert "This form has expired" in answer.text
        assert 'href="/invoices?a=1"' in answer.text
        assert "hunter2" not in answer.text

    @pytest.mark.parametrize(
        "referrer", ["http://evil.test/x", "http://localhost//evil.test/x", "javascript:alert(1)"]
    )
    def test_the_way_back_never_leads_elsewhere(self, client, referrer):
        answer = client.post("/fail/409", headers={"Referer": referrer})

        assert 'class="btn primary wide" href="/"' in answer.text

    def test_below_api_the_hook_of_the_api_answers(self, app, client):
        app.extensions["api_error"] = lambda failure: ({"code": failure.code}, 418)

        assert client.get("/api/fail/409?detail=x").json == {"code": "conflict"}
        assert client.get("/api/nowhere").status_code == 418
        assert client.get("/fail/409?detail=x").status_code == 409


class TestPortalLayout:
    def test_shows_the_pages_that_exist_and_no_others(self, client):
        page = client.get("/invoices").text

        assert 'href="/invoices" aria-current="page"' in page
        assert 'href="/settings/wallets"' in page
        assert 'href="/clients"' not in page

    def test_escapes_the_name_of_the_business(self, client):
        page = client.get("/home").text

        assert "&lt;b&gt;Kopi&lt;/b&gt;" in page
        assert "<b>Kopi" not in page

    def test_follows_the_chosen_theme(self, client):
        assert "data-theme" not in client.get("/home").text
        assert 'data-theme="dark"' in client.get("/home?theme=dark").text
        assert "data-theme" not in client.get("/home?theme=%22%3E").text

    def test_has_landmarks_a_skip_link_and_a_sign_out_with_token(self, client):
        page = client.get("/home").text

        assert '<a class="skip" href="#main">' in page
        assert page.count("<main") == 1
        assert re.search(
            r'<form method="post" action="/logout">\s*<input type="hidden" name="csrf_token" value="\S{20}',
            page,
        )

    def test_shows_what_just_happened(self, client):
        assert "Invoice INV-1 is open for payment." in client.get("/home?flash=1").text


class TestCheckoutLayout:
    def test_sets_no_cookie_and_is_not_indexed(self, client):
        answer = client.get("/i/token")

        assert "Set-Cookie" not in answer.headers
        assert 'name="robots" content="noindex' in answer.text

    def test_is_light(self, client):
        page = client.get("/i/token").text

        names = re.findall(r'(?:href|src)="/static/((?:css|js)/[\w.-]+)', page)
        weight = len(gzip.compress(page.encode()))
        weight += sum(len(gzip.compress((ROOT / "static" / name).read_bytes())) for name in names)
        assert {"css/checkout.css", "js/checkout.js"} <= set(names)
        # Half of it is left to what the page itself says.
        assert weight <= CHECKOUT_BYTES_MAX / 2


class TestMacros:
    def test_forms_carry_a_token_and_a_summary(self, app):
        page = render(
            app,
            '{% from "macros/forms.html" import form, submit %}{% call form("/x") %}{{ submit("Go") }}{% endcall %}',
        )

        assert 'name="csrf_token"' in page
        assert 'action="/x"' in page

    def test_inputs_name_their_errors(self, app):
        page = render(
            app,
            '{% from "macros/forms.html" import input %}'
            '{{ input("code", "Code", errors=["That code is not right."], inputmode="numeric", data_x="<y>") }}',
        )

        assert 'aria-describedby="code-error-1" aria-invalid="true"' in page
        assert 'id="code-error-1">That code is not right.' in page
        assert 'data-x="&lt;y&gt;"' in page

    def test_amounts_name_their_asset(self, app):
        page = render(
            app,
            '{% from "macros/money.html" import amount %}{{ amount(value, "native") }}',
            value=Decimal(412),
        )

        assert page == '<bdi class="num" dir="ltr">412.00 XLM</bdi>'

    def test_hashes_are_whole_for_ear_and_clipboard(self, app):
        page = render(
            app, '{% from "macros/hash.html" import short_hash %}{{ short_hash(value) }}', value="ab" * 32
        )

        assert "abab…abab" in page
        assert f'<span class="sr-only">{"ab" * 32}</span>' in page
        assert f'data-copy="{"ab" * 32}"' in page

    def test_dangerous_buttons_ask_first(self, app):
        page = render(
            app,
            '{% from "macros/forms.html" import confirm_button %}'
            '{{ confirm_button("/x", "Cancel", "Cancel INV-1?", "Cancel invoice") }}',
        )

        assert "data-confirm" in page
        assert page.index("Cancel INV-1?") < page.index('action="/x"')
        assert "Cancel invoice</button>" in page

    def test_tables_have_a_caption_and_scoped_headers(self, app):
        page = render(
            app,
            '{% from "macros/table.html" import table %}'
            '{% call table("Invoices", ["Number", ("Amount", "end")]) %}<tr><td>1</td></tr>{% endcall %}',
        )

        assert '<caption class="sr-only">Invoices</caption>' in page
        assert '<th scope="col" class="end">Amount</th>' in page

    def test_paging_says_nothing_when_there_is_one_page(self, app):
        assert render(app, '{% from "macros/pager.html" import pager %}{{ pager() }}').strip() == ""


def test_templates_render_outside_a_request_too(app):
    with app.app_context():
        assert render_template_string("{{ value | money }}", value="1") == "1.00"


def test_every_template_compiles(app):
    names = app.jinja_env.list_templates(
        filter_func=lambda name: name.split("/")[0] in ("layouts", "macros", "errors")
    )

    assert len(names) >= 15
    for name in names:
        assert app.jinja_env.get_template(name)
