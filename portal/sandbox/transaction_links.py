"""Reading `web+stellar:tx` links (SEP-7) for the sandbox's wallet page: a whole transaction to sign and submit."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from stellar_sdk import (
    Asset,
    ChangeTrust,
    CreateAccount,
    HashMemo,
    IdMemo,
    Keypair,
    Memo,
    PathPaymentStrictReceive,
    PathPaymentStrictSend,
    Payment,
    ReturnHashMemo,
    TextMemo,
    Transaction,
    TransactionEnvelope,
)
from stellar_sdk.exceptions import SdkError
from stellar_sdk.operation import Operation

from portal.kernel.addresses import is_account
from portal.kernel.errors import Invalid
from portal.kernel.money import display, parse_amount
from portal.sandbox.envelopes import Envelope, MalformedEnvelope, read_envelope
from portal.sandbox.payment_links import BadPaymentLink

# A transaction of a hundred payments stays below this.
LINK_CHARACTERS_MAX = 40_000
LIMIT_MOST = "922337203685.4775807"
# What the SDK raises for envelopes that a ledger could read and it does not.
_UNREADABLE = (SdkError, ValueError, TypeError, AttributeError, LookupError)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation in words, with what it names."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TransactionLink:
    """What a link asks to sign; `signer` is the account whose key it needs."""

    envelope_xdr: str
    signer: str
    message: str | None
    memo: str | None
    steps: tuple[Step, ...]

    def signed(self, keypair: Keypair, passphrase: str) -> str:
        """Return the envelope with this key's signature added."""
        envelope = TransactionEnvelope.from_xdr(self.envelope_xdr, passphrase)
        envelope.sign(keypair)
        return envelope.to_xdr()


def is_transaction_link(uri: str) -> bool:
    return uri.strip().startswith("web+stellar:tx?")


def read_transaction_link(uri: str, passphrase: str) -> TransactionLink:
    """Read a SEP-7 tx link meant for the network of `passphrase`.

    :raises BadPaymentLink: saying in a sentence what is wrong with it.
    """
    if len(uri) > LINK_CHARACTERS_MAX:
        raise BadPaymentLink("This link is too long.")
    fields = dict(parse_qsl(urlsplit(uri.strip()).query, keep_blank_values=True))
    network = fields.get("network_passphrase")
    if network not in (None, passphrase):
        raise BadPaymentLink(f"This link is for another network ({network}); this sandbox is “{passphrase}”.")
    if fields.get("callback") or fields.get("replace"):
        raise BadPaymentLink(
            "This wallet signs and submits what a link holds; it fills in and calls nothing."
        )
    # A base64 `+` that was not percent-encoded arrives as a space.
    envelope_xdr = fields.get("xdr", "").replace(" ", "+")
    try:
        envelope = read_envelope(envelope_xdr, passphrase)
        transaction = TransactionEnvelope.from_xdr(envelope_xdr, passphrase).transaction
    except (MalformedEnvelope, *_UNREADABLE) as error:
        raise BadPaymentLink("The transaction in this link cannot be read.") from error
    return _link(fields, envelope, transaction)


def _link(fields: dict[str, str], envelope: Envelope, transaction: Transaction) -> TransactionLink:
    signer = fields.get("pubkey") or envelope.source.account
    if not is_account(signer):
        raise BadPaymentLink("The link names a signer that is no account.")
    return TransactionLink(
        envelope_xdr=envelope.xdr,
        signer=signer,
        message=fields.get("msg"),
        memo=_memo(transaction.memo),
        steps=tuple(_step(operation) for operation in transaction.operations),
    )


def _memo(memo: Memo) -> str | None:
    if isinstance(memo, IdMemo):
        return str(memo.memo_id)
    if isinstance(memo, TextMemo):
        return memo.memo_text.decode("utf-8", "replace")
    if isinstance(memo, HashMemo):
        return memo.memo_hash.hex()
    return memo.memo_return.hex() if isinstance(memo, ReturnHashMemo) else None


def _step(operation: Operation) -> Step:
    if isinstance(operation, ChangeTrust) and isinstance(operation.asset, Asset):
        code, issuer = operation.asset.code, str(operation.asset.issuer)
        if operation.limit in ("0", "0.0000000"):
            return Step(f"Accept no more {code}", (("Issuer", issuer),))
        limit = "as much as there can be" if operation.limit == LIMIT_MOST else _shown(operation.limit)
        return Step(f"Accept {code}", (("Issuer", issuer), ("Limit", limit)))
    if isinstance(operation, Payment):
        return _paying(operation.amount, operation.asset, operation.destination.universal_account_id)
    if isinstance(operation, PathPaymentStrictReceive):
        return _paying(
            operation.dest_amount, operation.dest_asset, operation.destination.universal_account_id
        )
    if isinstance(operation, PathPaymentStrictSend):
        return _paying(
            operation.send_amount, operation.send_asset, operation.destination.universal_account_id
        )
    if isinstance(operation, CreateAccount):
        return _paying(operation.starting_balance, Asset.native(), operation.destination)
    return Step(type(operation).__name__)


def _paying(amount: str, asset: Asset, destination: str) -> Step:
    facts = [("To", destination)]
    if asset.issuer is not None:
        facts.append(("Issuer", asset.issuer))
    return Step(f"Pay {_shown(amount)} {asset.code}", tuple(facts))


def _shown(amount: str) -> str:
    try:
        return display(parse_amount(amount))
    except Invalid:
        return amount
