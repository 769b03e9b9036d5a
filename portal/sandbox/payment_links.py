"""Reading and writing `web+stellar:pay` links (SEP-7) for the sandbox's wallet page."""

import base64
import binascii
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from stellar_sdk import HashMemo, IdMemo, Memo, NoneMemo, ReturnHashMemo, TextMemo

from portal.kernel.addresses import demux
from portal.kernel.assets import parse_asset
from portal.kernel.errors import Invalid
from portal.kernel.money import parse_amount

LINK_CHARACTERS_MAX = 4_000
MEMO_TYPES = ("MEMO_TEXT", "MEMO_ID", "MEMO_HASH", "MEMO_RETURN")


class BadPaymentLink(Invalid):
    code = "payment_link_invalid"


@dataclass(frozen=True, slots=True)
class PaymentLink:
    """What a link asks for; `destination` as written (G or M), `account` its G form, amount in asset units."""

    destination: str
    account: str
    amount: Decimal | None
    asset: str
    memo_type: str | None
    memo: str | None
    message: str | None

    def to_memo(self) -> Memo:
        """:raises BadPaymentLink: when the memo does not fit its type."""
        return _memo(self.memo_type, self.memo)


def read_link(uri: str, passphrase: str) -> PaymentLink:
    """Read a SEP-7 pay link meant for the network of `passphrase`.

    :raises BadPaymentLink: saying in a sentence what is wrong with it.
    """
    if len(uri) > LINK_CHARACTERS_MAX:
        raise BadPaymentLink("This payment link is too long.")
    parts = urlsplit(uri.strip())
    if parts.scheme != "web+stellar" or parts.path != "pay":
        raise BadPaymentLink("A payment link begins with web+stellar:pay?")
    fields = dict(parse_qsl(parts.query, keep_blank_values=True))
    # SEP-7: without a passphrase the public network is meant; here it can only mean this one.
    network = fields.get("network_passphrase")
    if network not in (None, passphrase):
        raise BadPaymentLink(f"This link is for another network ({network}); this sandbox is “{passphrase}”.")
    return _from_fields(fields)


def _from_fields(fields: dict[str, str]) -> PaymentLink:
    destination = fields.get("destination", "")
    try:
        account, _muxed_id = demux(destination)
    except (Invalid, ValueError) as error:
        raise BadPaymentLink("The destination is not a valid Stellar address.") from error
    code, issuer = fields.get("asset_code"), fields.get("asset_issuer")
    asset = "native" if code in (None, "", "XLM") and not issuer else f"{code}:{issuer}"
    memo_type = fields.get("memo_type") or ("MEMO_TEXT" if fields.get("memo") else None)
    try:
        amount = parse_amount(fields["amount"]) if fields.get("amount") else None
        link = PaymentLink(
            destination, account, amount, parse_asset(asset), memo_type, fields.get("memo"), fields.get("msg")
        )
    except Invalid as error:
        raise BadPaymentLink(error.detail) from error
    link.to_memo()
    return link


def _memo(kind: str | None, text: str | None) -> Memo:
    try:
        if kind is None or not text:
            return NoneMemo()
        if kind == "MEMO_ID":
            return IdMemo(int(text))
        if kind == "MEMO_TEXT":
            return TextMemo(text)
        if kind in ("MEMO_HASH", "MEMO_RETURN"):
            # A base64 `+` that was not percent-encoded arrives as a space.
            raw = base64.b64decode(text.replace(" ", "+"), validate=True)
            return HashMemo(raw) if kind == "MEMO_HASH" else ReturnHashMemo(raw)
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadPaymentLink(f"The memo does not fit its type {kind}.") from error
    raise BadPaymentLink(f"Unknown memo type {kind}.")


def write_link(fields: dict[str, str]) -> str:
    """Return a link from form fields (destination, amount, asset, memo_type, memo), unchecked."""
    asset = fields.get("asset", "native")
    parts = {"destination": fields.get("destination", "").strip(), "amount": fields.get("amount", "").strip()}
    if asset != "native":
        code, _, issuer = asset.partition(":")
        parts |= {"asset_code": code, "asset_issuer": issuer}
    if fields.get("memo"):
        parts |= {"memo": fields["memo"], "memo_type": fields.get("memo_type", "MEMO_TEXT")}
    return "web+stellar:pay?" + urlencode(parts, quote_via=quote)
