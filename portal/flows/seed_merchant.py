"""A merchant ready to be paid, for `seed`, demos and tests: sign-up without mail, a wallet proven by a real signature."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from flask import current_app

from portal.db import enter_tenant, run_transaction
from portal.domain.api_keys import rules as api_key_rules
from portal.domain.api_keys import service as api_keys
from portal.domain.merchants import accounts, rules
from portal.domain.merchants.accounts import NewAccount
from portal.domain.merchants.passwords import hash_password
from portal.flows.prove_wallet import use_demo_wallet
from portal.kernel.errors import Conflict
from portal.kernel.refs import to_ref

# Who the pages of the demo greet.
OWNER_NAME = "Dewi Lestari"


class EmailTaken(Conflict):
    code = "email_taken"


@dataclass(frozen=True, slots=True)
class SeededMerchant:
    """Everything in plain text: it belongs to whoever asked for it, on a network of play money."""

    merchant_id: UUID
    merchant: str
    """The merchant's ref."""
    user_id: UUID
    email: str
    password: str
    api_key: str
    wallet: str
    wallet_secret: str


def seed_merchant(
    *, email: str, password: str, business_name: str, now: datetime, time_zone: str = "UTC"
) -> SeededMerchant:
    """Make a verified owner, a business with a funded sandbox wallet, and a key with every scope.

    Works as portal_web and as portal_worker, and leaves the session in the new tenant.

    :raises EmailTaken: when a verified account has this address.
    :raises DemoWalletRefused: on any network but the bundled sandbox.
    :raises Unavailable: when the sandbox does not answer; the account exists then, without a wallet.
    """
    network = current_app.config["TAGIH"].network
    account = NewAccount(
        business_name=rules.clean_text(business_name, what="a business name"),
        name=OWNER_NAME,
        email=rules.clean_email(email),
        password_hash=hash_password(password),
        time_zone=rules.clean_time_zone(time_zone),
    )

    def sign_up() -> tuple[UUID, UUID]:
        registration = accounts.register(account=account, now=now)
        if registration.is_known or registration.merchant_id is None:
            raise EmailTaken(f"{account.email} has an account already.")
        accounts.mark_verified(user_id=registration.user_id, now=now)
        return registration.user_id, registration.merchant_id

    user_id, merchant_id = run_transaction(sign_up)
    enter_tenant(merchant_id=merchant_id, user_id=user_id)
    demo = use_demo_wallet(merchant_id=merchant_id, network=network, now=now)
    _, key_text = run_transaction(
        lambda: api_keys.create_key(
            merchant_id=merchant_id,
            network=network,
            name="Demo key",
            scopes=list(api_key_rules.SCOPES),
            created_by=user_id,
            expires_at=None,
            now=now,
        )
    )
    return SeededMerchant(
        merchant_id=merchant_id,
        merchant=to_ref("mer", merchant_id),
        user_id=user_id,
        email=account.email,
        password=password,
        api_key=key_text,
        wallet=demo.wallet.address,
        wallet_secret=demo.secret,
    )
