"""The web app on the bundled sandbox, for tests of wallets and of everything that asks the network."""

import pytest
from flask import Flask

from config import Config
from portal.app import create_app


@pytest.fixture(scope="session")
def sandbox_app(sandbox_environment) -> Flask:
    app = create_app(Config.checked("web", sandbox_environment))
    app.testing = True
    return app


@pytest.fixture(scope="session")
def sandbox_worker_app(sandbox_environment) -> Flask:
    return create_app(Config.checked("worker", sandbox_environment))
