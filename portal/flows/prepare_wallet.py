"""What makes a wallet ready: the requests its owner signs, and play money in the sandbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import current_app

from portal.adapters import friendbot
from portal.adapters.chain import chain_source
from portal.adapters.trust_requests import change_trust_xdr
from portal.db import release
from portal.domain.merchants.models import Wallet
from portal.flows.check_readiness import check_wallet
from portal.kernel.assets import asset_code
from portal.kernel.chain import AccountState
from portal.kernel.errors import Denied, Unavailable
from portal.kernel.sep7 import transaction_uri

# A page waits this long for the account's sequence, then comes without the request.
ASK_SECONDS = 1.0


class PlayMoneyRefused(Denied):
    code = "play_money_refused"


@dataclass(frozen=True, slots=True)
class TrustRequest:
    """An unsigned change_trust for one asset: as XDR and as a link that wallets open."""

    envelope_xdr: str
    uri: str


def trust_requests(*, wallet: Wallet, assets: Sequence[str], now: datetime) -> dict[str, TrustRequest]:
    """Return the request for each of `assets`; none while the chain does not tell the account's sequence."""
    if not assets:
        return {}
    release()
    try:
        state = chain_source().account(wallet.address, within_seconds=ASK_SECONDS)
    except Unavailable:
        return {}
    return {} if state is None else {asset: _request(state, asset, now) for asset in assets}


def fund_in_sandbox(*, wallet: Wallet, now: datetime) -> None:
    """Let friendbot open the wallet's account and look at it again.

    :raises PlayMoneyRefused: on any network but the bundled sandbox.
    :raises Unavailable: when the sandbox does not answer.
    """
    if not current_app.config["TAGIH"].is_sandbox:
        raise PlayMoneyRefused("Play money exists in the sandbox alone.")
    release()
    friendbot.fund(wallet.address)
    check_wallet(wallet=wallet, now=now)


def _request(state: AccountState, asset: str, now: datetime) -> TrustRequest:
    config = current_app.config["TAGIH"]
    envelope_xdr = change_trust_xdr(
        address=state.address,
        sequence=state.sequence,
        asset=asset,
        passphrase=config.network_passphrase,
        now=now,
    )
    uri = transaction_uri(
        envelope_xdr,
        signer=state.address,
        network_passphrase=None if config.network == "live" else config.network_passphrase,
        message=f"Accept {asset_code(asset)}",
    )
    return TrustRequest(envelope_xdr, uri)
