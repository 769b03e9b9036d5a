"""The unsigned transaction by which a wallet accepts an asset, or more of it."""

from datetime import datetime, timedelta

from portal.kernel.assets import asset_code, asset_issuer

# What the owner agrees to pay at most; a network in order takes a hundredth of it.
FEE_MOST_STROOPS = 10_000
# Long enough for a page that was left open over night, short enough for a forgotten request to die.
GOOD_FOR = timedelta(days=1)


def change_trust_xdr(*, address: str, sequence: int, asset: str, passphrase: str, now: datetime) -> str:
    """Return an envelope that lets `address` hold as much of `asset` as there can be.

    `sequence` is the account's own; the envelope takes the next one and is good until that is used.
    """
    from stellar_sdk import Account, Asset, TransactionBuilder

    builder = TransactionBuilder(Account(address, sequence), passphrase, base_fee=FEE_MOST_STROOPS)
    builder.append_change_trust_op(Asset(asset_code(asset), asset_issuer(asset)))
    builder.add_time_bounds(0, int((now + GOOD_FOR).timestamp()))
    return str(builder.build().to_xdr())
