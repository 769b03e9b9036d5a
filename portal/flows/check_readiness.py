"""Whether a wallet can receive what is due to it: asked of the chain hourly, on demand and before issue."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from portal.adapters.chain import chain_source
from portal.db import release, run_transaction
from portal.domain.invoices.dues import open_dues_to
from portal.domain.merchants import queries, rules, service
from portal.domain.merchants.models import Wallet, WalletAsset
from portal.domain.merchants.rules import Issuer, Readiness
from portal.kernel.assets import NATIVE, asset_code, asset_issuer
from portal.kernel.chain import AccountState
from portal.kernel.errors import Unavailable
from portal.kernel.money import ZERO, display

DETAILS = {
    "no_account": "The receiving account does not exist yet. Fund it first.",
    "no_trustline": "The receiving wallet has no trustline for {code}. Settings, Wallets has the request that adds it.",
    "not_authorised": "The issuer of {code} has not authorised the receiving wallet.",
    "limit": "The receiving wallet's trustline for {code} has no room for all that is due.",
}
NO_ROOM = "The receiving wallet's trustline has room for {room} {code}, but {due} {code} would then be due. Raise its limit."
# What is due does not grow a millionfold while an answer holds.
WIDE = 1_000_000
# Issuing waits this long for the chain at the most, then goes on with the flag `readiness_unknown`.
ASK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ReadinessAnswer:
    """`ready` is None when neither the rows nor the chain could say; `detail` is a sentence when it is False."""

    ready: bool | None
    detail: str = ""
    reason: str | None = None


@dataclass
class Issuers:
    """The issuers of one round, each asked for once however many wallets hold what it issued."""

    known: dict[str, Issuer] = field(default_factory=dict)

    def of(self, asset: str) -> Issuer | None:
        """Return what is known of an asset's issuer; None when the chain does not say."""
        address = asset_issuer(asset)
        if address is None:
            return Issuer()
        if address not in self.known:
            try:
                self.known[address] = rules.issuer_of(chain_source().account(address))
            except Unavailable:
                return None
        return self.known[address]


def check_readiness(*, wallet: Wallet, asset: str, amount: Decimal = ZERO, now: datetime) -> ReadinessAnswer:
    """Return whether `wallet` can receive `amount` of `asset` beside all that is due; call it outside a transaction.

    A good answer holds for 2 hours. A bad one is asked again at once, since whoever just added a trustline
    should not wait, and stands when the chain does not answer.
    """
    known = queries.readiness(wallet.merchant_id, wallet.id, asset)
    recent = known if known is not None and now - known.checked_at < rules.READINESS_FRESH else None
    if recent is not None and recent.ready and _is_far_from_full(recent, amount):
        return ReadinessAnswer(True)
    open_due = _open_due(wallet, asset)
    due = open_due + amount
    if recent is not None and recent.ready and _has_plenty_of_room(recent, due):
        return ReadinessAnswer(True)
    release()
    try:
        state = chain_source().account(wallet.address, within_seconds=ASK_SECONDS)
    except Unavailable:
        if recent is None:
            return ReadinessAnswer(None)
        return _answer(recent.reason, recent.headroom, asset, due)
    result = rules.readiness_of(state, asset, due=open_due)
    run_transaction(lambda: keep(wallet, [result], now))
    return _answer(result.reason, result.headroom, asset, due)


def check_wallet(*, wallet: Wallet, now: datetime, issuers: Issuers | None = None) -> None:
    """Ask the chain about every asset that a wallet needs, and its issuer, and keep the answers.

    :raises Unavailable: when the chain does not answer; what we knew stays.
    """
    merchant_id, network = wallet.merchant_id, wallet.network
    needed = {NATIVE, queries.get_merchant(merchant_id).default_asset}
    needed |= {row.asset for row in queries.list_readiness(merchant_id, [wallet.id])}
    dues = open_dues_to(merchant_id=merchant_id, network=network, address=wallet.address)
    release()
    state = chain_source().account(wallet.address)
    # What an issuer can take back is watched for, whether or not an invoice asks for it.
    held = () if state is None else state.balances
    needed |= {*dues, *(holding.asset for holding in held if holding.clawback_enabled)}
    asked = issuers or Issuers()
    results = [
        rules.readiness_of(state, asset, due=dues.get(asset, ZERO), issuer=asked.of(asset))
        for asset in sorted(needed)
    ]

    def work() -> None:
        keep(wallet, results, now)
        service.note_check(merchant_id=merchant_id, wallet_id=wallet.id, now=now)

    run_transaction(work)


def readiness_of_all(state: AccountState | None, assets: list[str]) -> list[Readiness]:
    return [rules.readiness_of(state, asset) for asset in dict.fromkeys([NATIVE, *assets])]


def keep(wallet: Wallet, results: list[Readiness], now: datetime) -> None:
    service.record_readiness(merchant_id=wallet.merchant_id, wallet_id=wallet.id, results=results, now=now)


def _open_due(wallet: Wallet, asset: str) -> Decimal:
    dues = open_dues_to(merchant_id=wallet.merchant_id, network=wallet.network, address=wallet.address)
    return dues.get(asset, ZERO)


def _is_far_from_full(known: WalletAsset, amount: Decimal) -> bool:
    """Say whether the room is so wide that dues need not be added up: most trustlines take all there can be."""
    return known.headroom is None or known.headroom >= WIDE * (known.open_due + amount)


def _has_plenty_of_room(known: WalletAsset, due: Decimal) -> bool:
    """Say whether `due` fits even if all that was due at the last look has arrived since and fills the wallet."""
    return rules.has_room(known.headroom, due + known.open_due)


def _answer(reason: str | None, headroom: Decimal | None, asset: str, due: Decimal) -> ReadinessAnswer:
    code = asset_code(asset)
    if reason is not None and reason != "limit":
        return ReadinessAnswer(False, DETAILS[reason].format(code=code), reason)
    if rules.has_room(headroom, due):
        return ReadinessAnswer(True)
    room = display(headroom or ZERO)
    return ReadinessAnswer(False, NO_ROOM.format(room=room, code=code, due=display(due)), "limit")
