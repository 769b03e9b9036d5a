"""One wallet's readiness in plain words: what is ready, what is wrong and what to do about it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote

from flask import current_app
from markupsafe import Markup

from portal.adapters.qr import qr_svg
from portal.domain.merchants.models import Wallet, WalletAsset
from portal.extensions import site
from portal.flows.prepare_wallet import TrustRequest
from portal.kernel.assets import asset_code, asset_issuer
from portal.kernel.money import ZERO, display

# What the owner of the wallet can mend by signing.
SIGNED_REASONS = frozenset({"no_trustline", "limit"})

WRONG = {
    "no_account": "This account is not on the network yet, so nothing can be sent to it.",
    "no_trustline": "The wallet does not accept {code} yet: it has no trustline for it.",
    "not_authorised": "The issuer has not authorised this wallet to hold {code}.",
    "limit": "The wallet has room for {room} {code}, but {due} {code} is awaited on open invoices.",
    "full": "The wallet is full: it takes no more {code}.",
}
TO_DO = {
    "no_account": "Send it at least 1.5 XLM from any wallet or exchange. The network keeps 1 XLM of every account,"
    " and half an XLM for each asset beside XLM.",
    "no_trustline": "Sign this request with the wallet. It costs a small fee and sets half an XLM aside.",
    "not_authorised": "Ask {issuer} to authorise this address for {code}. Only the issuer can do it.",
    "limit": "Sign this request with the wallet to raise its limit, or move {code} out of it.",
}
ASK_NEXT = "Afterwards ask {issuer} to authorise this address: without that it cannot receive {code}."
FREEZE = "The issuer can freeze the {code} in this wallet."
TAKE_BACK = "The issuer can take {code} back from this wallet, even after an invoice was paid with it."


@dataclass(frozen=True, slots=True)
class Request:
    """A request to sign, for a wallet on this device, on another one and for any other tool."""

    envelope_xdr: str
    uri: str
    qr: Markup
    sandbox_url: str | None


@dataclass(frozen=True, slots=True)
class AssetCard:
    """What is known of one asset; amounts in its units, `room` None without a bound."""

    asset: str
    code: str
    issuer: str | None
    domain: str | None
    ready: bool
    balance: Decimal | None
    room: Decimal | None
    due: Decimal
    checked_at: datetime
    wrong: str
    to_do: tuple[str, ...]
    warnings: tuple[str, ...]
    needs_signature: bool
    request: Request | None


def asset_cards(
    wallet: Wallet, rows: list[WalletAsset], requests: dict[str, TrustRequest]
) -> list[AssetCard]:
    """Return a card for each asset; without its account a wallet has one trouble, not one for each asset."""
    is_missing = any(row.reason == "no_account" for row in rows)
    shown = [row for row in rows if row.asset == "native"] if is_missing else rows
    return [_card(wallet, row, requests.get(row.asset)) for row in shown or rows]


def _card(wallet: Wallet, row: WalletAsset, request: TrustRequest | None) -> AssetCard:
    issuer = asset_issuer(row.asset)
    words = {
        "code": asset_code(row.asset),
        "issuer": row.issuer_domain or "the issuer",
        "room": display(row.headroom or ZERO),
        "due": display(row.open_due),
    }
    return AssetCard(
        asset=row.asset,
        code=words["code"],
        issuer=issuer,
        domain=row.issuer_domain,
        ready=row.ready,
        balance=row.balance,
        room=row.headroom,
        due=row.open_due,
        checked_at=row.checked_at,
        wrong="" if row.reason is None else WRONG[_wrong_key(row)].format(**words),
        to_do=tuple(sentence.format(**words) for sentence in _to_do(row)),
        warnings=tuple(sentence.format(**words) for sentence in _warnings(row)),
        needs_signature=row.reason in SIGNED_REASONS,
        request=None if request is None else _request(wallet, request),
    )


def _wrong_key(row: WalletAsset) -> str:
    assert row.reason is not None
    return "full" if row.reason == "limit" and not row.open_due else row.reason


def _to_do(row: WalletAsset) -> list[str]:
    if row.reason is None:
        return []
    is_closed = row.reason == "no_trustline" and "auth_required" in (row.issuer_flags or ())
    return [TO_DO[row.reason], *([ASK_NEXT] if is_closed else [])]


def _warnings(row: WalletAsset) -> list[str]:
    flags = row.issuer_flags or []
    # A trustline keeps what the issuer could do when it was opened; one to be opened takes on what it can do now.
    will_be_open = row.reason == "no_trustline" and "auth_clawback_enabled" in flags
    found = [TAKE_BACK] if row.clawback or will_be_open else []
    return [*([FREEZE] if "auth_revocable" in flags else []), *found]


def _request(wallet: Wallet, request: TrustRequest) -> Request:
    config = current_app.config["TAGIH"]
    sandbox_url = None
    if config.is_sandbox:
        back = quote(f"{site.public_base_url}/settings/wallets/{wallet.address}", safe="")
        sandbox_url = f"{config.horizon_url}/wallet?uri={quote(request.uri, safe='')}&return={back}"
    return Request(request.envelope_xdr, request.uri, qr_svg(request.uri), sandbox_url)
