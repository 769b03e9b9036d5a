"""Requests that a wallet opens and signs (SEP-7): here those that carry a whole transaction."""

from urllib.parse import quote, urlencode

MESSAGE_MAX = 300


def transaction_uri(
    envelope_xdr: str, *, signer: str, network_passphrase: str | None = None, message: str = ""
) -> str:
    """Return a `web+stellar:tx` request, percent-encoded.

    `signer` is the account that must sign; `network_passphrase` stays out for the public network alone.
    """
    fields = {"xdr": envelope_xdr, "pubkey": signer}
    if message:
        fields["msg"] = message[:MESSAGE_MAX]
    if network_passphrase is not None:
        fields["network_passphrase"] = network_passphrase
    return "web+stellar:tx?" + urlencode(fields, quote_via=quote)
