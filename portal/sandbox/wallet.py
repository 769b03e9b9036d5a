"""What the wallet page does for its visitor: real transactions, signed with a key of play money.

The secret lives in the visitor's cookie. That would be unforgivable with real money and is the point here:
whoever tries the sandbox needs no wallet, no extension and no JavaScript.
"""

from dataclasses import dataclass
from decimal import Decimal

from stellar_sdk import Asset, Keypair, TransactionBuilder
from stellar_sdk.exceptions import Ed25519SecretSeedInvalidError

from portal.kernel.assets import asset_code
from portal.kernel.errors import Invalid
from portal.kernel.money import display, format_units, from_stroops, to_stroops
from portal.sandbox.ledger import Ledger, Ticket
from portal.sandbox.market import TEST_MONEY_STROOPS, issuer_keypair
from portal.sandbox.payment_links import PaymentLink

_SENTENCES = {
    "op_underfunded": "This wallet does not hold enough of the asset. An account must also keep a small XLM reserve.",
    "op_src_no_trust": "This wallet does not hold the asset yet. Get some test money first.",
    "op_no_trust": "The receiver does not accept this asset: it has no trustline for it.",
    "op_not_authorized": "The receiver is not authorised by the asset's issuer.",
    "op_line_full": "The receiver's limit for this asset is reached.",
    "op_no_destination": "The receiving account does not exist.",
    "op_low_reserve": "A new account needs at least 1 XLM.",
    "op_over_source_max": "The price moved past what you agreed to pay.",
    "op_too_few_offers": "These two assets do not trade on this sandbox.",
    "op_already_exists": "This account already exists.",
    "op_no_issuer": "The issuer of this asset has no account on the ledger.",
    "op_invalid_limit": "The limit is below what the wallet holds.",
    "op_malformed": "The network cannot make sense of this operation.",
    "tx_bad_auth": "The signature is not that of the account that must sign.",
    "tx_too_late": "This request is out of date. Ask for a new one.",
    "tx_bad_seq": "Another transaction of this wallet came first. Ask for a new request, or try again.",
    "tx_insufficient_balance": "This wallet cannot pay the network fee.",
    "tx_no_source_account": "This wallet has no account on the ledger any more. Start a new one.",
}


class UnknownAsset(Invalid):
    code = "asset_unknown"


@dataclass(frozen=True, slots=True)
class Holding:
    asset: str
    code: str
    amount: str
    stroops: int


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to pay a link: from which holding, and what it costs when the amount is known."""

    asset: str
    code: str
    cost: str | None
    converted: bool
    affordable: bool


def keypair_of(secret: str | None) -> Keypair | None:
    """Return the key of the visitor's cookie, or None when there is none worth the name."""
    if not secret:
        return None
    try:
        return Keypair.from_secret(secret)
    except (Ed25519SecretSeedInvalidError, ValueError):
        return None


def sentence_for(words: dict[str, object]) -> str:
    """Turn Horizon's result codes into a sentence for the visitor."""
    operations = words.get("operations")
    codes = [str(code) for code in operations] if isinstance(operations, list) else []
    codes = [code for code in codes if code != "op_success"]
    codes.append(str(words.get("inner_transaction") or words.get("transaction")))
    return _SENTENCES.get(codes[0], f"The network refused the payment ({codes[0]}).")


def holdings(ledger: Ledger, address: str) -> list[Holding]:
    """Return what the account holds as of the last close, XLM first; empty when there is no account."""
    account = ledger.store.account(address)
    if account is None:
        return []
    held = [("native", account.balance)] + [
        (asset, line.balance) for asset, line in account.trustlines.items()
    ]
    return [
        Holding(asset, asset_code(asset), display(from_stroops(stroops)), stroops) for asset, stroops in held
    ]


def offers(ledger: Ledger, held: list[Holding], link: PaymentLink) -> list[Offer]:
    """Return the holdings a link can be paid from, the asked one first."""
    found = []
    for holding in sorted(held, key=lambda holding: holding.asset != link.asset):
        if ledger.market.rate(holding.asset, link.asset) is None:
            continue
        cost, affordable = None, holding.stroops > 0
        if link.amount is not None:
            stroops = ledger.market.cost(holding.asset, link.asset, to_stroops(link.amount)) or 0
            cost, affordable = display(from_stroops(stroops)), holding.stroops >= stroops
        found.append(Offer(holding.asset, holding.code, cost, holding.asset != link.asset, affordable))
    return found


def add_test_money(ledger: Ledger, visitor: Keypair, code: str) -> Ticket:
    """Trust a built-in asset and receive 1,000 of it, in one transaction that both sides sign.

    :raises UnknownAsset: when the sandbox brings no such asset along.
    :raises TransactionRefused: when the account is gone.
    """
    asset_text = ledger.market.assets.get(code)
    if asset_text is None:
        raise UnknownAsset(f"This sandbox has no asset {code}.")
    issuer = issuer_keypair(ledger.passphrase)
    asset = Asset(code, issuer.public_key)
    amount = format_units(from_stroops(TEST_MONEY_STROOPS))

    def add(builder: TransactionBuilder) -> None:
        builder.append_change_trust_op(asset)
        builder.append_payment_op(visitor.public_key, asset, amount, source=issuer.public_key)

    return ledger.submit_signed(visitor, add, issuer)


def pay(ledger: Ledger, visitor: Keypair, link: PaymentLink, *, amount: Decimal, pay_with: str) -> Ticket:
    """Pay `amount` of the link's asset from the holding `pay_with`; what trades is converted on the way.

    Paying XLM to an address without an account creates it, as wallets do.

    :raises TransactionRefused: when the network refuses it at once.
    """
    text = format_units(amount)
    wanted = _asset(link.asset)

    def add(builder: TransactionBuilder) -> None:
        if pay_with != link.asset:
            cost = ledger.market.cost(pay_with, link.asset, to_stroops(amount)) or 0
            most = format_units(from_stroops(cost))
            builder.append_path_payment_strict_receive_op(
                link.destination, _asset(pay_with), most, wanted, text, path=[]
            )
        elif link.asset == "native" and ledger.store.account(link.account) is None:
            builder.append_create_account_op(link.account, text)
        else:
            builder.append_payment_op(link.destination, wanted, text)

    return ledger.submit_signed(visitor, add, memo=link.to_memo())


def _asset(text: str) -> Asset:
    if text == "native":
        return Asset.native()
    code, _, issuer = text.partition(":")
    return Asset(code, issuer)
