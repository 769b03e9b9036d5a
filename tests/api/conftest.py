"""The API as a program sees it: an app whose network is the sandbox, and callers with keys."""

from datetime import UTC, datetime
from typing import Any

import pytest

from config import Config
from portal.app import create_app
from portal.db import leave_tenant, run_transaction
from portal.domain.api_keys import service as api_keys
from portal.domain.api_keys.rules import SCOPES
from portal.extensions import db
from tests.api.callers import Caller, Payer
from tests.support.builders import Shop, make_shop


@pytest.fixture(scope="session")
def api_app(sandbox_environment):
    return create_app(Config.checked("web", sandbox_environment))


@pytest.fixture(scope="session")
def new_caller(api_app, payer):
    """Return a function that makes a shop, unless one is given, and a key of it."""

    def make(
        shop: Shop | None = None, *, scopes: list[str] | None = None, funded: bool = True, **columns: Any
    ) -> Caller:
        is_funded = shop is None and funded and columns.get("wallet", True)
        with api_app.app_context():
            shop = shop or make_shop(**columns)

            def work() -> str:
                shop.enter()
                return api_keys.create_key(
                    merchant_id=shop.id,
                    network="test",
                    name="Till",
                    scopes=scopes or list(SCOPES),
                    created_by=None,
                    expires_at=None,
                    now=datetime.now(UTC),
                )[1]

            key = run_transaction(work)
            leave_tenant()
            db.session.remove()
        if is_funded:
            payer.fund(shop.wallet)
        return Caller(api_app, shop, key)

    return make


@pytest.fixture
def caller(new_caller) -> Caller:
    return new_caller()


@pytest.fixture(scope="session")
def payer(sandbox) -> Payer:
    return Payer(sandbox.url)
