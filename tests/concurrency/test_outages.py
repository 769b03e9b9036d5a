"""Losing Redis, MongoDB or Horizon slows a page down; it loses no payment and doubles none."""

import os
import re
import signal
import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import requests
from stellar_sdk import IdMemo, Keypair

from config import SANDBOX_PASSPHRASE
from portal.db import leave_tenant, run_transaction
from portal.domain.merchants.models import UserSession
from portal.extensions import db
from portal.kernel.tokens import digest, new_token
from portal.sandbox.client import fund, play_payment
from tests.support.builders import NETWORK, make_invoice, make_shop
from tests.support.live import LivePortal, free_port

WAIT_SECONDS = 20


def until(ask, *, what):
    """Ask again until the answer is true; a test that waits for ever helps nobody."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.1)
    pytest.fail(f"waited {WAIT_SECONDS} s for {what}")


@pytest.fixture
def start_portal(sandbox_environment, tmp_path):
    """Return a function that starts a portal with some variables changed."""
    running = []

    def start(**changes):
        url = f"http://127.0.0.1:{free_port()}"
        environment = {**sandbox_environment, "PUBLIC_BASE_URL": url, "VAR_DIR": str(tmp_path), **changes}
        portal = LivePortal(url, environment, tmp_path / "portal.log")
        portal.start_web()
        running.append(portal)
        return portal

    yield start
    for portal in running:
        portal.stop()


def signed_in(worker_app, shop):
    token = new_token(256)
    now = datetime.now(UTC)

    def work():
        shop.enter()
        session = UserSession(
            id_hash=digest(token), user_id=shop.user_id, merchant_id=shop.id, network=NETWORK,
            confirmed_at=now, last_seen_at=now, expires_at=now.replace(year=now.year + 1),
        )  # fmt: skip
        db.session.add(session)

    with worker_app.app_context():
        run_transaction(work)
        leave_tenant()
    browser = requests.Session()
    browser.cookies.set("tagih_session", token)
    return browser


def form_token(browser, url):
    return re.search(r'name="csrf_token" value="([^"]+)"', browser.get(url, timeout=10).text)[1]


def issue_in_browser(browser, portal):
    """Create and issue an invoice through the form and return the address of its page."""
    new = f"{portal.url}/invoices/new"
    page = browser.get(new, timeout=10)
    assert page.status_code == 200, page.text[:500]
    answer = browser.post(
        f"{new}/issue",
        data={
            "csrf_token": form_token(browser, new), "items-0-description": "Beans", "items-0-quantity": "2",
            "items-0-unit_price": "4.5", "asset": "native",
        },
        allow_redirects=False, timeout=20,
    )  # fmt: skip
    assert answer.status_code in {302, 303}, answer.text[:3000]
    return requests.compat.urljoin(portal.url, answer.headers["Location"])


@pytest.mark.timeout(120)
def test_pages_and_payments_go_on_when_redis_is_killed(start_portal, private_services, worker_app, sandbox):
    servers = private_services("valkey")
    portal = start_portal(REDIS_URL=servers.urls()["REDIS_URL"])
    portal.start_worker("watch", "relay", "verify")
    with worker_app.app_context():
        shop = make_shop()
    for address in (shop.wallet, (payer := Keypair.random()).public_key):
        fund(sandbox.url, address)
    browser = signed_in(worker_app, shop)
    assert browser.get(f"{portal.url}/invoices", timeout=10).status_code == 200

    os.kill(servers.valkey.process.pid, signal.SIGKILL)
    servers.valkey.process.wait()
    detail = issue_in_browser(browser, portal)
    page = browser.get(detail, timeout=10).text
    checkout = re.search(rf"{re.escape(portal.url)}/i/[\w-]+", page)[0]
    memo = re.search(r"\b(\d{12})\b", re.sub(r"\s", " ", page))[1]
    play_payment(
        sandbox.url, SANDBOX_PASSPHRASE, payer.secret, shop.wallet, "native", Decimal(9), IdMemo(int(memo))
    )
    status = until(
        lambda: (
            (found := requests.get(f"{checkout}/status", timeout=10).json())["status"] == "PAID" and found
        ),
        what="the payment to be seen",
    )
    pages = [
        requests.get(checkout, timeout=10),
        browser.get(detail, timeout=10),
        browser.get(f"{portal.url}/home", timeout=10),
    ]

    assert status["amount_received"] == "9.0000000"
    assert [answer.status_code for answer in pages] == [200, 200, 200]
    assert requests.get(f"{portal.url}/readyz", timeout=20).json()["redis"]["ok"] is False


@pytest.mark.timeout(120)
def test_a_hash_submitted_while_horizon_is_away_is_followed_until_it_answers(
    start_portal, worker_app, sandbox
):
    port = free_port()
    portal = start_portal(HORIZON_URL=f"http://127.0.0.1:{port}")
    with worker_app.app_context():
        shop = make_shop()
        invoice = make_invoice(shop, now=datetime.now(UTC), amount="9")
    for address in (shop.wallet, (payer := Keypair.random()).public_key):
        fund(sandbox.url, address)
    transaction_hash = play_payment(
        sandbox.url,
        SANDBOX_PASSPHRASE,
        payer.secret,
        shop.wallet,
        "native",
        Decimal(9),
        IdMemo(invoice.pay_ref),
    )
    checkout = f"{portal.url}/i/{invoice.token}"

    answer = requests.post(
        f"{checkout}/submissions",
        data={"transaction_hash": transaction_hash},
        allow_redirects=False,
        timeout=20,
    )
    waiting = requests.get(f"{checkout}/status", timeout=10).json()
    portal.environment["HORIZON_URL"] = sandbox.url
    portal.start_worker("verify")
    paid = until(
        lambda: (
            (found := requests.get(f"{checkout}/status", timeout=10).json())["status"] == "PAID" and found
        ),
        what="the submission to be verified",
    )

    assert answer.status_code == 303
    assert (waiting["status"], waiting["submission"]["state"]) == ("PENDING", "CHECKING")
    assert paid["amount_received"] == "9.0000000"


@pytest.mark.parametrize(
    ("change", "code"),
    [("other_wallet", "wrong_destination"), ("wrong_memo", "unknown_reference"), ("no_memo", "no_reference")],
)
def test_a_false_claim_credits_nothing_and_blocks_nobody(live_portal, worker_app, sandbox, change, code):
    with worker_app.app_context():
        shop, other = make_shop(), make_shop()
        invoice = make_invoice(shop, now=datetime.now(UTC), amount="9")
    payer = Keypair.random()
    for address in (shop.wallet, other.wallet, payer.public_key):
        fund(sandbox.url, address)

    def pay(destination, memo):
        return play_payment(
            sandbox.url, SANDBOX_PASSPHRASE, payer.secret, destination, "native", Decimal(9), memo
        )

    false = {
        "other_wallet": lambda: pay(other.wallet, IdMemo(invoice.pay_ref)),
        "wrong_memo": lambda: pay(shop.wallet, IdMemo(853323870197)),
        "no_memo": lambda: pay(shop.wallet, None),
    }[change]()
    checkout = f"{live_portal.url}/i/{invoice.token}"

    def submit(transaction_hash):
        answer = requests.post(
            f"{checkout}/submissions", data={"transaction_hash": transaction_hash}, timeout=20
        )
        return answer, requests.get(f"{checkout}/status", timeout=10).json()

    page, refused = submit(false)
    true = pay(shop.wallet, IdMemo(invoice.pay_ref))
    _, paid = submit(true)

    assert page.status_code == 200
    assert (refused["status"], refused["amount_received"], refused["submission"]["code"]) == (
        "PENDING", "0.0000000", code,
    )  # fmt: skip
    assert (paid["status"], paid["amount_received"]) == ("PAID", "9.0000000")
