"""Who may call what: keys, scopes, networks, closed businesses, limits."""

from base64 import b64encode
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from config import Config
from portal.app import create_app
from portal.db import run_transaction
from portal.domain.api_keys import queries as api_keys
from portal.domain.api_keys import service
from portal.domain.api_keys.rules import parse_key
from portal.domain.audit.models import AuditEntry
from portal.domain.merchants.models import Merchant
from portal.extensions import db, redis
from portal.kernel.refs import to_ref
from tests.api.callers import problem

SCOPE_OF_ROUTE = [
    ("GET", "/invoices", "invoices:read"),
    ("POST", "/invoices", "invoices:write"),
    ("GET", "/invoices/inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB", "invoices:read"),
    ("PATCH", "/invoices/inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB", "invoices:write"),
    ("POST", "/invoices/inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB/issue", "invoices:write"),
    ("POST", "/invoices/inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB/cancel", "invoices:write"),
    ("POST", "/invoices/inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB/submissions", "invoices:write"),
    ("GET", "/submissions/sub_01JD4W6Q3Y8N5K2R7T9V0X1ZAB", "invoices:read"),
    ("GET", "/payments", "payments:read"),
    ("GET", "/payments/pay_01JD4W6Q3Y8N5K2R7T9V0X1ZAB", "payments:read"),
    ("GET", "/clients", "clients:read"),
    ("POST", "/clients", "clients:write"),
    ("GET", "/clients/cli_01JD4W6Q3Y8N5K2R7T9V0X1ZAB", "clients:read"),
    ("PATCH", "/clients/cli_01JD4W6Q3Y8N5K2R7T9V0X1ZAB", "clients:write"),
    ("GET", "/events", "events:read"),
]


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


class TestCredentials:
    def test_takes_basic_with_the_key_as_password(self, caller):
        for user in ("", "till 3"):
            response = caller.send("GET", "/invoices", headers={"Authorization": basic(user, caller.key)})
            assert response.status_code == 200

    def test_minds_no_case_of_the_scheme(self, caller):
        response = caller.send("GET", "/invoices", headers={"Authorization": f"bEARER  {caller.key}"})

        assert response.status_code == 200

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            "Basic",
            "Basic !!!",
            "Basic /////w==",
            basic("tgh", ""),
            "Token abc",
            "Bearer tgh_test_wrong",
            "Bearer caf\u00e9",
            "Bearer " + "x" * 100_000,
        ],
    )
    def test_refuses_what_is_no_key(self, api_app, header):
        headers = {} if header is None else {"Authorization": header}

        response = api_app.test_client().get("/api/v1/invoices", headers=headers)

        assert (response.status_code, problem(response)["code"]) in {
            (401, "credentials_missing"),
            (401, "invalid_api_key"),
        }
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    def test_refuses_a_key_with_one_character_changed(self, caller):
        body = caller.key[:-1] + ("a" if caller.key[-1] != "a" else "b")

        response = caller.send("GET", "/invoices", headers={"Authorization": f"Bearer {body}"})

        assert problem(response)["code"] == "invalid_api_key"

    def test_refuses_a_revoked_key_at_once(self, caller, api_app):
        assert caller.get("/invoices").status_code == 200
        with api_app.app_context():
            caller.shop.enter()
            _, key_id = api_keys.resolve_prefix(parse_key(caller.key).prefix)
            now = datetime.now(UTC)
            run_transaction(lambda: service.revoke_key(merchant_id=caller.shop.id, key_id=key_id, now=now))

        assert problem(caller.get("/invoices"))["code"] == "invalid_api_key"

    def test_a_session_cookie_opens_nothing(self, caller):
        client = caller.app.test_client()
        client.set_cookie("tagih_session", "anything")

        assert client.get("/api/v1/invoices").status_code == 401
        assert client.post("/api/v1/invoices", json={"amount": "1"}).status_code == 401


class TestScopes:
    @pytest.mark.parametrize(("method", "path", "scope"), SCOPE_OF_ROUTE)
    def test_names_the_scope_a_key_lacks(self, new_caller, method, path, scope):
        others = [each for each in service.rules.SCOPES if each != scope]
        lacking = new_caller(scopes=others, funded=False)

        response = lacking.send(method, path, json={} if method != "GET" else None)

        document = problem(response)
        assert (document["status"], document["code"]) == (403, "insufficient_scope")
        assert scope in document["detail"]
        assert f'scope="{scope}"' in response.headers["WWW-Authenticate"]

    def test_every_route_is_in_the_table(self, api_app):
        from portal.api.v1.openapi import openapi_document

        with api_app.app_context():
            paths = openapi_document(api_app)["paths"]

        routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
        listed = set()
        for method, path, _ in SCOPE_OF_ROUTE:
            parts = ["{ref}" if "_" in part else part for part in path.split("/")]
            listed.add((method, "/api/v1" + "/".join(parts)))
        assert routes == listed


class TestMerchants:
    @pytest.mark.parametrize("status", ["SUSPENDED", "CLOSED"])
    def test_refuses_a_business_that_is_not_active(self, caller, api_app, status):
        with api_app.app_context():
            caller.shop.enter()
            change = update(Merchant).where(Merchant.id == caller.shop.id).values(status=status)
            run_transaction(lambda: db.session.execute(change))

        document = problem(caller.post("/invoices", {"amount": "1"}))

        assert (document["status"], document["code"]) == (403, "merchant_inactive")

    def test_the_key_is_the_actor_of_the_audit_row(self, caller, as_worker):
        invoice = caller.make_invoice(issue=False)

        entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.object_ref == invoice["id"])).one()

        caller_key = api_keys.resolve_prefix(parse_key(caller.key).prefix)[1]
        assert entry.actor == to_ref("key", caller_key)
        assert entry.request_id

    def test_the_last_use_of_a_key_is_noted(self, caller, as_worker):
        caller.get("/invoices")

        key_id = api_keys.resolve_prefix(parse_key(caller.key).prefix)[1]
        assert api_keys.get_key(caller.shop.id, key_id).last_used_at is not None


class TestLimits:
    def test_shows_what_is_left(self, caller):
        first, second = caller.get("/invoices"), caller.get("/invoices")

        assert int(first.headers["RateLimit-Limit"]) > 100
        left = [int(each.headers["RateLimit-Remaining"]) for each in (first, second)]
        assert left[1] in {left[0] - 1, int(first.headers["RateLimit-Limit"]) - 1}
        assert 0 < int(first.headers["RateLimit-Reset"]) <= 60

    def test_turns_a_key_away_that_used_its_share_and_nobody_else(self, caller, new_caller, api_app):
        api_app.config["API_REQUESTS_PER_MINUTE"] = 2
        try:
            answers = [caller.get("/invoices") for _ in range(6)]
            other = new_caller().get("/invoices")
        finally:
            del api_app.config["API_REQUESTS_PER_MINUTE"]

        # A minute may turn over in between, so that a key gets two shares.
        refused = [each for each in answers if each.status_code == 429]
        assert 2 <= len(refused) <= 4 and other.status_code == 200
        assert problem(refused[0])["code"] == "rate_limited"
        assert refused[0].headers["RateLimit-Remaining"] == "0"
        assert refused[0].headers["Retry-After"] == refused[0].headers["RateLimit-Reset"]


class TestUnknownAddresses:
    def test_answers_in_problem_documents(self, caller):
        missing = caller.get("/nothing")
        wrong = caller.send("DELETE", "/invoices")

        assert (missing.status_code, problem(missing)["code"]) == (404, "not_found")
        assert (wrong.status_code, problem(wrong)["code"]) == (405, "method_not_allowed")
        assert {"GET", "POST"} <= set(wrong.headers["Allow"].split(", "))
        assert caller.app.test_client().post("/api/nothing").content_type == "application/problem+json"


class TestWithoutRedis:
    def test_nobody_is_turned_away_while_nothing_can_be_counted(self, caller, api_app, environment):
        away = Config.checked("web", environment | {"REDIS_URL": "redis://127.0.0.1:9/0"})
        caller.app = create_app(away)
        try:
            response = caller.post("/invoices", {"amount": "1"}, key="k")
        finally:
            # The client of a process belongs to the app that was made last.
            redis.init_app(api_app)

        assert response.status_code == 201
        assert "RateLimit-Limit" not in response.headers
