"""What accounts do on the sandbox of a test: transactions signed for real, closed before the next line."""

from collections.abc import Callable
from typing import Any

from stellar_sdk import Asset, AuthorizationFlag, Keypair, TransactionBuilder

from portal.sandbox.client import fund


def act(sandbox: Any, signer: Keypair, add: Callable[[TransactionBuilder], Any]) -> str:
    """Submit what `add` appends, signed by `signer`, and return its hash once its ledger is closed."""
    ticket = sandbox.ledger.submit_signed(signer, add)
    assert ticket.done.wait(10), "the sandbox does not close its ledgers"
    return str(ticket.hash)


def funded(sandbox: Any) -> Keypair:
    pair = Keypair.random()
    fund(sandbox.url, pair.public_key)
    return pair


def open_issuer(
    sandbox: Any, *, flags: AuthorizationFlag | None = None, home_domain: str | None = None
) -> Keypair:
    """Return an issuer's account with these flags."""
    issuer = funded(sandbox)
    if flags is not None or home_domain is not None:
        act(
            sandbox,
            issuer,
            lambda builder: builder.append_set_options_op(set_flags=flags, home_domain=home_domain),
        )
    return issuer


def trust(sandbox: Any, secret: str, asset: str, *, limit: str | None = None) -> None:
    code, _, issuer = asset.partition(":")
    holder = Keypair.from_secret(secret)
    act(sandbox, holder, lambda builder: builder.append_change_trust_op(Asset(code, issuer), limit))


def give(sandbox: Any, issuer: Keypair, destination: str, code: str, amount: str, memo: Any = None) -> str:
    """Let an issuer pay what it issues and return the hash."""

    def add(builder: TransactionBuilder) -> None:
        builder.append_payment_op(destination, Asset(code, issuer.public_key), amount)
        if memo is not None:
            builder.add_memo(memo)

    return act(sandbox, issuer, add)


def take_back(sandbox: Any, issuer: Keypair, holder: str, code: str, amount: str) -> str:
    """Let an issuer claw back what it issued and return the hash."""
    asset = Asset(code, issuer.public_key)
    return act(sandbox, issuer, lambda builder: builder.append_clawback_op(asset, holder, amount))
