"""A bundled Horizon for the tests of this worker, whose ledger closes 20 times a second."""

import pytest

from config import SANDBOX_PASSPHRASE
from portal.sandbox.server import start_in_thread

CLOSE_SECONDS = 0.05


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """The running sandbox: `.url`, `.ledger`, `.stop()`."""
    running = start_in_thread(
        tmp_path_factory.mktemp("sandbox") / "ledger.sqlite",
        passphrase=SANDBOX_PASSPHRASE,
        close_seconds=CLOSE_SECONDS,
    )
    yield running
    running.stop()


@pytest.fixture(scope="session")
def sandbox_environment(environment, sandbox) -> dict[str, str]:
    """The variables with the sandbox as the network."""
    return environment | {"HORIZON_URL": sandbox.url}
