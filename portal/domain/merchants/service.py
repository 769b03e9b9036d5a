"""Writes of businesses and their wallets: settings, proven addresses, what the chain says of them."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import case, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError

from portal.db import constraint_of
from portal.domain.audit import service as audit
from portal.domain.events import service as events
from portal.domain.events.models import Event
from portal.domain.merchants import queries, rules
from portal.domain.merchants.models import Wallet, WalletAsset, WalletChallenge
from portal.domain.merchants.rules import CHECK_EVERY, Readiness, WalletTaken
from portal.extensions import db
from portal.kernel.clock import iso, iso_or_none
from portal.kernel.errors import Conflict
from portal.kernel.money import format_units
from portal.kernel.refs import new_id, to_ref
from portal.kernel.tokens import digest


class ChallengeUsed(Conflict):
    code = "challenge_used"


class WalletRetired(Conflict):
    code = "wallet_retired"


class WalletIsDefault(Conflict):
    code = "wallet_is_default"


@dataclass(frozen=True, slots=True)
class BusinessSettings:
    """What an owner decides about the business and how its invoices look."""

    name: str
    time_zone: str
    invoice_prefix: str
    default_asset: str


@dataclass(frozen=True, slots=True)
class PaymentSettings:
    """What an owner decides about money that comes; `tolerance` is in units of an invoice's asset."""

    expiry_hours: int
    late_policy: str
    tolerance: Decimal


def update_settings(
    *, merchant_id: UUID, settings: BusinessSettings | PaymentSettings, now: datetime
) -> None:
    """Change some settings of the caller's business and keep what they were in the audit log.

    :raises MerchantNotFound: when this tenant is not the caller's.
    """
    merchant = queries.get_merchant_for_update(merchant_id)
    wanted = asdict(settings)
    before = {key: getattr(merchant, key) for key in wanted if getattr(merchant, key) != wanted[key]}
    if not before:
        return
    for key in before:
        setattr(merchant, key, wanted[key])
    merchant.updated_at = now
    db.session.flush()
    audit.record(
        "merchant.changed",
        merchant_id=merchant_id,
        object_ref=to_ref("mer", merchant_id),
        before=_texts(before),
        after=_texts({key: wanted[key] for key in before}),
        at=now,
    )


def _texts(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: format_units(value) if isinstance(value, Decimal) else value for key, value in fields.items()
    }


# --- wallets --------------------------------------------------------------------------------------


def start_challenge(
    *, merchant_id: UUID, network: str, address: str, nonce: str, envelope_xdr: str, now: datetime
) -> str:
    """Keep a challenge for one address until it is answered and return its nonce's hash.

    :raises WalletTaken: when the address belongs to a business already.
    """
    refuse_taken(merchant_id=merchant_id, network=network, address=address)
    db.session.execute(
        insert(WalletChallenge),
        {
            "id": new_id(),
            "merchant_id": merchant_id,
            "network": network,
            "address": address,
            "nonce_hash": digest(nonce),
            "envelope_xdr": envelope_xdr,
            "expires_at": now + rules.CHALLENGE_LIFETIME,
            "created_at": now,
        },
    )
    return digest(nonce)


def refuse_taken(*, merchant_id: UUID, network: str, address: str) -> None:
    """:raises WalletTaken: when the address belongs to this or to another business, now or before."""
    if address in queries.wallet_addresses(merchant_id, network):
        raise WalletTaken("This wallet is yours already. You find it in the list.")
    if queries.wallet_is_taken(network, address):
        raise WalletTaken(
            "This wallet belongs to another business on this site, now or in the past. Payments to it are booked"
            " there, so it cannot be shared. Use another account."
        )


def add_wallet(
    *, merchant_id: UUID, network: str, address: str, nonce: str, watched_from: str, now: datetime
) -> Wallet:
    """Use the challenge up and write the wallet; the first one of a network becomes the default.

    Every check of the signature has passed before. Locks the challenge, then the business, so that of two
    first wallets one is the default.

    :raises ChallengeUsed: when the challenge is unknown here, another address's, used or out of time.
    :raises WalletTaken: when somebody else proved the address meanwhile.
    """
    challenge = queries.find_challenge(merchant_id, digest(nonce), lock=True)
    if challenge is None or challenge.address != address or challenge.network != network:
        raise ChallengeUsed("This is not the challenge that was shown here. Start again.")
    if challenge.used_at is not None or challenge.expires_at <= now:
        raise ChallengeUsed("This challenge was used or has expired. Start again.")
    challenge.used_at = now
    queries.get_merchant_for_update(merchant_id)
    is_first = queries.default_wallet(merchant_id, network) is None
    wallet = Wallet(
        id=new_id(),
        merchant_id=merchant_id,
        network=network,
        address=address,
        is_default=is_first,
        proven_at=now,
        watched_from=watched_from,
        created_at=now,
    )
    try:
        with db.session.begin_nested():
            db.session.add(wallet)
            db.session.flush()
    except IntegrityError as lost:
        if constraint_of(lost) != "uq_wallets_network_address":
            raise
        raise WalletTaken("Somebody proved this wallet a moment ago.") from lost
    _announce("wallet.proven", wallet, now)
    return wallet


def make_default(*, merchant_id: UUID, network: str, address: str, now: datetime) -> bool:
    """Let new invoices be paid to this wallet; issued ones keep theirs. False when it was so already.

    :raises WalletNotFound: when this merchant never proved it.
    :raises WalletRetired: when it is out of use.
    """
    queries.get_merchant_for_update(merchant_id)
    wallet = queries.get_wallet(merchant_id, network, address, lock=True)
    if wallet.retired_at is not None:
        raise WalletRetired("This wallet is retired.")
    if wallet.is_default:
        return False
    former = queries.default_wallet(merchant_id, network)
    if former is not None:
        former.is_default = False
        # The unique index allows one default at any moment, so the former one goes first.
        db.session.flush()
    wallet.is_default = True
    db.session.flush()
    _announce("wallet.made_default", wallet, now, before=None if former is None else former.address)
    return True


def retire(*, merchant_id: UUID, network: str, address: str, now: datetime) -> bool:
    """Take a wallet out of use for ever; it stays watched. False when it was so already.

    :raises WalletNotFound: when this merchant never proved it.
    :raises WalletIsDefault: when new invoices are paid to it: another one has to become the default first.
    """
    queries.get_merchant_for_update(merchant_id)
    wallet = queries.get_wallet(merchant_id, network, address, lock=True)
    if wallet.retired_at is not None:
        return False
    if wallet.is_default:
        raise WalletIsDefault("Make another wallet the default first, then retire this one.")
    wallet.retired_at = now
    db.session.flush()
    _announce("wallet.retired", wallet, now)
    return True


def _announce(event_type: str, wallet: Wallet, now: datetime, *, before: str | None = None) -> None:
    payload = {
        "object": "wallet",
        "address": wallet.address,
        "network": wallet.network,
        "is_default": wallet.is_default,
        "proven_at": iso(wallet.proven_at),
        "retired_at": iso_or_none(wallet.retired_at),
    }
    audit.record(
        event_type,
        merchant_id=wallet.merchant_id,
        object_ref=wallet.address,
        before=None if before is None else {"default": before},
        after=payload,
        at=now,
    )
    # The caller holds the business' row lock, so nobody else counts the versions of its wallets meanwhile.
    last = db.session.scalar(
        select(Event.version).where(Event.aggregate_id == wallet.id).order_by(Event.version.desc()).limit(1)
    )
    events.record(
        event_type,
        merchant_id=wallet.merchant_id,
        network=wallet.network,
        aggregate_id=wallet.id,
        version=(last or 0) + 1,
        payload=payload,
        at=now,
    )


def record_readiness(*, merchant_id: UUID, wallet_id: UUID, results: list[Readiness], now: datetime) -> None:
    """Keep what the chain says of some assets in a wallet, over what it said before."""
    if not results:
        return
    rows = [
        {
            "id": new_id(),
            "merchant_id": merchant_id,
            "wallet_id": wallet_id,
            "asset": result.asset,
            "ready": result.ready,
            "reason": result.reason,
            "trust_limit": result.trust_limit,
            "balance": result.balance,
            "open_due": result.open_due,
            "headroom": result.headroom,
            "issuer_flags": None if result.issuer is None else list(result.issuer.flags),
            "issuer_domain": None if result.issuer is None else result.issuer.home_domain,
            "clawback": result.clawback,
            "checked_at": now,
        }
        # One order for all writers, so that two of them never wait for each other in a circle.
        for result in sorted(results, key=lambda each: each.asset)
    ]
    new = upsert(WalletAsset).values(rows)
    names = ("ready", "reason", "trust_limit", "balance", "open_due", "headroom", "checked_at")
    changed: dict[str, Any] = {name: new.excluded[name] for name in names}
    is_asked = new.excluded.issuer_flags.is_not(None)
    for name in ("issuer_flags", "issuer_domain"):
        changed[name] = case((is_asked, new.excluded[name]), else_=getattr(WalletAsset, name))
    changed["clawback"] = WalletAsset.clawback | new.excluded.clawback
    db.session.execute(new.on_conflict_do_update(constraint="uq_wallet_assets_wallet_id_asset", set_=changed))


def claim_due_checks(*, network: str, now: datetime, lease: timedelta, limit: int) -> list[Wallet]:
    """Return live wallets whose hourly look is due and put it off by `lease`: a look that fails comes again then."""
    due = (
        select(Wallet.id)
        .where(Wallet.network == network, Wallet.retired_at.is_(None), Wallet.check_due_at <= now)
        .order_by(Wallet.check_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    claimed = update(Wallet).where(Wallet.id.in_(due)).values(check_due_at=now + lease).returning(Wallet)
    return list(db.session.scalars(claimed))


def note_check(*, merchant_id: UUID, wallet_id: UUID, now: datetime) -> None:
    """Note that all of a wallet's assets were looked at; the next look is due in an hour."""
    changed = update(Wallet).where(Wallet.merchant_id == merchant_id, Wallet.id == wallet_id)
    db.session.execute(changed.values(check_due_at=now + CHECK_EVERY))
