"""The payer's page as a value: everything the templates print, nothing they must decide."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from urllib.parse import quote

from flask import current_app
from markupsafe import Markup

from portal.adapters.qr import qr_svg
from portal.domain.invoices.documents import checkout_url, pay_uri
from portal.domain.payments.checkout import Checkout, Line
from portal.kernel.addresses import muxed
from portal.kernel.assets import asset_code, asset_issuer
from portal.kernel.money import Settlement, format_units, settlement_for
from portal.web.checkout.words import RuleWords, Words, rule_words, words_for

# Beyond this a hash that the network does not know is hardly on its way; the page stops saying so.
CHECKING_SHOWN = timedelta(minutes=15)


class State(StrEnum):
    """What the page says first."""

    WAITING = "waiting"
    CHECKING = "checking"
    PARTIAL = "partial"
    PAID = "paid"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class HowToPay:
    """Everything a wallet needs for what is still due."""

    amount: str
    address: str
    memo: str
    muxed_address: str
    issuer: str | None
    uri: str
    qr: Markup
    qr_text: str
    sandbox_url: str | None


@dataclass(frozen=True, slots=True)
class Paid:
    """One transaction that paid, with its page at the configured explorer."""

    transaction_hash: str
    at: datetime
    amount: Decimal
    explorer_url: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A submitted hash with what became of it in words."""

    words: Words
    rules: tuple[RuleWords, ...]
    transaction_hash: str
    is_checking: bool


@dataclass(frozen=True, slots=True)
class CheckoutPage:
    """Amounts are units of `asset`; `how` is None when nothing is to be paid any more."""

    token: str
    state: State
    settlement: Settlement
    checkout: Checkout
    code: str
    due: Decimal
    how: HowToPay | None
    payments: tuple[Paid, ...]
    attempt: Attempt | None
    is_late: bool
    is_reversed: bool
    is_play_money: bool
    typed: str = ""
    error: str = ""

    @property
    def is_open(self) -> bool:
        return self.how is not None

    @property
    def may_change(self) -> bool:
        """Whether the page should keep asking: an expired invoice may still be paid late."""
        return self.is_open or self.state is State.EXPIRED

    @property
    def takes_hashes(self) -> bool:
        return self.state is not State.PAID

    @property
    def single_line(self) -> Line | None:
        """The one line of a bill that needs no sums below it."""
        alone = len(self.checkout.items) == 1 and not self.checkout.discounts and not self.checkout.taxes
        return self.checkout.items[0] if alone else None


def build_page(
    token: str, checkout: Checkout, *, now: datetime, typed: str = "", error: str = ""
) -> CheckoutPage:
    settlement = settlement_of(checkout)
    state = state_of(checkout, settlement, now)
    due = checkout.amount - checkout.amount_received
    is_open = state in {State.WAITING, State.CHECKING, State.PARTIAL}
    return CheckoutPage(
        token=token,
        state=state,
        settlement=settlement,
        checkout=checkout,
        code=asset_code(checkout.asset),
        due=due,
        how=_how_to_pay(token, checkout, due) if is_open else None,
        payments=_payments(checkout),
        attempt=_attempt(checkout),
        is_late="late" in checkout.flags,
        is_reversed=checkout.is_owed_again,
        is_play_money=checkout.network != "live",
        typed=typed,
        error=error,
    )


def settlement_of(checkout: Checkout) -> Settlement:
    overpaid = "overpaid" in checkout.flags
    return settlement_for(due=checkout.amount, received=checkout.amount_received, overpaid=overpaid)


def state_of(checkout: Checkout, settlement: Settlement, now: datetime) -> State:
    """Return what to show; a pending invoice past its time reads as expired before the sweep closes it.

    One that is owed again mostly is past its time, so there the merchant's word on late money decides.
    """
    if checkout.status != "PENDING" and not checkout.is_owed_again:
        return State(checkout.status.lower())
    if checkout.expires_at <= now and not (checkout.is_owed_again and checkout.accepts_late):
        return State.EXPIRED
    if settlement is Settlement.PARTIAL:
        return State.PARTIAL
    latest = checkout.latest
    if latest is not None and latest.state == "CHECKING":
        assert latest.started_at is not None, "every submission has a beginning"
        if now - latest.started_at < CHECKING_SHOWN:
            return State.CHECKING
    return State.WAITING


def payment_uri(checkout: Checkout, due: Decimal) -> str:
    return pay_uri(
        destination=checkout.destination,
        amount=format_units(due),
        asset=checkout.asset,
        memo=str(checkout.pay_ref),
        message=checkout.number,
    )


def _how_to_pay(token: str, checkout: Checkout, due: Decimal) -> HowToPay:
    config = current_app.config["TAGIH"]
    uri = payment_uri(checkout, due)
    sandbox_url = None
    if config.is_sandbox:
        back = quote(checkout_url(token), safe="")
        sandbox_url = f"{config.horizon_url}/wallet?uri={quote(uri, safe='')}&return={back}"
    code = asset_code(checkout.asset)
    return HowToPay(
        amount=format_units(due),
        address=checkout.destination,
        memo=str(checkout.pay_ref),
        muxed_address=muxed(checkout.destination, checkout.pay_ref),
        issuer=asset_issuer(checkout.asset),
        uri=uri,
        qr=qr_svg(uri),
        qr_text=f"QR code that opens a payment of {format_units(due)} {code} to {checkout.merchant_name} in a wallet",
        sandbox_url=sandbox_url,
    )


def _payments(checkout: Checkout) -> tuple[Paid, ...]:
    explorer = current_app.config["TAGIH"].explorer_url.rstrip("/")
    return tuple(
        Paid(
            found.transaction_hash,
            found.closed_at,
            found.amount,
            f"{explorer}/tx/{found.transaction_hash}" if explorer else None,
        )
        for found in checkout.payments
    )


def _attempt(checkout: Checkout) -> Attempt | None:
    asked = checkout.asked
    if asked is None:
        return None
    words = words_for(asked, merchant=checkout.merchant_name, asset=asset_code(checkout.asset))
    return Attempt(words, rule_words(asked), asked.transaction_hash, asked.state == "CHECKING")
