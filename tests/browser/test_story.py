"""The main job from sign-up to Paid, in a real browser over real servers and a real signed transaction."""

import json
import re
import secrets
import time
import urllib.request

import pytest
from pymongo import MongoClient
from stellar_sdk import Asset, Keypair, Server, TransactionBuilder

from portal.adapters.mongo import DATABASE
from portal.embedded.processes import wait_until
from tests.browser import people
from tests.browser.conftest import PHONE

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
SOON_SECONDS = 20
TOTAL = "155.40 XLM"


def call(portal, key, path, body=None):
    """Ask the API and return (status, JSON)."""
    request = urllib.request.Request(
        f"{portal.url}/api/v1{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {key}", "Content-Type": "application/json",
            "Idempotency-Key": secrets.token_hex(8),
        },
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, json.load(answer)


def pay(portal, invoice) -> str:
    """Pay what is due on a native invoice from a new account, with the SDK alone."""
    server, payer = Server(portal.horizon), Keypair.random()
    urllib.request.urlopen(f"{portal.horizon}/friendbot?addr={payer.public_key}", timeout=20).close()
    passphrase = portal.environment["STELLAR_NETWORK_PASSPHRASE"]
    builder = TransactionBuilder(server.load_account(payer.public_key), passphrase, 100)
    builder.append_payment_op(invoice["pay_to"]["address"], Asset.native(), invoice["amount_due"])
    transaction = builder.add_id_memo(int(invoice["pay_to"]["memo"])).set_timeout(60).build()
    transaction.sign(payer)
    return server.submit_transaction(transaction)["hash"]


def mirrored(portal, transaction_hash) -> list[dict]:
    """Return the mirror's documents about this transaction, once there are some."""
    found: list[dict] = []

    def is_there() -> bool:
        logs = mongo.get_default_database(DATABASE)["payment_logs"]
        found[:] = [each for each in logs.find({}) if transaction_hash in json.dumps(each, default=str)]
        return bool(found)

    with MongoClient(portal.environment["MONGO_URL"], serverSelectionTimeoutMS=5000) as mongo:
        assert wait_until(is_there, seconds=SOON_SECONDS), "the payment was not mirrored"
    return found


def test_a_newcomer_is_paid_without_anybody_pasting_anything(portal, new_visitor):
    merchant = new_visitor().new_page()
    people.sign_up(merchant, portal)
    people.prove_demo_wallet(merchant, portal)
    checkout = people.issue_invoice(merchant, portal)
    payer = new_visitor(**PHONE)
    watching = payer.new_page()
    watching.goto(checkout)
    assert TOTAL in watching.locator("main, .bill").first.inner_text()
    wallet = payer.new_page()
    wallet.goto(checkout)

    transaction_hash = people.pay_in_sandbox_wallet(wallet)

    watching.get_by_role("heading", name="Paid", exact=True).wait_for()
    assert transaction_hash in watching.locator("main").inner_text()
    wallet.get_by_role("link", name=re.compile("^Back to 127")).last.click()
    wallet.get_by_role("heading", name="Paid", exact=True).wait_for()
    # The merchant's page was left open and follows by itself.
    merchant.get_by_role("heading", name=f"Paid {TOTAL}").wait_for()
    shown = f"{transaction_hash[:4]}…{transaction_hash[-4:]}"
    assert shown in merchant.get_by_role("table", name="Payments of this invoice").inner_text()
    documents = mirrored(portal, transaction_hash)
    assert [each["status"] for each in documents] == ["CONFIRMED"]


def test_a_pasted_hash_is_enough_while_the_watcher_is_away(portal, new_visitor):
    merchant = new_visitor().new_page()
    people.sign_up(merchant, portal)
    people.prove_demo_wallet(merchant, portal)
    checkout = people.issue_invoice(merchant, portal)
    payer = new_visitor().new_page()
    with portal.worker_stopped():
        payer.goto(checkout)
        transaction_hash = people.pay_in_sandbox_wallet(payer)
        payer.goto(checkout)
        payer.get_by_text("I have paid").click()
        payer.get_by_label("Transaction hash").fill(transaction_hash.upper())

        payer.get_by_role("button", name="Check my payment").click()

        payer.get_by_role("heading", name="Paid", exact=True).wait_for()
        assert transaction_hash in payer.locator("main").inner_text()
    merchant.get_by_role("heading", name=f"Paid {TOTAL}").wait_for()


def test_everything_works_up_to_paid_without_scripts(portal, new_visitor):
    merchant = new_visitor(java_script_enabled=False).new_page()
    people.sign_up(merchant, portal)
    people.prove_demo_wallet(merchant, portal)
    checkout = people.issue_invoice(merchant, portal)
    payer = new_visitor(java_script_enabled=False, **PHONE).new_page()
    payer.goto(checkout)

    people.pay_in_sandbox_wallet(payer)
    payer.get_by_role("link", name=re.compile("^Back to 127")).last.click()

    paid = payer.get_by_role("heading", name="Paid", exact=True)
    ends_at = time.monotonic() + SOON_SECONDS
    # The page renews itself every 15 seconds; a person who is faster reloads it.
    while not paid.is_visible() and time.monotonic() < ends_at:
        payer.reload()
    assert paid.is_visible()
    merchant.reload()
    assert merchant.get_by_role("heading", name=f"Paid {TOTAL}").is_visible()


def test_a_key_made_in_the_portal_does_the_same_job(portal, new_visitor):
    page = new_visitor().new_page()
    people.sign_up(page, portal)
    people.prove_demo_wallet(page, portal)
    key = people.make_api_key(page, portal)
    status, invoice = call(
        portal, key, "/invoices",
        {"asset": "native", "items": [{"description": "Arabica", "quantity": "3", "unit_price": "42"}],
         "taxes": [{"label": "PPN", "percent": "11"}], "issue": True},
    )  # fmt: skip
    assert (status, invoice["status"], invoice["amount"]) == (201, "PENDING", "139.8600000")

    transaction_hash = pay(portal, invoice)

    def is_paid() -> bool:
        return call(portal, key, f"/invoices/{invoice['id']}")[1]["status"] == "PAID"

    assert wait_until(is_paid, seconds=SOON_SECONDS)
    status, submission = call(
        portal, key, f"/invoices/{invoice['id']}/submissions", {"transaction_hash": transaction_hash}
    )
    assert (status, submission["state"]) == (200, "ACCEPTED")
    _, payments = call(portal, key, "/payments")
    assert [each["transaction_hash"] for each in payments["data"]] == [transaction_hash]
    page.goto(f"{portal.url}/invoices")
    assert invoice["number"] in page.get_by_role("table").inner_text()
