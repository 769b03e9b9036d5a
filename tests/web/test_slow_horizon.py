"""A Horizon that answers nobody keeps a few look-ups and no page: real web server, real threads."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from sqlalchemy import select

from config import SANDBOX_PASSPHRASE
from portal.adapters.chain import look_up_place
from portal.db import leave_tenant, run_transaction
from portal.domain.api_keys import service as api_keys
from portal.domain.payments.models import Submission
from portal.extensions import db
from portal.kernel.chain import ChainUnavailable
from portal.kernel.refs import to_ref
from tests.cases.served import serving
from tests.support.builders import NETWORK, make_invoice, make_shop
from tests.support.live import LivePortal, free_port

LOOK_UPS = 4
CLAIMS = 12
WAIT_SECONDS = 20


class Silence:
    """Holds every answer about a transaction until it is broken, and counts who waits."""

    def __init__(self) -> None:
        self.broken = threading.Event()
        self._lock = threading.Lock()
        self.waiting = 0

    def __call__(self, path: str, status: int, body: Any) -> tuple[int, dict[str, str], Any]:
        with self._lock:
            self.waiting += 1
        self.broken.wait(WAIT_SECONDS * 2)
        return status, {}, body


@pytest.fixture
def silent():
    """A Horizon that tells its network and nothing else."""
    with serving() as served:
        served.add("/", {"network_passphrase": SANDBOX_PASSPHRASE, "history_latest_ledger": 9})
        silence = Silence()
        served.spoil = silence
        yield served.url, silence
        silence.broken.set()


@pytest.fixture
def portal(environment, silent, tmp_path):
    """One web process of eight threads whose network is the silent Horizon."""
    url = f"http://127.0.0.1:{free_port()}"
    changes = {"HORIZON_URL": silent[0], "PUBLIC_BASE_URL": url, "VAR_DIR": str(tmp_path)}
    running = LivePortal(url, {**environment, **changes}, tmp_path / "portal.log")
    running.start_web()
    yield running
    running.stop()


@pytest.fixture
def checkout(worker_app):
    """An open invoice, a key of its shop, and the app to look at what became of it."""
    with worker_app.app_context():
        shop = make_shop()
        invoice = make_invoice(shop, now=datetime.now(UTC))

        def work() -> str:
            shop.enter()
            return api_keys.create_key(
                merchant_id=shop.id, network=NETWORK, name="Till", scopes=["invoices:write"],
                created_by=None, expires_at=None, now=datetime.now(UTC),
            )[1]  # fmt: skip

        key = run_transaction(work)
        yield invoice, key
        leave_tenant()
        db.session.remove()


def until(ask, *, what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not ask():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS} s for {what}"
        time.sleep(0.02)


def test_a_silent_horizon_holds_four_threads_and_no_page(portal, silent, checkout):
    silence, (invoice, key) = silent[1], checkout
    claims_url = f"{portal.url}/api/v1/invoices/{to_ref('inv', invoice.id)}/submissions"

    def claim(number: int) -> requests.Response:
        return requests.post(
            claims_url,
            json={"transaction_hash": f"{number:064x}"},
            headers={"Authorization": f"Bearer {key}"},
            timeout=WAIT_SECONDS * 2,
        )

    with ThreadPoolExecutor(CLAIMS) as pool:
        claims: list[Future[requests.Response]] = [pool.submit(claim, number) for number in range(CLAIMS)]
        until(lambda: silence.waiting == LOOK_UPS, what="the look-ups to begin")
        pages = [
            requests.get(f"{portal.url}{path}", timeout=WAIT_SECONDS).status_code
            for path in ("/healthz", f"/i/{invoice.token}", f"/i/{invoice.token}/status", "/login") * 2
        ]
        wait(claims, timeout=WAIT_SECONDS)
        answers = [each.result().status_code for each in claims]

    # Twelve claims and eight threads, yet Horizon never saw more than four, and none of them was let go.
    assert silence.waiting == LOOK_UPS
    assert pages == [200] * 8
    assert answers == [202] * CLAIMS
    found = db.session.scalars(select(Submission.state).where(Submission.invoice_id == invoice.id)).all()
    assert found == ["CHECKING"] * CLAIMS


def test_a_worker_has_as_many_look_ups_as_it_likes(as_worker):
    with ExitStack() as taken:
        for _ in range(LOOK_UPS * 5):
            taken.enter_context(look_up_place())


def test_a_web_process_has_four(as_web):
    with ExitStack() as taken:
        for _ in range(LOOK_UPS):
            taken.enter_context(look_up_place())
        with pytest.raises(ChainUnavailable), look_up_place():
            pytest.fail("a fifth look-up began")
