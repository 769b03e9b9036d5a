"""Proving a receiving wallet: a challenge of ours, signed by whoever controls the account (SEP-10)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from flask import current_app

from portal.adapters import friendbot, mail
from portal.adapters.chain import chain_source
from portal.adapters.sep10 import Challenge, Challenger, ChallengeRefused
from portal.db import release, run_transaction
from portal.domain.merchants import queries, rules, service
from portal.domain.merchants.models import Wallet
from portal.flows.check_readiness import keep, readiness_of_all
from portal.kernel.errors import Denied


class DemoWalletRefused(Denied):
    code = "demo_wallet_refused"


@dataclass(frozen=True, slots=True)
class DemoWallet:
    """An account of the sandbox whose key we made: play money, its secret is shown once."""

    wallet: Wallet
    secret: str


def start_proof(*, merchant_id: UUID, network: str, address_text: str, now: datetime) -> str:
    """Hand out a challenge for a pasted address and return its nonce's hash, which names its page.

    :raises SecretKeyPasted: when a secret key was pasted; it is kept nowhere.
    :raises AddressInvalid: for a typo.
    :raises WalletTaken: when the address is somebody's already.
    """
    address = rules.clean_wallet_address(address_text)
    challenge = _challenger().build(address)
    return run_transaction(lambda: _keep_challenge(merchant_id, network, challenge, now))


def prove_wallet(
    *, merchant_id: UUID, network: str, signed_xdr: str, now: datetime, expected_address: str | None = None
) -> Wallet:
    """Check a signed challenge and make its account a receiving wallet.

    The account's signers and thresholds come from the network, and so does the cursor from which the wallet
    is watched, read before it can be used, so that no payment falls between. The nonce is consumed last.

    :raises ChallengeRefused: when the challenge or its signatures are not good.
    :raises ChallengeUsed: when it was used before or is not this merchant's.
    :raises WalletTaken: when the address is somebody's already.
    :raises Unavailable: when the network does not answer; the challenge stays good.
    """
    challenger = _challenger()
    challenge = challenger.read(signed_xdr)
    if expected_address is not None and challenge.address != expected_address:
        raise ChallengeRefused(
            "This is a challenge for another address. Paste the one that is shown above, signed."
        )
    release()
    state = chain_source().account(challenge.address)
    weights, threshold = rules.signing_weights(state, challenge.address)
    challenger.verify(challenge, weights=weights, threshold=threshold)
    watched_from = chain_source().latest_cursor()

    def work() -> Wallet:
        wallet = service.add_wallet(
            merchant_id=merchant_id,
            network=network,
            address=challenge.address,
            nonce=challenge.nonce,
            watched_from=watched_from,
            now=now,
        )
        merchant = queries.get_merchant(merchant_id)
        keep(wallet, readiness_of_all(state, [merchant.default_asset]), now)
        return wallet

    return run_transaction(work)


def use_demo_wallet(*, merchant_id: UUID, network: str, now: datetime) -> DemoWallet:
    """Make an account of the sandbox, fund it, and prove it by a real signature through the same checks.

    :raises DemoWalletRefused: on any network but the bundled sandbox.
    :raises Unavailable: when the sandbox does not answer.
    """
    from stellar_sdk import Keypair

    if not current_app.config["TAGIH"].is_sandbox:
        raise DemoWalletRefused("Demo wallets exist in the sandbox alone.")
    release()
    keypair = Keypair.random()
    friendbot.fund(keypair.public_key)
    challenger = _challenger()
    challenge = challenger.build(keypair.public_key)
    run_transaction(lambda: _keep_challenge(merchant_id, network, challenge, now))
    signed_xdr = challenger.sign(challenge, keypair.secret)
    wallet = prove_wallet(merchant_id=merchant_id, network=network, signed_xdr=signed_xdr, now=now)
    return DemoWallet(wallet, keypair.secret)


def change_wallet(
    *, merchant_id: UUID, change: Callable[[], bool], what: str, address: str, actor: str, now: datetime
) -> bool:
    """Run a change of `domain/merchants/service.py` in one transaction and tell the owners if it changed anything."""
    changed = run_transaction(change)
    if changed:
        tell_owners(merchant_id=merchant_id, what=what, address=address, actor=actor, now=now)
    return changed


def tell_owners(*, merchant_id: UUID, what: str, address: str, actor: str, now: datetime) -> None:
    """Mail every owner that a wallet changed, so that a thief of one session does not go unnoticed."""
    business = queries.get_merchant(merchant_id).name
    owners = queries.list_owner_emails(merchant_id)
    release()
    at = now.strftime("%d %B %Y at %H:%M UTC")
    for owner in owners:
        mail.send(
            "wallet_changed",
            to=owner,
            now=now,
            business=business,
            what=what,
            address=address,
            actor=actor,
            at=at,
        )


def _challenger() -> Challenger:
    return Challenger(current_app.config["TAGIH"])


def _keep_challenge(merchant_id: UUID, network: str, challenge: Challenge, now: datetime) -> str:
    return service.start_challenge(
        merchant_id=merchant_id,
        network=network,
        address=challenge.address,
        nonce=challenge.nonce,
        envelope_xdr=challenge.envelope_xdr,
        now=now,
    )
