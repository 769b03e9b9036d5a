"""A small business with every kind of row, and copies of it to break: one database each, dropped after."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from config import Config
from portal.app import create_app
from portal.db import leave_tenant, run_transaction
from portal.domain.clients import rules as client_rules
from portal.domain.clients import service as clients
from portal.domain.invoices import service as invoices
from portal.domain.invoices.rules import Discount, Tax
from portal.domain.merchants.models import Merchant
from portal.domain.payments import service as payments
from portal.domain.payments import submissions
from portal.extensions import db
from portal.workers.relay_outbox import Relay
from tests.cli.decided import make_decided_shop
from tests.support import databases
from tests.support.builders import NETWORK, NOON, make_invoice, make_shop, make_transfer

LATER = NOON + timedelta(days=30)


@dataclass(frozen=True)
class Scene:
    """The database and the ids of what is in it, by the names that the cases use."""

    database: databases.Database
    ids: dict[str, Any]


@pytest.fixture(scope="session")
def scene(new_database, base_environment) -> Scene:
    database = new_database()
    app = create_app(Config.checked("worker", databases._variables(base_environment, database)))
    with app.app_context():
        ids = _build()
        db.engine.dispose()
    return Scene(database, ids)


@pytest.fixture
def copy(scene, services, shared_folder, base_environment) -> Iterator["Copy"]:
    name = f"{scene.database.name}_copy"
    # Whoever looked at the scene is gone before it is copied.
    made = databases._create(services, name, scene.database.name)
    with psycopg.connect(made.superuser, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        yield Copy(made, scene.ids, connection, databases._variables(base_environment, made))
    with databases._superuser(services) as superuser:
        databases.roles.drop_database(superuser, name)


@dataclass
class Copy:
    """A copy of the scene, open to a superuser whose statements meet neither triggers nor foreign keys."""

    database: databases.Database
    ids: dict[str, Any]
    connection: psycopg.Connection
    environment: dict[str, str]

    def run(self, command, *arguments: str) -> Result:
        """Run a command of ours on this database, as the worker."""
        return CliRunner().invoke(command, list(arguments), env=self.environment)

    def sql(self, statement: str, **more: Any) -> Any:
        cursor = self.connection.execute(statement, {**self.ids, **more})
        return cursor.fetchone()[0] if cursor.description else None

    def drop_check(self, table: str, name: str) -> None:
        self.connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")

    def post(self, kind: str, reference: Any, *, debit: tuple, credit: tuple, amount: str = "1") -> Any:
        """Book a journal of one amount between two accounts, given as (kind, owner), balances and all."""
        journal = self.sql(
            "INSERT INTO ledger_journals (id, merchant_id, network, kind, reference_id, occurred_at)"
            " VALUES (gen_random_uuid(), %(shop)s, 'test', %(kind)s, %(reference)s, now()) RETURNING id",
            kind=kind, reference=reference,
        )  # fmt: skip
        self.enter(journal, debit, "DEBIT", amount)
        self.enter(journal, credit, "CREDIT", amount)
        return journal

    def enter(self, journal: Any, account: tuple, side: str, amount: str) -> None:
        place = {"kind": account[0], "owner": account[1]}
        self.sql(
            "INSERT INTO ledger_accounts (id, merchant_id, network, kind, asset, owner_id)"
            " VALUES (gen_random_uuid(), %(shop)s, 'test', %(kind)s, 'native', %(owner)s) ON CONFLICT DO NOTHING",
            **place,
        )
        found = self.sql(
            "SELECT id FROM ledger_accounts WHERE merchant_id = %(shop)s AND network = 'test' AND kind = %(kind)s"
            " AND asset = 'native' AND owner_id IS NOT DISTINCT FROM %(owner)s",
            **place,
        )
        self.sql(
            "INSERT INTO ledger_entries (id, merchant_id, journal_id, account_id, asset, side, amount)"
            " VALUES (gen_random_uuid(), %(shop)s, %(journal)s, %(account)s, 'native', %(side)s, %(amount)s)",
            journal=journal, account=found, side=side, amount=amount,
        )  # fmt: skip
        self.sql(
            "INSERT INTO account_balances AS b (account_id, merchant_id, balance)"
            " VALUES (%(account)s, %(shop)s, %(change)s)"
            " ON CONFLICT (account_id) DO UPDATE SET balance = b.balance + excluded.balance",
            account=found,
            change=Decimal(amount) if side == "DEBIT" else -Decimal(amount),
        )

    def allocate(self, invoice: Any, source: str, source_id: Any, journal: Any, amount: str = "1") -> None:
        self.sql(
            "INSERT INTO allocations (id, merchant_id, network, invoice_id, source, source_id, amount, journal_id)"
            " VALUES (gen_random_uuid(), %(shop)s, 'test', %(invoice)s, %(source)s, %(source_id)s, %(amount)s,"
            " %(journal)s)",
            invoice=invoice, source=source, source_id=source_id, journal=journal, amount=amount,
        )  # fmt: skip


def _build() -> dict[str, Any]:
    shop = make_shop(tolerance=Decimal("0.5"))
    ids: dict[str, Any] = {"shop": shop.id, "user": shop.user_id}
    ids["client"] = run_transaction(lambda: _client(shop)).id
    adjusted = {"discounts": (Discount("KOPI5", percent=Decimal(5)),), "taxes": (Tax("PPN", Decimal(11)),)}
    ids["draft"] = make_invoice(shop, issue=False).id
    ids["open"] = make_invoice(shop, **adjusted).id
    ids["big"] = make_invoice(shop, amount="5000").id
    paid, over, short = (make_invoice(shop) for _ in range(3))
    cancelled, expired, late = make_invoice(shop), make_invoice(shop), make_invoice(shop)
    ids |= {"paid": paid.id, "over": over.id, "short": short.id}
    ids |= {"cancelled": cancelled.id, "expired": expired.id, "late": late.id}
    run_transaction(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=cancelled.id, now=NOON))
    for invoice in (expired, late):
        run_transaction(
            lambda each=invoice: invoices.expire(merchant_id=shop.id, invoice_id=each.id, now=LATER)
        )
    transfer = make_transfer(paid)
    transfer = replace(transfer, hashes=(transfer.canonical_hash, "a" * 64))
    ids["paid_payment"] = _pay(shop, transfer, submitted_for=paid.id)
    ids["over_payment"] = _pay(shop, make_transfer(over, amount="100"))
    _pay(shop, make_transfer(short, amount="89.6"))
    _pay(shop, make_transfer(late, closed_at=LATER))
    ids["unmatched"] = _pay(shop, make_transfer(paid, amount="7", memo_type="none", memo=None))
    own = make_transfer(paid, amount="3")
    ids["ignored"] = _pay(shop, replace(own, credits=(replace(own.credits[0], source=shop.wallet),)))
    ids |= make_decided_shop()
    Relay(consumers=("feed",)).run_once(LATER)
    stranger = make_shop()
    ids |= {"stranger": stranger.id, "stranger_user": stranger.user_id}
    ids["alone"] = make_invoice(stranger).id
    run_transaction(lambda: invoices.cancel(merchant_id=stranger.id, invoice_id=ids["alone"], now=NOON))
    leave_tenant()
    return ids


def _client(shop):
    shop.enter()
    details = client_rules.details(name="Rina", email="rina@example.com")
    return clients.create(merchant_id=shop.id, details=details, now=NOON)


def _pay(shop, transfer, *, submitted_for=None):
    """Record a transfer as if reported, for the page of an invoice when one is named; returns the payment's id."""

    def work():
        shop.enter()
        merchant = db.session.get_one(Merchant, shop.id)
        facts = {"merchant": merchant, "network": NETWORK, "transaction": transfer, "now": LATER}
        if submitted_for is None:
            return payments.record_transaction(**facts)
        submission = submissions.open_submission(
            merchant_id=shop.id, network=NETWORK, invoice_id=submitted_for, origin="page", now=LATER,
            transaction_hash=transfer.canonical_hash,
        )  # fmt: skip
        recorded = payments.record_transaction(**facts, invoice_id=submitted_for)
        submissions.settle(submission, transaction=transfer, recorded=recorded, now=LATER)
        return recorded

    return run_transaction(work).payments[0].id
