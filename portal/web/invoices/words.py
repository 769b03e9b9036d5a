"""What an invoice's flags mean and why money or a submitted hash was not credited, in words."""

from collections.abc import Sequence

from portal.domain.invoices.models import Invoice
from portal.kernel.assets import asset_code
from portal.kernel.money import display

# What each flag means for the person who reads the page.
FLAG_WORDS = {
    "readiness_unknown": (
        "warning",
        "The wallet could not be checked",
        "When this invoice was issued, the network did not answer in time, so we could not make sure that your"
        " wallet can receive this asset. Payments are matched as usual.",
    ),
    "late": (
        "info",
        "Paid late",
        "A payment arrived after the invoice had expired. It counts, because you accept late payments.",
    ),
    "short": (
        "info",
        "Slightly short",
        "The last payment was a little short. The rest was within your tolerance and is waived.",
    ),
    "overpaid": (
        "warning",
        "More was paid than due",
        "The excess is credit of the client: use it for another invoice of theirs, or send it back.",
    ),
    "duplicate": (
        "warning",
        "Paid twice",
        "Another payment came in after the invoice was paid. All of it is credit of the client: use it for another"
        " invoice of theirs, or send it back.",
    ),
    "own_wallet": (
        "info",
        "Paid from your own wallet",
        "Such a payment counts for the invoice but not as revenue.",
    ),
    "reversed": (
        "danger",
        "A payment was taken back",
        "This invoice had been paid, but money was taken off it since: its issuer clawed it back, or somebody undid a"
        " payment. It can be paid again with the same link and reference. The timeline says what happened.",
    ),
}
# Credit belongs to a client; where nobody is named there is no other invoice that it could pay.
WITHOUT_CLIENT = {
    "overpaid": "This invoice names no client, so the excess cannot pay another invoice. Send it back.",
    "duplicate": "Another payment came in after the invoice was paid. This invoice names no client, so the money cannot"
    " pay another invoice. Send it back.",
}

CODE_WORDS = {
    "transaction_failed": "the transaction failed on the network, so no money moved",
    "hash_used": "it pays something else",
    "self_payment": "sender and receiver are the same account",
    "pay_and_return": "the money goes back out in the same transaction",
    "no_reference": "it carries no reference, so nobody can say what it is for",
    "unknown_reference": "its reference belongs to no invoice of yours",
    "reference_mismatch": "its memo and its muxed address name different invoices",
    "reference_conflict": "its memo and its muxed address name different invoices",
    "wrong_destination": "it went to another address than the invoice names",
    "wrong_asset": "it is another asset than the invoice asks for",
    "wrong_network": "it is on another network",
    "predates": "it is older than the invoice",
    "invoice_cancelled": "the invoice was cancelled before it arrived",
    "late": "it arrived after the invoice expired, and your policy leaves late money to you",
    "not_a_payment": "it moves no money to an account",
    "refunded": "it was sent back to its payer",
    "link_over_capacity": "the payment link had no uses left",
    "clawback": "the issuer of the asset took it back",
}


def reason_words(code: str | None) -> str:
    """Return why a credit or a claim was not accepted, as the end of a sentence."""
    return CODE_WORDS.get(code or "", (code or "unknown").replace("_", " "))


def flag_words(
    flags: Sequence[str], *, has_client: bool, has_excess: bool = True
) -> list[tuple[str, str, str]]:
    """Return (kind, title, text) of each flag; a second payment says all that the excess would say again.

    `has_excess` is False once the excess was sent back or used, so that nothing is left to do about it.
    """
    found = []
    for flag in flags:
        if flag not in FLAG_WORDS or (flag == "overpaid" and "duplicate" in flags):
            continue
        kind, title, text = FLAG_WORDS[flag]
        if flag in WITHOUT_CLIENT and not has_excess:
            found.append(("info", title, "What was too much has been sent back or used since."))
            continue
        found.append((kind, title, text if has_client else WITHOUT_CLIENT.get(flag, text)))
    return found


def flag_hint(invoice: Invoice) -> str:
    """Return what to do about an invoice in a list, in a few words; nothing when there is nothing to do."""
    code = asset_code(invoice.asset)
    if "reversed" in invoice.flags:
        return f"{display(invoice.amount - invoice.amount_received)} {code} due again"
    if invoice.overpaid_by > 0:
        return f"{display(invoice.overpaid_by)} {code} too much"
    return ""
