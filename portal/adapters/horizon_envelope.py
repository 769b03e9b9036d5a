"""Read what was signed: a transaction envelope's hashes, memo and operations, from its XDR alone.

The envelope is the proof. Its hash is recomputed here, and every amount and address that Horizon's JSON
shows for an operation is compared with what this module reads. The generated XDR classes are used directly,
because the comfortable classes of stellar-sdk refuse some envelopes that the network accepted.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portal.kernel.assets import NATIVE
from portal.kernel.chain import ChainContradiction, MemoType

if TYPE_CHECKING:
    from stellar_sdk import xdr as stellar_xdr

# Stellar's limit for classic transactions is far below; contract envelopes stay under 132 KB.
ENVELOPE_CHARACTERS_MAX = 400_000
# The generated decoder has no error family of its own: short input, unknown unions and bad lengths surface
# as any of these.
_DECODER_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
# XDR of a public key begins with its kind; a version 0 envelope leaves these four bytes out.
_ED25519_KIND = b"\x00\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class SignedOperation:
    """One operation as signed; a field is None where its kind has none.

    `stroops` is the exact amount, or the least that must arrive when `is_minimum`; `send_stroops` is the
    exact amount sent, or the most when `is_send_maximum`. The `destination` of a
    clawback is the holder it takes from.
    """

    kind: str
    kind_number: int
    source: str
    destination: str | None = None
    muxed_id: int | None = None
    asset: str | None = None
    stroops: int | None = None
    is_minimum: bool = False
    send_asset: str | None = None
    send_stroops: int | None = None
    is_send_maximum: bool = False


@dataclass(frozen=True, slots=True)
class SignedEnvelope:
    hashes: tuple[str, ...]
    """Canonical first: the outer hash of a fee-bump, then the inner."""
    source_account: str
    fee_account: str
    memo_type: MemoType
    memo_id: int | None
    memo_bytes: bytes | None
    operations: tuple[SignedOperation, ...]


def read_envelope(envelope_xdr: object, passphrase: str) -> SignedEnvelope:
    """Decode an envelope and hash it for the network of `passphrase`.

    :raises ChainContradiction: when it is not one well-formed envelope.
    """
    if not isinstance(envelope_xdr, str) or len(envelope_xdr) > ENVELOPE_CHARACTERS_MAX:
        raise ChainContradiction("the envelope is missing or too large")
    from stellar_sdk import xdr as stellar_xdr
    from stellar_sdk.exceptions import SdkError
    from xdrlib3 import Error as XdrError

    try:
        octets = base64.b64decode(envelope_xdr, validate=True)
        envelope = stellar_xdr.TransactionEnvelope.from_xdr_bytes(octets)
        if envelope.to_xdr_bytes() != octets:
            raise ChainContradiction("the envelope is not in canonical form")
        return _describe(envelope, hashlib.sha256(passphrase.encode()).digest())
    except (SdkError, XdrError, *_DECODER_FAILURES) as error:
        raise ChainContradiction("the envelope cannot be decoded") from error


def _describe(envelope: "stellar_xdr.TransactionEnvelope", network_id: bytes) -> SignedEnvelope:
    from stellar_sdk import xdr as stellar_xdr

    kinds = stellar_xdr.EnvelopeType
    if envelope.type == kinds.ENVELOPE_TYPE_TX_V0:
        assert envelope.v0 is not None
        legacy = envelope.v0.tx
        source = _account(legacy.source_account_ed25519.uint256)
        inner = _hash(network_id, kinds.ENVELOPE_TYPE_TX, _ED25519_KIND + legacy.to_xdr_bytes())
        return _assemble((inner,), source, source, legacy)
    if envelope.type == kinds.ENVELOPE_TYPE_TX:
        assert envelope.v1 is not None
        transaction = envelope.v1.tx
        source = _demux(transaction.source_account)[0]
        inner = _hash(network_id, kinds.ENVELOPE_TYPE_TX, transaction.to_xdr_bytes())
        return _assemble((inner,), source, source, transaction)
    if envelope.type == kinds.ENVELOPE_TYPE_TX_FEE_BUMP:
        assert envelope.fee_bump is not None
        bump = envelope.fee_bump.tx
        assert bump.inner_tx.v1 is not None
        transaction = bump.inner_tx.v1.tx
        inner = _hash(network_id, kinds.ENVELOPE_TYPE_TX, transaction.to_xdr_bytes())
        outer = _hash(network_id, kinds.ENVELOPE_TYPE_TX_FEE_BUMP, bump.to_xdr_bytes())
        source = _demux(transaction.source_account)[0]
        return _assemble((outer, inner), source, _demux(bump.fee_source)[0], transaction)
    raise ChainContradiction("the envelope is no transaction")


def _hash(network_id: bytes, kind: "stellar_xdr.EnvelopeType", transaction: bytes) -> str:
    return hashlib.sha256(network_id + kind.to_xdr_bytes() + transaction).hexdigest()


def _assemble(
    hashes: tuple[str, ...],
    source: str,
    fee_account: str,
    transaction: "stellar_xdr.Transaction | stellar_xdr.TransactionV0",
) -> SignedEnvelope:
    memo_type, memo_id, memo_bytes = _memo(transaction.memo)
    return SignedEnvelope(
        hashes=hashes,
        source_account=source,
        fee_account=fee_account,
        memo_type=memo_type,
        memo_id=memo_id,
        memo_bytes=memo_bytes,
        operations=tuple(_operation(operation, source) for operation in transaction.operations),
    )


def _memo(memo: "stellar_xdr.Memo") -> tuple[MemoType, int | None, bytes | None]:
    if memo.text is not None:
        return "text", None, memo.text
    if memo.id is not None:
        return "id", memo.id.uint64, None
    if memo.hash is not None:
        return "hash", None, memo.hash.hash
    if memo.ret_hash is not None:
        return "return", None, memo.ret_hash.hash
    return "none", None, None


def _operation(operation: "stellar_xdr.Operation", transaction_source: str) -> SignedOperation:
    body = operation.body
    source = transaction_source if operation.source_account is None else _demux(operation.source_account)[0]
    fields: dict[str, Any] = {}
    if (payment := body.payment_op) is not None:
        fields = _to(payment.destination) | {"asset": _asset(payment.asset), "stroops": payment.amount.int64}
    elif (opening := body.create_account_op) is not None:
        assert opening.destination.account_id.ed25519 is not None
        destination = _account(opening.destination.account_id.ed25519.uint256)
        fields = {"destination": destination, "asset": NATIVE, "stroops": opening.starting_balance.int64}
    elif (receive := body.path_payment_strict_receive_op) is not None:
        fields = _to(receive.destination) | {
            "asset": _asset(receive.dest_asset),
            "stroops": receive.dest_amount.int64,
            "send_asset": _asset(receive.send_asset),
            "send_stroops": receive.send_max.int64,
            "is_send_maximum": True,
        }
    elif (send := body.path_payment_strict_send_op) is not None:
        fields = _to(send.destination) | {
            "asset": _asset(send.dest_asset),
            "stroops": send.dest_min.int64,
            "is_minimum": True,
            "send_asset": _asset(send.send_asset),
            "send_stroops": send.send_amount.int64,
        }
    elif body.destination is not None:
        fields = _to(body.destination) | {"asset": NATIVE}
    elif (claimable := body.create_claimable_balance_op) is not None:
        fields = {"asset": _asset(claimable.asset), "stroops": claimable.amount.int64}
    elif (clawback := body.clawback_op) is not None:
        fields = _to(clawback.from_) | {"asset": _asset(clawback.asset), "stroops": clawback.amount.int64}
    return SignedOperation(body.type.name.lower(), body.type.value, source, **fields)


def _to(account: "stellar_xdr.MuxedAccount") -> dict[str, Any]:
    address, muxed_id = _demux(account)
    return {"destination": address, "muxed_id": muxed_id}


def _demux(account: "stellar_xdr.MuxedAccount") -> tuple[str, int | None]:
    if account.med25519 is not None:
        return _account(account.med25519.ed25519.uint256), account.med25519.id.uint64
    assert account.ed25519 is not None
    return _account(account.ed25519.uint256), None


def _account(public_key: bytes) -> str:
    from stellar_sdk import StrKey

    return StrKey.encode_ed25519_public_key(public_key)


def _asset(asset: "stellar_xdr.Asset") -> str:
    if asset.alpha_num4 is not None:
        code, issuer = asset.alpha_num4.asset_code.asset_code4, asset.alpha_num4.issuer
    elif asset.alpha_num12 is not None:
        code, issuer = asset.alpha_num12.asset_code.asset_code12, asset.alpha_num12.issuer
    else:
        return NATIVE
    assert issuer.account_id.ed25519 is not None
    # Latin-1 never fails, so a code that the network would refuse simply equals no asset of ours.
    return f"{code.rstrip(bytes(1)).decode('latin-1')}:{_account(issuer.account_id.ed25519.uint256)}"
