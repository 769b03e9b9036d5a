"""A payer for seeds and tests, on the unmodified stellar-sdk: one function that sends a payment."""

from decimal import Decimal

import requests
from stellar_sdk import Asset, Keypair, Memo, Server, TransactionBuilder

from portal.kernel.money import format_units

FRIENDBOT_SECONDS = 40


def fund(horizon_url: str, address: str) -> None:
    """Have the friendbot of a sandbox create `address`.

    :raises requests.HTTPError: when it refuses.
    """
    url = f"{horizon_url.rstrip('/')}/friendbot"
    requests.get(url, params={"addr": address}, timeout=FRIENDBOT_SECONDS).raise_for_status()


def play_payment(
    horizon_url: str,
    passphrase: str,
    secret: str,
    destination: str,
    asset: str,
    amount: Decimal,
    memo: Memo | None = None,
) -> str:
    """Sign and submit a payment of `amount` (asset units) and return its hash once it is in a closed ledger.

    :param asset: `native` or `CODE:ISSUER`.
    :raises stellar_sdk.exceptions.BaseHorizonError: when the network refuses it.
    """
    keypair = Keypair.from_secret(secret)
    code, _, issuer = asset.partition(":")
    wanted = Asset.native() if asset == "native" else Asset(code, issuer)
    with Server(horizon_url) as server:
        builder = TransactionBuilder(server.load_account(keypair.public_key), passphrase, base_fee=100)
        builder.append_payment_op(destination, wanted, format_units(amount)).set_timeout(120)
        if memo is not None:
            builder.add_memo(memo)
        envelope = builder.build()
        envelope.sign(keypair)
        answer = server.submit_transaction(envelope, skip_memo_required_check=True)
    return str(answer["hash"])
