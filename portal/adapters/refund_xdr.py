"""The unsigned transaction of a refund, for the merchant's wallet to sign."""

from datetime import datetime, timedelta
from decimal import Decimal

from portal.domain.payments.submissions import GIVE_UP_AFTER
from portal.domain.refunds.rules import Envelope, Memo
from portal.kernel.assets import NATIVE
from portal.kernel.money import format_units

# A bid, not a price: the network takes the least that gets in, 100 stroops unless it is crowded.
FEE_STROOPS = 1000
# With no end it could be sent after the refund was given up and made again, and the money would go out twice.
# It ends before we stop looking for it.
VALID_FOR = GIVE_UP_AFTER - timedelta(minutes=10)


def build_refund(
    *,
    source: str,
    sequence: int,
    destination: str,
    asset: str,
    amount: Decimal,
    memo: Memo,
    passphrase: str,
    now: datetime,
) -> Envelope:
    """Return a payment of `amount` that `source` can sign; `sequence` is the account's present one.

    Its hash does not depend on signatures (only a fee-bump around it has another one).
    """
    from stellar_sdk import Account, Asset, TransactionBuilder

    code, _, issuer = asset.partition(":")
    wanted = Asset.native() if asset == NATIVE else Asset(code, issuer)
    builder = TransactionBuilder(Account(source, sequence), passphrase, base_fee=FEE_STROOPS)
    builder.append_payment_op(destination, wanted, format_units(amount))
    builder.add_time_bounds(0, int((now + VALID_FOR).timestamp()))
    if memo.text is not None:
        _add_memo(builder, memo.kind, memo.text)
    envelope = builder.build()
    return Envelope(envelope.to_xdr(), envelope.hash_hex())


def _add_memo(builder: object, kind: str, text: str) -> None:
    from stellar_sdk import HashMemo, IdMemo, TextMemo, TransactionBuilder

    assert isinstance(builder, TransactionBuilder), builder
    if kind == "id":
        builder.add_memo(IdMemo(int(text)))
    elif kind == "hash":
        builder.add_memo(HashMemo(text))
    else:
        builder.add_memo(TextMemo(text))
