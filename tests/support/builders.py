"""Builders of the things tests talk about: `make_invoice(amount="90")`, never numbered variables.

They run inside an app context, write through the real services where there is one and commit for real.
Every test gets merchants of its own, so nothing has to be removed afterwards.
"""

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from stellar_sdk import Keypair

from portal.db import enter_tenant, leave_tenant, run_transaction
from portal.domain.invoices import service as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.rules import Draft, Item
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants.models import Membership, Merchant, User, UserSession, Wallet
from portal.extensions import db
from portal.kernel.chain import Credit, ObservedTransaction
from portal.kernel.money import to_stroops
from portal.kernel.refs import new_id
from portal.kernel.tokens import digest, new_token

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NETWORK = "test"
PAYER = Keypair.random().public_key
ISSUER = Keypair.random().public_key


@dataclass(frozen=True)
class Shop:
    """A merchant with an owner and, unless asked otherwise, a proven wallet."""

    id: UUID
    user_id: UUID
    email: str
    wallet: str
    wallet_secret: str

    def enter(self) -> None:
        """Scope this session to the merchant, as a request of its owner would."""
        enter_tenant(merchant_id=self.id, user_id=self.user_id)


def make_shop(
    *, name: str = "Kopi Selatan", role: str = "owner", wallet: bool = True, **columns: Any
) -> Shop:
    """Write a merchant, its owner and wallet and leave no tenant entered."""
    pair = Keypair.random()
    merchant_id, user_id = new_id(), new_id()
    email = f"owner-{secrets.token_hex(6)}@example.com"

    def work() -> None:
        enter_tenant(merchant_id=merchant_id, user_id=user_id)
        merchant = Merchant(id=merchant_id, name=name, created_at=NOON, updated_at=NOON, **columns)
        user = User(id=user_id, email=email, email_lower=email, name="Dewi", email_verified_at=NOON)
        db.session.add_all([merchant, user])
        db.session.flush()
        db.session.add(Membership(merchant_id=merchant_id, user_id=user_id, role=role))
        if wallet:
            db.session.add(
                Wallet(
                    merchant_id=merchant_id, network=NETWORK, address=pair.public_key, is_default=True,
                    proven_at=NOON, watched_from="0",
                )
            )  # fmt: skip

    run_transaction(work)
    leave_tenant()
    return Shop(merchant_id, user_id, email, pair.public_key, pair.secret)


def make_member(shop: Shop, *, role: str) -> Shop:
    """Write a colleague of the shop's owner with this role and return the shop as seen by them."""
    user_id = new_id()
    email = f"{role}-{secrets.token_hex(6)}@example.com"

    def work() -> None:
        enter_tenant(merchant_id=shop.id, user_id=user_id)
        db.session.add(User(id=user_id, email=email, email_lower=email, name=role, email_verified_at=NOON))
        db.session.flush()
        db.session.add(Membership(merchant_id=shop.id, user_id=user_id, role=role))

    run_transaction(work)
    leave_tenant()
    return replace(shop, user_id=user_id, email=email)


def make_draft(*, amount: str = "90", asset: str = "native", **fields: Any) -> Draft:
    item = Item(description="Barista class", quantity=Decimal(1), unit_price=Decimal(amount))
    return Draft(**{"asset": asset, "items": (item,), "description": "Barista class, 2 seats", **fields})


def make_invoice(shop: Shop, *, issue: bool = True, now: datetime = NOON, **fields: Any) -> Invoice:
    """Write an invoice of `shop`, issued unless asked otherwise, and stay in the shop's tenant."""
    draft = make_draft(**fields)

    def work() -> Invoice:
        shop.enter()
        merchant = db.session.get_one(Merchant, shop.id)
        terms = None
        if issue:
            wallet = db.session.scalars(
                db.select(Wallet).where(Wallet.merchant_id == shop.id, Wallet.is_default)
            )
            terms = IssueTerms(wallet.one())
        return invoices.create(
            merchant=merchant, network=NETWORK, draft=draft, client=None, terms=terms, now=now
        ).invoice

    written = run_transaction(work)
    shop.enter()
    return db.session.get_one(Invoice, written.id)


def make_transfer(invoice: Invoice, *, amount: str | None = None, **changes: Any) -> ObservedTransaction:
    """Return a transaction that pays `invoice` exactly, by its memo, unless told otherwise."""
    due = invoice.amount if amount is None else Decimal(amount)
    credit = Credit(
        operation_index=0,
        credit_index=0,
        kind="payment",
        source=PAYER,
        destination=invoice.destination or PAYER,
        asset=invoice.asset,
        stroops=to_stroops(due),
    )
    canonical = hashlib.sha256(secrets.token_bytes(16)).hexdigest()
    facts: dict[str, Any] = {
        "canonical_hash": canonical,
        "hashes": (canonical,),
        "ledger": 51_203_904,
        "closed_at": (invoice.issued_at or NOON) + timedelta(minutes=5),
        "source_account": PAYER,
        "successful": True,
        "memo_type": "id",
        "memo": str(invoice.pay_ref),
        "memo_bytes": None,
        "envelope_xdr": "AAAA",
        "credits": (credit,),
        "debits": (),
        "raw": {"hash": canonical, "operations": []},
    }
    return ObservedTransaction(**{**facts, **changes})


def sign_in(client: Any, shop: Shop, *, now: datetime | None = None) -> None:
    """Open a session for the shop's user and give its cookie to a Flask test client."""
    token = new_token(256)
    moment = now or datetime.now(UTC)

    def work() -> None:
        shop.enter()
        db.session.add(
            UserSession(
                id_hash=digest(token), user_id=shop.user_id, merchant_id=shop.id, network=NETWORK,
                confirmed_at=moment, last_seen_at=moment, expires_at=moment + timedelta(days=30),
            )
        )  # fmt: skip

    with client.application.app_context():
        run_transaction(work)
        leave_tenant()
    client.set_cookie("tagih_session", token)
