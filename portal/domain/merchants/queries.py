"""Reads of merchants, people and wallets."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Select, func, select, text

from portal.db import tenant
from portal.domain.merchants.models import (
    Membership,
    Merchant,
    User,
    UserSession,
    Wallet,
    WalletAsset,
    WalletChallenge,
)
from portal.extensions import db
from portal.kernel.errors import NotFound

SESSIONS_SHOWN_MAX = 50
WALLETS_SHOWN_MAX = 100

_RESOLVE_SIGN_IN = text("SELECT resolve_sign_in(:name)")
_RESOLVE_SESSION = text("SELECT user_id, merchant_id FROM resolve_session(:hash)")
_RESOLVE_CODE = text("SELECT resolve_one_time_code(:purpose, :hash)")
_WALLET_IS_TAKEN = text("SELECT wallet_is_taken(:network, :address)")


class MerchantNotFound(NotFound):
    code = "merchant_not_found"


class WalletNotFound(NotFound):
    code = "wallet_not_found"


class ChallengeNotFound(NotFound):
    code = "challenge_not_found"


@dataclass(frozen=True, slots=True)
class SessionView:
    """What a request needs of the person behind its cookie; `role` and the rest are None without a merchant."""

    session_id: UUID
    id_hash: str
    user_id: UUID
    merchant_id: UUID | None
    network: str
    confirmed_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    name: str
    email: str
    theme: str
    locale: str
    role: str | None
    merchant_name: str | None
    time_zone: str | None


@dataclass(frozen=True, slots=True)
class WatchedWallet:
    merchant_id: UUID
    wallet_id: UUID
    address: str
    watched_from: str


_SESSION: Select[*tuple[Any, ...]] = (
    select(
        UserSession.id,
        UserSession.id_hash,
        UserSession.user_id,
        UserSession.merchant_id,
        UserSession.network,
        UserSession.confirmed_at,
        UserSession.last_seen_at,
        UserSession.expires_at,
        User.name,
        User.email,
        User.theme,
        User.locale,
        Membership.role,
        Merchant.name,
        Merchant.time_zone,
    )
    .join(User, User.id == UserSession.user_id)
    .outerjoin(
        Membership,
        (Membership.user_id == UserSession.user_id) & (Membership.merchant_id == UserSession.merchant_id),
    )
    .outerjoin(Merchant, Merchant.id == Membership.merchant_id)
    .where(UserSession.revoked_at.is_(None), User.status == "ACTIVE")
)


def resolve_user(email: str) -> UUID | None:
    """Return the id behind a sign-in name, before any tenant is entered."""
    return cast(UUID | None, db.session.execute(_RESOLVE_SIGN_IN, {"name": email.lower()}).scalar_one())


def resolve_session(id_hash: str) -> tuple[UUID, UUID | None] | None:
    """Return (user, merchant) of a session, alive or not, before any tenant is entered."""
    row = db.session.execute(_RESOLVE_SESSION, {"hash": id_hash}).one_or_none()
    return None if row is None else (row.user_id, row.merchant_id)


def resolve_code(purpose: str, code_hash: str) -> UUID | None:
    return cast(
        UUID | None, db.session.execute(_RESOLVE_CODE, {"purpose": purpose, "hash": code_hash}).scalar_one()
    )


def wallet_is_taken(network: str, address: str) -> bool:
    """Say whether any merchant proved this address, ever."""
    return bool(db.session.execute(_WALLET_IS_TAKEN, {"network": network, "address": address}).scalar_one())


def find_session(user_id: UUID, id_hash: str) -> SessionView | None:
    """Return the unrevoked session of an active user; its age is the caller's to judge."""
    row = db.session.execute(
        _SESSION.where(UserSession.id_hash == id_hash, UserSession.user_id == user_id)
    ).one_or_none()
    return None if row is None else SessionView(*tuple(row))


def list_sessions(user_id: UUID, *, now: datetime, limit: int = SESSIONS_SHOWN_MAX) -> list[UserSession]:
    """Return the user's signed-in devices, the last seen first."""
    found = (
        select(UserSession)
        .where(UserSession.user_id == user_id, UserSession.revoked_at.is_(None), UserSession.expires_at > now)
        .order_by(UserSession.last_seen_at.desc())
        .limit(limit)
    )
    return list(db.session.scalars(found))


def find_user(user_id: UUID) -> User | None:
    return db.session.scalars(select(User).where(User.id == user_id)).one_or_none()


def names_of(user_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return what colleagues are called by; people who left the business are not seen any more."""
    rows = db.session.execute(select(User.id, User.name, User.email).where(User.id.in_(user_ids)))
    return {row.id: row.name or row.email or "" for row in rows}


def find_user_for_update(user_id: UUID) -> User | None:
    """Lock without standing in the way of rows that only refer to the user (FOR NO KEY UPDATE)."""
    wanted = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return db.session.scalars(wanted.execution_options(populate_existing=True)).one_or_none()


def first_membership(user_id: UUID) -> Membership | None:
    """Return the membership a new session begins in: the oldest."""
    oldest = (
        select(Membership).where(Membership.user_id == user_id).order_by(Membership.created_at, Membership.id)
    )
    return db.session.scalars(oldest.limit(1)).one_or_none()


def list_owner_emails(merchant_id: UUID) -> list[str]:
    """Return where news about the business' safety goes."""
    owners = (
        select(User.email)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.merchant_id == merchant_id, Membership.role == "owner", User.status == "ACTIVE")
        .where(User.email.is_not(None))
        .limit(20)
    )
    return [email for email in db.session.scalars(owners) if email is not None]


def get_merchant(merchant_id: UUID) -> Merchant:
    """:raises MerchantNotFound: when this tenant is not the caller's."""
    # The API's guard has read it with the key: within one transaction it need not be read again.
    merchant = db.session.get(Merchant, merchant_id)
    if merchant is None:
        raise MerchantNotFound("No such business.")
    return merchant


def get_merchant_for_update(merchant_id: UUID) -> Merchant:
    """Lock without standing in the way of payments, whose rows only refer to the merchant.

    :raises MerchantNotFound: when this tenant is not the caller's.
    """
    wanted = select(Merchant).where(Merchant.id == merchant_id).with_for_update(key_share=True)
    merchant = db.session.scalars(wanted.execution_options(populate_existing=True)).one_or_none()
    if merchant is None:
        raise MerchantNotFound("No such business.")
    return merchant


def default_wallet(merchant_id: UUID, network: str) -> Wallet | None:
    """Return the wallet that new invoices are paid to, or None before one is proven."""
    wanted = tenant(Wallet, merchant_id).where(
        Wallet.network == network, Wallet.is_default, Wallet.retired_at.is_(None)
    )
    return db.session.scalars(wanted).one_or_none()


def get_wallet(merchant_id: UUID, network: str, address: str, *, lock: bool = False) -> Wallet:
    """:raises WalletNotFound: when this merchant never proved it."""
    wanted = tenant(Wallet, merchant_id).where(Wallet.network == network, Wallet.address == address)
    if lock:
        wanted = wanted.with_for_update(key_share=True).execution_options(populate_existing=True)
    wallet = db.session.scalars(wanted).one_or_none()
    if wallet is None:
        raise WalletNotFound("No such wallet.")
    return wallet


def list_wallets(merchant_id: UUID, network: str, *, limit: int = WALLETS_SHOWN_MAX) -> list[Wallet]:
    """Return the proven wallets: the default first, retired ones last."""
    found = (
        tenant(Wallet, merchant_id)
        .where(Wallet.network == network)
        .order_by(Wallet.retired_at.is_not(None), Wallet.is_default.desc(), Wallet.id.desc())
        .limit(limit)
    )
    return list(db.session.scalars(found))


def wallet_addresses(merchant_id: UUID, network: str) -> dict[str, UUID]:
    """Return every address that is or was this merchant's, with its wallet: money that reaches one is theirs."""
    found = select(Wallet.address, Wallet.id).where(
        Wallet.merchant_id == merchant_id, Wallet.network == network
    )
    return {row.address: row.id for row in db.session.execute(found)}


def wallet_ids(merchant_id: UUID, network: str) -> dict[str, UUID]:
    """Return every wallet the merchant ever proved, retired ones too, by address."""
    rows = db.session.execute(
        select(Wallet.address, Wallet.id).where(Wallet.merchant_id == merchant_id, Wallet.network == network)
    )
    return {row.address: row.id for row in rows}


def all_watched(network: str) -> list[WatchedWallet]:
    """Return every wallet of every merchant, retired ones too; sees them all as the worker only."""
    found = select(Wallet.merchant_id, Wallet.id, Wallet.address, Wallet.watched_from).where(
        Wallet.network == network
    )
    return [WatchedWallet(*row) for row in db.session.execute(found.order_by(Wallet.id))]


def all_open_to_clawback(network: str) -> list[str]:
    """Return the addresses that hold, or held, what an issuer can take back; sees all merchants as the worker."""
    found = (
        select(Wallet.address)
        .where(Wallet.network == network)
        .where(Wallet.id.in_(select(WalletAsset.wallet_id).where(WalletAsset.clawback)))
    )
    return list(db.session.scalars(found.order_by(Wallet.id)))


def readiness(merchant_id: UUID, wallet_id: UUID, asset: str) -> WalletAsset | None:
    """Return what the chain last said of one asset in a wallet; `checked_at` tells how old that is."""
    wanted = tenant(WalletAsset, merchant_id).where(
        WalletAsset.wallet_id == wallet_id, WalletAsset.asset == asset
    )
    return db.session.scalars(wanted).one_or_none()


def list_readiness(merchant_id: UUID, wallet_ids: list[UUID]) -> list[WalletAsset]:
    found = (
        tenant(WalletAsset, merchant_id)
        .where(WalletAsset.wallet_id.in_(wallet_ids))
        .order_by(WalletAsset.asset != "native", WalletAsset.asset)
        .limit(500)
    )
    return list(db.session.scalars(found))


def find_challenge(merchant_id: UUID, nonce_hash: str, *, lock: bool = False) -> WalletChallenge | None:
    wanted = tenant(WalletChallenge, merchant_id).where(WalletChallenge.nonce_hash == nonce_hash)
    if lock:
        wanted = wanted.with_for_update(key_share=True).execution_options(populate_existing=True)
    return db.session.scalars(wanted).one_or_none()


def get_open_challenge(merchant_id: UUID, handle: str, *, now: datetime) -> WalletChallenge:
    """Return the challenge whose nonce hash begins with `handle` while it can still be answered.

    :raises ChallengeNotFound: when it is unknown, used or out of time.
    """
    wanted = tenant(WalletChallenge, merchant_id).where(
        func.left(WalletChallenge.nonce_hash, len(handle)) == handle,
        WalletChallenge.used_at.is_(None),
        WalletChallenge.expires_at > now,
    )
    challenge = db.session.scalars(wanted.limit(1)).one_or_none()
    if challenge is None:
        raise ChallengeNotFound("This challenge was used or has expired. Start again.")
    return challenge
