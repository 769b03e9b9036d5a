"""Failures of ours are problem documents too, and say when to come back."""

import pytest
from flask import g
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from werkzeug.exceptions import InternalServerError, RequestEntityTooLarge

from config import Config
from portal.api.v1 import errors
from portal.app import create_app
from tests.api.callers import problem


class TestHandle:
    @pytest.mark.parametrize(
        ("failure", "status", "code"),
        [
            (RuntimeError("secret"), 500, "internal_error"),
            (InternalServerError(original_exception=RuntimeError("secret")), 500, "internal_error"),
            (InternalServerError(original_exception=IntegrityError("secret", {}, Exception())), 500, "internal_error"),
            (InternalServerError(original_exception=OperationalError("secret", {}, Exception())), 500, "internal_error"),
            (InternalServerError(original_exception=DataError("secret", {}, Exception())), 422, "invalid"),
            (RequestEntityTooLarge(), 413, "body_too_large"),
        ],
    )  # fmt: skip
    def test_tells_nothing_of_the_inside(self, api_app, failure, status, code):
        with api_app.test_request_context("/api/v1/invoices"):
            g.request_id = "request-1"
            response = errors.handle(failure)

        assert (response.status_code, response.get_json()["code"]) == (status, code)
        assert response.get_json()["request_id"] == "request-1"
        assert b"secret" not in response.data


class TestDatabaseAway:
    def test_asks_to_come_back(self, caller, environment):
        away = environment | {"DATABASE_URL": "postgresql://portal_web@127.0.0.1:9/none"}
        caller.app = create_app(Config.checked("web", away))

        response = caller.get("/invoices")

        assert (response.status_code, problem(response)["code"]) == (503, "unavailable")
        assert int(response.headers["Retry-After"]) > 0
