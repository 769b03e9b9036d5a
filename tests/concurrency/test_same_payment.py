"""One payment, however often, by whichever hash and from wherever it is submitted."""

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import psycopg
import pytest
from stellar_sdk import Asset, IdMemo, Keypair, Server, TransactionBuilder

from config import SANDBOX_PASSPHRASE
from portal.db import run_transaction, transaction
from portal.domain.api_keys import service as api_keys
from portal.domain.invoices import service as invoices
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.payments import service as payments
from portal.domain.payments import submissions
from portal.extensions import db
from portal.kernel.refs import to_ref
from portal.sandbox.client import fund
from tests.support.builders import NETWORK, NOON, make_draft, make_invoice, make_shop, make_transfer
from tests.support.live import ROOT

PROCESSES = 4
REQUESTS = 200


def pay_by_fee_bump(horizon_url, invoice):
    """Pay `invoice` for real and return (outer hash, inner hash)."""
    payer, sponsor = Keypair.random(), Keypair.random()
    for pair in (payer, sponsor):
        fund(horizon_url, pair.public_key)
    with Server(horizon_url) as server:
        builder = TransactionBuilder(server.load_account(payer.public_key), SANDBOX_PASSPHRASE, base_fee=100)
        builder.append_payment_op(invoice.destination, Asset.native(), str(invoice.amount))
        inner = builder.add_memo(IdMemo(invoice.pay_ref)).set_timeout(120).build()
        inner.sign(payer)
        bump = TransactionBuilder.build_fee_bump_transaction(sponsor, 300, inner, SANDBOX_PASSPHRASE)
        bump.sign(sponsor)
        server.submit_transaction(bump)
    return bump.hash_hex(), inner.hash_hex()


def mixed_case(text, turn):
    return [text, text.upper(), text.title(), text.swapcase()][turn % 4]


@pytest.mark.timeout(180)
def test_two_hundred_submissions_of_one_fee_bumped_payment_count_once(
    live_portal, sandbox, worker_app, database, config_web
):
    with worker_app.app_context():
        shop = make_shop()
        fund(sandbox.url, shop.wallet)
        invoice = make_invoice(shop, now=datetime.now(UTC))
        _, key = run_transaction(
            lambda: api_keys.create_key(
                merchant_id=shop.id, network=NETWORK, name="race", scopes=["invoices:write"],
                created_by=shop.user_id, expires_at=None, now=datetime.now(UTC),
            )
        )  # fmt: skip
        api_url = f"{live_portal.url}/api/v1/invoices/{to_ref('inv', invoice.id)}/submissions"
    hashes = pay_by_fee_bump(sandbox.url, invoice)
    orders = []
    for turn in range(REQUESTS):
        submitted = mixed_case(hashes[turn % 2], turn // 2)
        if turn % 10 == 9:
            orders.append(
                {
                    "url": f"{live_portal.url}/i/{invoice.token}/submissions",
                    "form": {"transaction_hash": submitted},
                }
            )
        else:
            headers = {"Authorization": f"Bearer {key}"}
            orders.append({"url": api_url, "headers": headers, "json": {"transaction_hash": submitted}})

    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.hammer"],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]
    with ThreadPoolExecutor(PROCESSES) as pool:
        shares = [
            json.dumps({"threads": 8, "requests": orders[index::PROCESSES]}) for index in range(PROCESSES)
        ]
        answers = list(
            pool.map(lambda pair: pair[0].communicate(pair[1])[0], zip(children, shares, strict=True))
        )
    statuses = Counter(status for answer in answers for status in json.loads(answer))

    assert sum(statuses.values()) == REQUESTS
    assert max(statuses) < 500, (statuses, live_portal.log.read_text()[-6000:])
    # 202 where a process had enough look-ups under way.
    assert set(statuses) <= {200, 201, 202, 303, 429}, statuses
    assert statuses[201] <= 1, "at most one answer says that it credited"
    assert statuses[200] > REQUESTS // 2, statuses
    with psycopg.connect(database.superuser) as superuser:
        counts = superuser.execute(
            """
            SELECT (SELECT count(*) FROM payments WHERE merchant_id = %(m)s),
                (SELECT count(*) FROM ledger_journals WHERE merchant_id = %(m)s AND kind = 'allocation'),
                (SELECT count(*) FROM allocations WHERE merchant_id = %(m)s),
                (SELECT count(*) FROM events WHERE merchant_id = %(m)s AND type = 'invoice.paid'),
                (SELECT count(*) FROM events WHERE merchant_id = %(m)s AND type = 'payment.confirmed'),
                (SELECT count(*) FROM chain_transaction_hashes WHERE hash = ANY(%(hashes)s)),
                (SELECT status FROM invoices WHERE merchant_id = %(m)s)
            """,
            {"m": shop.id, "hashes": list(hashes)},
        ).fetchone()
    assert counts == (1, 1, 1, 1, 1, 2, "PAID")


def in_threads(app, number, work):
    """Run `work(index)` at the same moment in `number` threads, each with a session of its own."""
    barrier = Barrier(number)

    def run(index):
        with app.app_context():
            barrier.wait()
            return work(index)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


def test_unmatched_money_is_recorded_once_by_many_at_once(worker_app):
    with worker_app.app_context():
        shop = make_shop()
        transfer = make_transfer(make_invoice(shop), memo_type="none", memo=None)

    def record(_):
        def work():
            merchant = db.session.get_one(Merchant, shop.id)
            recorded = payments.record_transaction(
                merchant=merchant, network=NETWORK, transaction=transfer, now=NOON
            )
            return len(recorded.new_payment_ids)

        return run_transaction(work)

    assert sorted(in_threads(worker_app, 8, record)) == [0] * 7 + [1]


def test_a_claim_in_flight_does_not_hold_up_the_recording_of_its_payment(worker_app):
    with worker_app.app_context():
        shop = make_shop()
        invoice = make_invoice(shop)
        transfer = make_transfer(invoice)

    def record(_):
        def work():
            merchant = db.session.get_one(Merchant, shop.id)
            return payments.record_transaction(
                merchant=merchant, network=NETWORK, transaction=transfer, now=NOON
            )

        return len(run_transaction(work).new_payment_ids)

    with worker_app.app_context(), transaction():
        # Its foreign key holds the invoice; one who waits for it and is waited for would be a deadlock.
        submissions.open_submission(
            merchant_id=shop.id, network=NETWORK, invoice_id=invoice.id, transaction_hash="ab" * 32,
            origin="api", now=NOON,
        )  # fmt: skip
        assert in_threads(worker_app, 1, record) == [1]


def test_many_payments_of_one_invoice_at_once_never_allocate_more_than_its_amount(worker_app):
    with worker_app.app_context():
        shop = make_shop()
        invoice = make_invoice(shop, amount="90")
        transfers = [make_transfer(invoice, amount="40") for _ in range(8)]

    def record(index):
        def work():
            merchant = db.session.get_one(Merchant, shop.id)
            payments.record_transaction(
                merchant=merchant, network=NETWORK, transaction=transfers[index], now=NOON
            )

        run_transaction(work)

    in_threads(worker_app, 8, record)

    with worker_app.app_context():
        paid = db.session.get_one(type(invoice), invoice.id)
        assert (paid.status, paid.amount_received, paid.overpaid_by) == ("PAID", 90, 230)


def test_numbers_are_gapless_when_many_issue_at_once_and_some_give_up(worker_app):
    with worker_app.app_context():
        shop = make_shop()

    def issue(index):
        def work():
            merchant = db.session.get_one(Merchant, shop.id)
            wallet = db.session.scalars(db.select(Wallet).where(Wallet.merchant_id == shop.id)).one()
            written = invoices.create(
                merchant=merchant, network=NETWORK, draft=make_draft(), client=None,
                terms=invoices.IssueTerms(wallet), now=NOON,
            )  # fmt: skip
            if index % 4 == 3:
                raise RuntimeError("changed my mind")
            return written.invoice.number

        try:
            return run_transaction(work)
        except RuntimeError:
            return None

    numbers = sorted(number for number in in_threads(worker_app, 16, issue) if number)

    assert numbers == [f"INV-2026-11-{value:04d}" for value in range(1, 13)]
