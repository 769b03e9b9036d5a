"""Merchants, the people who work for them, their wallets and their sign-ins."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Numeric,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import (
    Amount,
    CreatedAt,
    Identity,
    Moment,
    UpdatedAt,
    UtcDateTime,
    WideAmount,
    asset_check,
    network_check,
)
from portal.extensions import Base

EMPTY_OBJECT = text("'{}'::jsonb")


class Merchant(Base):
    """A business; amounts of its policies are in units of the invoice's asset."""

    __tablename__ = "merchants"
    __table_args__ = (
        CheckConstraint("status IN ('PENDING', 'ACTIVE', 'SUSPENDED', 'CLOSED')", "status_known"),
        CheckConstraint("late_policy IN ('accept', 'unmatched')", "late_policy_known"),
        CheckConstraint("tolerance >= 0", "tolerance_not_negative"),
        CheckConstraint("expiry_hours BETWEEN 1 AND 8760", "expiry_within_a_year"),
        CheckConstraint("invoice_prefix ~ '^[A-Z0-9]{1,8}$'", "invoice_prefix_shape"),
        asset_check("default_asset"),
    )

    id: Mapped[Identity]
    name: Mapped[str]
    country: Mapped[str | None]
    tax_id: Mapped[str | None]
    address: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=EMPTY_OBJECT)
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    locale: Mapped[str] = mapped_column(server_default="en")
    invoice_prefix: Mapped[str] = mapped_column(server_default="INV")
    default_asset: Mapped[str] = mapped_column(server_default="native")
    expiry_hours: Mapped[int] = mapped_column(server_default="168")
    late_policy: Mapped[str] = mapped_column(server_default="accept")
    tolerance: Mapped[Amount] = mapped_column(server_default="0")
    status: Mapped[str] = mapped_column(server_default="ACTIVE")
    close_reason: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class User(Base):
    """A person; the address is kept as typed and, lower-cased, as the unique sign-in name."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("status IN ('ACTIVE', 'DEACTIVATED')", "status_known"),
        CheckConstraint("email_lower = lower(email_lower)", "email_lower_is_lower"),
        CheckConstraint("theme IN ('auto', 'light', 'dark')", "theme_known"),
        UniqueConstraint("email_lower"),
    )

    id: Mapped[Identity]
    email: Mapped[str | None]
    email_lower: Mapped[str | None]
    password_hash: Mapped[str | None]
    name: Mapped[str] = mapped_column(server_default="")
    locale: Mapped[str] = mapped_column(server_default="en")
    theme: Mapped[str] = mapped_column(server_default="auto")
    status: Mapped[str] = mapped_column(server_default="ACTIVE")
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Membership(Base):
    __tablename__ = "memberships"
    __table_args__ = (
        UniqueConstraint("user_id", "merchant_id"),
        CheckConstraint("role IN ('owner', 'admin', 'accountant', 'seller', 'viewer')", "role_known"),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"), index=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    role: Mapped[str]
    created_at: Mapped[CreatedAt]


class Wallet(Base):
    """A proven receiving account; the address belongs to one merchant for ever, retired ones stay watched."""

    __tablename__ = "wallets"
    __table_args__ = (
        UniqueConstraint("network", "address"),
        UniqueConstraint("merchant_id", "id"),
        network_check(),
        CheckConstraint("address ~ '^G[A-Z2-7]{55}$'", "address_shape"),
        Index(
            "uq_wallets_default",
            "merchant_id",
            "network",
            unique=True,
            postgresql_where=text("is_default AND retired_at IS NULL"),
        ),
        Index("ix_wallets_check_due", "network", "check_due_at", postgresql_where=text("retired_at IS NULL")),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    address: Mapped[str]
    is_default: Mapped[bool]
    proven_at: Mapped[Moment]
    watched_from: Mapped[str]
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    check_due_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    created_at: Mapped[CreatedAt]


class WalletAsset(Base):
    """What the chain last said of one asset in a wallet; amounts in units of the asset.

    `headroom` is what may still arrive, None without a bound; `issuer_flags` is None until the issuer's account
    was asked. `clawback` stays true once it was: what an issuer took back before may still be unread.
    """

    __tablename__ = "wallet_assets"
    __table_args__ = (
        UniqueConstraint("wallet_id", "asset"),
        asset_check(),
        CheckConstraint(
            "reason IN ('no_account', 'no_trustline', 'not_authorised', 'limit')", "reason_known"
        ),
        CheckConstraint("ready = (reason IS NULL)", "reason_when_not_ready"),
        CheckConstraint("open_due >= 0", "open_due_not_negative"),
        CheckConstraint("headroom >= 0", "headroom_not_negative"),
        CheckConstraint(
            "issuer_flags <@ ARRAY['auth_required', 'auth_revocable', 'auth_clawback_enabled']",
            "issuer_flags_known",
        ),
        Index("ix_wallet_assets_clawback", "wallet_id", postgresql_where=text("clawback")),
        ForeignKeyConstraint(["merchant_id", "wallet_id"], ["wallets.merchant_id", "wallets.id"]),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID]
    wallet_id: Mapped[UUID]
    asset: Mapped[str]
    ready: Mapped[bool]
    reason: Mapped[str | None]
    trust_limit: Mapped[Decimal | None] = mapped_column(Numeric(20, 7))
    balance: Mapped[Decimal | None] = mapped_column(Numeric(20, 7))
    open_due: Mapped[WideAmount] = mapped_column(server_default="0")
    headroom: Mapped[WideAmount | None]
    issuer_flags: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    issuer_domain: Mapped[str | None]
    clawback: Mapped[bool] = mapped_column(server_default=false())
    checked_at: Mapped[Moment]


class UserSession(Base):
    """One signed-in device; the cookie's 256-bit id is kept as its SHA-256 only."""

    __tablename__ = "user_sessions"
    __table_args__ = (
        UniqueConstraint("id_hash"),
        network_check(),
        Index("ix_user_sessions_user_id", "user_id"),
    )

    id: Mapped[Identity]
    id_hash: Mapped[str]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    merchant_id: Mapped[UUID | None] = mapped_column(ForeignKey("merchants.id"))
    network: Mapped[str]
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    confirmed_at: Mapped[Moment]
    last_seen_at: Mapped[Moment]
    expires_at: Mapped[Moment]
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[CreatedAt]


class OneTimeCode(Base):
    """A mailed code or reset token, kept as a hash; single use, few attempts, short life."""

    __tablename__ = "one_time_codes"
    __table_args__ = (
        CheckConstraint("purpose IN ('verify_email', 'reset_password', 'step_up')", "purpose_known"),
        CheckConstraint("attempts >= 0 AND attempts <= 5", "attempts_bounded"),
        Index("ix_one_time_codes_user_id_purpose", "user_id", "purpose"),
        Index("ix_one_time_codes_code_hash", "code_hash"),
    )

    id: Mapped[Identity]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    purpose: Mapped[str]
    code_hash: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="0")
    expires_at: Mapped[Moment]
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[CreatedAt]


class WalletChallenge(Base):
    """A SEP-10 challenge handed out for one address; consumed once, after every check passed."""

    __tablename__ = "wallet_challenges"
    __table_args__ = (
        UniqueConstraint("nonce_hash"),
        network_check(),
    )

    id: Mapped[Identity]
    merchant_id: Mapped[UUID] = mapped_column(ForeignKey("merchants.id"), index=True)
    network: Mapped[str]
    address: Mapped[str]
    nonce_hash: Mapped[str]
    envelope_xdr: Mapped[str]
    expires_at: Mapped[Moment]
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[CreatedAt]
