"""One row in every table, written through the real services where they exist, for tests of the schema."""

from datetime import timedelta
from decimal import Decimal

from sqlalchemy import text

from portal.db import run_transaction
from portal.domain.clients.models import Client
from portal.domain.invoices import service as invoices
from portal.domain.invoices.rules import Discount, Tax
from portal.domain.ledger import service as ledger
from portal.domain.merchants.models import Merchant
from portal.domain.payments import service as payments
from portal.domain.payments import submissions
from portal.extensions import db
from portal.kernel.refs import new_id
from tests.support.builders import NETWORK, NOON, Shop, make_invoice, make_shop, make_transfer

_REST = """
INSERT INTO wallet_assets (id, merchant_id, wallet_id, asset, ready, checked_at)
    SELECT gen_random_uuid(), merchant_id, id, 'native', true, now() FROM wallets WHERE merchant_id = :merchant;
INSERT INTO user_sessions (id, id_hash, user_id, merchant_id, network, confirmed_at, last_seen_at, expires_at)
    VALUES (gen_random_uuid(), md5(random()::text), :user, :merchant, 'test', now(), now(), now() + interval '1 day');
INSERT INTO one_time_codes (id, user_id, purpose, code_hash, expires_at)
    VALUES (gen_random_uuid(), :user, 'verify_email', 'x', now());
INSERT INTO wallet_challenges (id, merchant_id, network, address, nonce_hash, envelope_xdr, expires_at)
    VALUES (gen_random_uuid(), :merchant, 'test', :address, md5(random()::text), 'AAAA', now());
INSERT INTO api_keys (id, merchant_id, network, name, prefix, last_four, secret_hash, scopes, created_by)
    VALUES (gen_random_uuid(), :merchant, 'test', 'shop', substr(md5(random()::text), 1, 8), 'abcd', 'x', '{}', :user);
INSERT INTO idempotency_keys (merchant_id, network, route, key, body_hash, response_status, response_headers,
        response_body)
    VALUES (:merchant, 'test', '/r', md5(random()::text), 'x', 201, '{}', '');
INSERT INTO event_feed (merchant_id, network, seq, event_id)
    SELECT merchant_id, network, 1, id FROM events WHERE merchant_id = :merchant ORDER BY id LIMIT 1;
INSERT INTO external_payments (id, merchant_id, network, invoice_id, asset, amount, method, reason, received_on)
    SELECT gen_random_uuid(), merchant_id, network, id, asset, 1, 'cash', 'paid at the counter', current_date
    FROM invoices WHERE merchant_id = :merchant LIMIT 1;
INSERT INTO clawbacks (id, merchant_id, network, transaction_id, debit_index, wallet_id, asset, amount)
    SELECT gen_random_uuid(), merchant_id, network, transaction_id, 0, wallet_id, asset, 1
    FROM payments WHERE merchant_id = :merchant LIMIT 1;
INSERT INTO refunds (id, merchant_id, network, payment_id, wallet_id, source, destination, asset, amount, reason,
        status, next_attempt_at)
    SELECT gen_random_uuid(), merchant_id, network, id, wallet_id, destination, sender, asset, 1, 'sent twice',
        'PENDING', now()
    FROM payments WHERE merchant_id = :merchant LIMIT 1;
INSERT INTO book_checks (id, merchant_id, network, checked_at, invoices, payments, accounts)
    VALUES (gen_random_uuid(), :merchant, 'test', now(), 0, 0, 0);
INSERT INTO watch_cursors (network, scope, cursor, checked_at) VALUES ('test', :address, '0', now());
INSERT INTO watch_failures (id, network, scope, paging_token, transaction_hash, error)
    VALUES (gen_random_uuid(), 'test', :address, '0', 'x', 'x');
INSERT INTO worker_heartbeats (job, beat_at) VALUES ('test', now()) ON CONFLICT DO NOTHING
"""


def make_world() -> Shop:
    """Return a shop whose rows fill every table; runs as the worker, which may write them all."""
    shop = make_shop()

    def add_client() -> Client:
        shop.enter()
        client = Client(
            merchant_id=shop.id, name="Rina", email="rina@example.id", email_lower="rina@example.id"
        )
        db.session.add(client)
        db.session.flush()
        return client

    client = run_transaction(add_client)
    lines = {"discounts": (Discount("KOPI5", percent=Decimal(5)),), "taxes": (Tax("PPN", Decimal(11)),)}
    make_invoice(shop, issue=False, client_id=client.id, **lines)
    invoice = make_invoice(shop, **lines)
    expired = make_invoice(shop)
    transfer = make_transfer(invoice)
    run_transaction(lambda: _pay(shop, invoice.id, transfer))
    run_transaction(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=expired.id, now=NOON))
    run_transaction(lambda: _reverse_something(shop))
    parameters = {"merchant": shop.id, "user": shop.user_id, "address": shop.wallet}

    def fill() -> None:
        for statement in _REST.split(";"):
            db.session.execute(text(statement), parameters)

    run_transaction(fill)
    return shop


def _pay(shop, invoice_id, transfer) -> None:
    merchant = db.session.get_one(Merchant, shop.id)
    later = NOON + timedelta(minutes=6)
    claim = {
        "merchant_id": shop.id,
        "network": NETWORK,
        "invoice_id": invoice_id,
        "origin": "page",
        "now": later,
    }
    submission = submissions.open_submission(transaction_hash=transfer.canonical_hash, **claim)
    recorded = payments.record_transaction(
        merchant=merchant, network=NETWORK, transaction=transfer, invoice_id=invoice_id, now=later
    )
    submissions.settle(submission, transaction=transfer, recorded=recorded, now=later)


def _reverse_something(shop) -> None:
    journal_id = db.session.scalar(
        text("SELECT id FROM ledger_journals WHERE merchant_id = :merchant AND kind = 'close'"),
        {"merchant": shop.id},
    )
    ledger.reverse(merchant_id=shop.id, journal_id=journal_id, at=NOON)
    db.session.execute(
        text("UPDATE invoices SET external_id = :own WHERE merchant_id = :merchant AND status = 'DRAFT'"),
        {"own": str(new_id()), "merchant": shop.id},
    )
