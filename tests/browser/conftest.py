"""The running portal of this worker, and pages whose complaints fail the test."""

from urllib.parse import urlsplit

import pytest

from tests.browser.running import run_portal

# Far from the numbers that other tests of the workers use: this portal counts its own sign-ins.
REDIS_DATABASE = 40
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="session")
def portal(process_environment, new_database, sandbox, worker_index, tmp_path_factory):
    """Web server, worker and sandbox on a database of their own."""
    database = new_database()
    redis_url = urlsplit(process_environment["REDIS_URL"])._replace(path=f"/{REDIS_DATABASE + worker_index}")
    environment = process_environment | {
        "DATABASE_URL": database.web,
        "DATABASE_WORKER_URL": database.worker,
        "DATABASE_OWNER_URL": database.owner,
        "REDIS_URL": redis_url.geturl(),
        "HORIZON_URL": sandbox.url,
        "VAR_DIR": str(tmp_path_factory.mktemp("portal")),
    }
    with run_portal(environment, tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture
def new_visitor(chromium):
    """Return a function that opens a browser context; errors, refused scripts and failed requests fail the test."""
    contexts, complaints = [], []

    def note_error(line) -> None:
        if line.type == "error":
            complaints.append(f"{line.location.get('url')}: {line.text}")

    def note_failure(request) -> None:
        # A request that leaving the page broke off is nobody's fault.
        if request.failure != "net::ERR_ABORTED":
            complaints.append(f"{request.url}: {request.failure}")

    def open_context(**options):
        context = chromium.new_context(**(DESKTOP | options))
        context.set_default_timeout(20_000)
        context.on("console", note_error)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("requestfailed", note_failure)
        contexts.append(context)
        return context

    yield open_context
    for context in contexts:
        context.close()
    assert complaints == []
