"""Reading transaction envelopes: XDR in, the facts the ledger works with out.

Everything is read from the generated XDR classes and not from stellar-sdk's operation objects, because
those refuse values (a payment of 0, say) which a ledger must accept for reading and then answer with a
result code.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache

from stellar_sdk import MuxedAccount, StrKey
from stellar_sdk import xdr as sx

from portal.kernel.errors import Invalid

NATIVE = "native"
# stellar-core refuses more, and Horizon answers transaction_malformed.
OPERATIONS_MAX = 100
ENVELOPE_CHARACTERS_MAX = 200_000
_TIME_MAX = 2**63 - 1


class MalformedEnvelope(Invalid):
    code = "transaction_malformed"


@dataclass(frozen=True, slots=True)
class Party:
    """An account as an operation names it: the G address, and M address with id when it was muxed."""

    account: str
    muxed: str | None = None
    muxed_id: int | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A decoded transaction. Fees in stroops; `bump_fee` and the inner fields are None without a fee-bump."""

    xdr: str
    hash: str
    inner_hash: str | None
    tx: sx.Transaction
    source: Party
    fee_source: Party
    sequence: int
    fee: int
    bump_fee: int | None
    signatures: tuple[sx.DecoratedSignature, ...]
    inner_signatures: tuple[sx.DecoratedSignature, ...] | None

    @property
    def operations(self) -> list[sx.Operation]:
        return self.tx.operations

    @property
    def signed_hash(self) -> bytes:
        """The hash that the sources of the (inner) transaction sign."""
        return bytes.fromhex(self.inner_hash or self.hash)

    @property
    def source_signatures(self) -> tuple[sx.DecoratedSignature, ...]:
        return self.signatures if self.inner_signatures is None else self.inner_signatures

    def operation_source(self, index: int) -> Party:
        source = self.operations[index].source_account
        return self.source if source is None else party(source)


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Unix seconds; `max_time` 0 means for ever."""

    min_time: int
    max_time: int


def network_id(passphrase: str) -> bytes:
    return hashlib.sha256(passphrase.encode()).digest()


def read_envelope(text: str, passphrase: str) -> Envelope:
    """Decode base64 XDR and compute its hash under `passphrase`.

    :raises MalformedEnvelope: for anything that is not one whole TransactionEnvelope.
    """
    if not text or len(text) > ENVELOPE_CHARACTERS_MAX:
        raise MalformedEnvelope("The envelope is empty or too long.")
    try:
        envelope = sx.TransactionEnvelope.from_xdr_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, EOFError, IndexError, TypeError) as error:
        raise MalformedEnvelope("The envelope cannot be decoded.") from error
    if envelope.type == sx.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP and envelope.fee_bump is not None:
        return _fee_bump(text, envelope.fee_bump, passphrase)
    if envelope.type == sx.EnvelopeType.ENVELOPE_TYPE_TX and envelope.v1 is not None:
        return _plain(text, envelope.v1.tx, envelope.v1.signatures, passphrase)
    if envelope.type == sx.EnvelopeType.ENVELOPE_TYPE_TX_V0 and envelope.v0 is not None:
        return _plain(text, _upgraded(envelope.v0.tx), envelope.v0.signatures, passphrase)
    raise MalformedEnvelope("Only transactions and fee-bumps can be submitted.")


def _plain(
    text: str, tx: sx.Transaction, signatures: list[sx.DecoratedSignature], passphrase: str
) -> Envelope:
    _check_size(tx)
    source = party(tx.source_account)
    return Envelope(
        xdr=text,
        hash=_transaction_hash(tx, passphrase),
        inner_hash=None,
        tx=tx,
        source=source,
        fee_source=source,
        sequence=tx.seq_num.sequence_number.int64,
        fee=tx.fee.uint32,
        bump_fee=None,
        signatures=tuple(signatures),
        inner_signatures=None,
    )


def _fee_bump(text: str, envelope: sx.FeeBumpTransactionEnvelope, passphrase: str) -> Envelope:
    inner = envelope.tx.inner_tx.v1
    if inner is None:
        raise MalformedEnvelope("A fee-bump wraps a transaction of version 1.")
    _check_size(inner.tx)
    tagged = sx.TransactionSignaturePayloadTaggedTransaction(
        sx.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP, fee_bump=envelope.tx
    )
    return Envelope(
        xdr=text,
        hash=_payload_hash(tagged, passphrase),
        inner_hash=_transaction_hash(inner.tx, passphrase),
        tx=inner.tx,
        source=party(inner.tx.source_account),
        fee_source=party(envelope.tx.fee_source),
        sequence=inner.tx.seq_num.sequence_number.int64,
        fee=inner.tx.fee.uint32,
        bump_fee=envelope.tx.fee.int64,
        signatures=tuple(envelope.signatures),
        inner_signatures=tuple(inner.signatures),
    )


def _check_size(tx: sx.Transaction) -> None:
    if len(tx.operations) > OPERATIONS_MAX:
        raise MalformedEnvelope("A transaction holds at most 100 operations.")


def _upgraded(tx: sx.TransactionV0) -> sx.Transaction:
    """Return a version 0 transaction as version 1, which is the form that is hashed and signed."""
    bounds = tx.time_bounds
    kind = sx.PreconditionType.PRECOND_NONE if bounds is None else sx.PreconditionType.PRECOND_TIME
    return sx.Transaction(
        source_account=sx.MuxedAccount(sx.CryptoKeyType.KEY_TYPE_ED25519, ed25519=tx.source_account_ed25519),
        fee=tx.fee,
        seq_num=tx.seq_num,
        cond=sx.Preconditions(kind, time_bounds=bounds),
        memo=tx.memo,
        operations=tx.operations,
        ext=sx.TransactionExt(0),
    )


def _transaction_hash(tx: sx.Transaction, passphrase: str) -> str:
    kind = sx.EnvelopeType.ENVELOPE_TYPE_TX
    return _payload_hash(sx.TransactionSignaturePayloadTaggedTransaction(kind, tx=tx), passphrase)


def _payload_hash(tagged: sx.TransactionSignaturePayloadTaggedTransaction, passphrase: str) -> str:
    payload = sx.TransactionSignaturePayload(sx.Hash(network_id(passphrase)), tagged)
    return hashlib.sha256(payload.to_xdr_bytes()).hexdigest()


@lru_cache(maxsize=8192)
def _address(key: bytes) -> str:
    return StrKey.encode_ed25519_public_key(key)


def account_address(account: sx.AccountID) -> str:
    key = account.account_id.ed25519
    assert key is not None
    return _address(key.uint256)


def party(account: sx.MuxedAccount) -> Party:
    if account.med25519 is not None:
        address = _address(account.med25519.ed25519.uint256)
        number = account.med25519.id.uint64
        return Party(address, MuxedAccount(address, number).account_muxed, number)
    assert account.ed25519 is not None
    return Party(_address(account.ed25519.uint256))


def asset_key(asset: sx.Asset | sx.ChangeTrustAsset) -> str | None:
    """Return `native` or `CODE:ISSUER`; None for a pool share or a code that is no valid asset code."""
    if asset.type == sx.AssetType.ASSET_TYPE_NATIVE:
        return NATIVE
    if asset.alpha_num4 is not None:
        return _credit(asset.alpha_num4.asset_code.asset_code4, asset.alpha_num4.issuer)
    if asset.alpha_num12 is not None:
        return _credit(asset.alpha_num12.asset_code.asset_code12, asset.alpha_num12.issuer)
    return None


def _credit(raw: bytes, issuer: sx.AccountID) -> str | None:
    code = code_text(raw)
    return None if code is None else f"{code}:{account_address(issuer)}"


def code_text(raw: bytes) -> str | None:
    code = raw.rstrip(b"\x00")
    if not code or not code.isalnum():
        return None
    return code.decode("ascii")


def time_limits(tx: sx.Transaction) -> TimeLimits | None:
    bounds = tx.cond.time_bounds if tx.cond.v2 is None else tx.cond.v2.time_bounds
    if bounds is None:
        return None
    return TimeLimits(
        min(bounds.min_time.time_point.uint64, _TIME_MAX), min(bounds.max_time.time_point.uint64, _TIME_MAX)
    )
