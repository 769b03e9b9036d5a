"""Whether a wallet can receive an asset, asked of the chain when what we know is old."""

from dataclasses import dataclass
from datetime import datetime

from portal.adapters.chain import chain_source
from portal.db import release, run_transaction
from portal.domain.merchants import queries, rules, service
from portal.domain.merchants.models import Wallet
from portal.domain.merchants.rules import Readiness
from portal.kernel.assets import asset_code
from portal.kernel.chain import AccountState
from portal.kernel.errors import Unavailable

DETAILS = {
    "no_account": "The receiving account does not exist yet. Fund it first.",
    "no_trustline": "The receiving wallet has no trustline for {code}. Add it, then try again.",
    "not_authorised": "The issuer of {code} has not authorised the receiving wallet.",
    "limit": "The receiving wallet's trustline for {code} is full.",
}


# Issuing waits this long for the chain at the most, then goes on with the flag `readiness_unknown`.
ASK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ReadinessAnswer:
    """`ready` is None when neither the rows nor the chain could say; `detail` is a sentence when it is False."""

    ready: bool | None
    detail: str = ""
    reason: str | None = None


def check_readiness(*, wallet: Wallet, asset: str, now: datetime) -> ReadinessAnswer:
    """Return whether `wallet` can receive `asset`; call it outside a transaction.

    A good answer holds for 2 hours. A bad one is asked again at once, since whoever just added a trustline
    should not wait, and stands when the chain does not answer.
    """
    known = queries.readiness(wallet.merchant_id, wallet.id, asset)
    is_recent = known is not None and now - known.checked_at < rules.READINESS_FRESH
    if known is not None and is_recent and known.ready:
        return ReadinessAnswer(True)
    release()
    try:
        state = chain_source().account(wallet.address, within_seconds=ASK_SECONDS)
    except Unavailable:
        if known is not None and is_recent:
            return _answer(known.ready, known.reason, asset)
        return ReadinessAnswer(None)
    result = rules.readiness_of(state, asset)
    run_transaction(lambda: keep(wallet, [result], now))
    return _answer(result.ready, result.reason, asset)


def check_wallet(*, wallet: Wallet, assets: list[str], now: datetime) -> None:
    """Ask the chain about a wallet on demand and keep the answer for each asset.

    :raises Unavailable: when the chain does not answer; what we knew stays.
    """
    release()
    state = chain_source().account(wallet.address)
    results = readiness_of_all(state, assets)
    run_transaction(lambda: keep(wallet, results, now))


def readiness_of_all(state: AccountState | None, assets: list[str]) -> list[Readiness]:
    return [rules.readiness_of(state, asset) for asset in dict.fromkeys(["native", *assets])]


def keep(wallet: Wallet, results: list[Readiness], now: datetime) -> None:
    service.record_readiness(merchant_id=wallet.merchant_id, wallet_id=wallet.id, results=results, now=now)


def _answer(ready: bool, reason: str | None, asset: str) -> ReadinessAnswer:
    detail = "" if ready else DETAILS.get(reason or "", "").format(code=asset_code(asset))
    return ReadinessAnswer(ready, detail, reason)
