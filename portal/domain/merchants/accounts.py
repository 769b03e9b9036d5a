"""Writes of people: sign-up, proven mail addresses, passwords, preferences."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from portal.db import constraint_of, enter_tenant
from portal.domain.audit import service as audit
from portal.domain.merchants import queries
from portal.domain.merchants.models import Membership, Merchant, User
from portal.extensions import db
from portal.kernel.errors import Invalid
from portal.kernel.refs import new_id, to_ref


class PasswordWrong(Invalid):
    code = "password_wrong"


@dataclass(frozen=True, slots=True)
class NewAccount:
    """A checked sign-up; `password_hash` was made before the transaction, since hashing is slow on purpose."""

    business_name: str
    name: str
    email: str
    password_hash: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Registration:
    """`is_known` when a verified account has this name already: then nothing was written."""

    user_id: UUID
    merchant_id: UUID | None
    is_known: bool


def register(*, account: NewAccount, now: datetime) -> Registration:
    """Write a user, a business and the ownership, all unproven until the mail address is verified.

    A sign-up that was never verified is taken over by the next one of the same name, with its password, so
    that nobody can lie in wait on somebody else's address. Enters the tenant it wrote.
    """
    known = queries.resolve_user(account.email)
    if known is None:
        user_id, merchant_id = new_id(), new_id()
        enter_tenant(merchant_id=merchant_id, user_id=user_id)
        try:
            with db.session.begin_nested():
                return _create(account, user_id, merchant_id, now)
        except IntegrityError as lost:
            if constraint_of(lost) != "uq_users_email_lower":
                raise
            known = queries.resolve_user(account.email)
            assert known is not None, "the constraint saw a user of this name"
    return _take_over(account, known, now)


def _create(account: NewAccount, user_id: UUID, merchant_id: UUID, now: datetime) -> Registration:
    stamps = {"created_at": now, "updated_at": now}
    db.session.execute(
        insert(User),
        {"id": user_id, "email": account.email, "email_lower": account.email.lower(), "name": account.name}
        | {"password_hash": account.password_hash}
        | stamps,
    )
    db.session.execute(
        insert(Merchant),
        {
            "id": merchant_id,
            "name": account.business_name,
            "time_zone": account.time_zone,
            "status": "PENDING",
        }
        | stamps,
    )
    db.session.execute(
        insert(Membership),
        {"id": new_id(), "merchant_id": merchant_id, "user_id": user_id, "role": "owner", "created_at": now},
    )
    audit.record("user.signed_up", merchant_id=merchant_id, object_ref=to_ref("usr", user_id), at=now)
    return Registration(user_id, merchant_id, is_known=False)


def _take_over(account: NewAccount, user_id: UUID, now: datetime) -> Registration:
    enter_tenant(user_id=user_id)
    user = queries.find_user_for_update(user_id)
    assert user is not None, "a person sees his own row"
    if user.email_verified_at is not None:
        return Registration(user_id, None, is_known=True)
    membership = queries.first_membership(user_id)
    assert membership is not None, "sign-up writes both at once"
    enter_tenant(merchant_id=membership.merchant_id, user_id=user_id)
    user.email, user.name, user.password_hash, user.updated_at = (
        account.email, account.name, account.password_hash, now,
    )  # fmt: skip
    db.session.flush()
    db.session.execute(
        update(Merchant)
        .where(Merchant.id == membership.merchant_id)
        .values(name=account.business_name, time_zone=account.time_zone, updated_at=now)
    )
    audit.record(
        "user.signed_up_again", merchant_id=membership.merchant_id, object_ref=to_ref("usr", user_id), at=now
    )
    return Registration(user_id, membership.merchant_id, is_known=False)


def is_unverified(*, user_id: UUID) -> bool:
    """Say whether a sign-up waits for its code; locks the user, enters his scope."""
    enter_tenant(user_id=user_id)
    user = queries.find_user_for_update(user_id)
    return user is not None and user.email_verified_at is None


def mark_verified(*, user_id: UUID, now: datetime) -> None:
    """Note that the user reads this mail address, and open the business that waited for it. Safe twice."""
    enter_tenant(user_id=user_id)
    user = queries.find_user_for_update(user_id)
    assert user is not None, "a person sees his own row"
    if user.email_verified_at is not None:
        return
    user.email_verified_at = user.updated_at = now
    db.session.flush()
    membership = queries.first_membership(user_id)
    merchant_id = None if membership is None else membership.merchant_id
    enter_tenant(merchant_id=merchant_id, user_id=user_id)
    if merchant_id is not None:
        db.session.execute(
            update(Merchant)
            .where(Merchant.id == merchant_id, Merchant.status == "PENDING")
            .values(status="ACTIVE", updated_at=now)
        )
    audit.record("user.email_verified", merchant_id=merchant_id, object_ref=to_ref("usr", user_id), at=now)


def set_password_hash(
    *, user_id: UUID, merchant_id: UUID | None, password_hash: str, action: str | None, now: datetime
) -> None:
    """Replace the hash; `action` names the audit row, None for a mere change of parameters."""
    db.session.execute(
        update(User).where(User.id == user_id).values(password_hash=password_hash, updated_at=now)
    )
    if action is not None:
        audit.record(action, merchant_id=merchant_id, object_ref=to_ref("usr", user_id), at=now)


def set_preferences(*, user_id: UUID, merchant_id: UUID | None, name: str, theme: str, now: datetime) -> None:
    """Change what the user sees of himself and how; `theme` is auto, light or dark."""
    user = queries.find_user_for_update(user_id)
    assert user is not None, "a person sees his own row"
    changes: dict[str, Any] = {"name": name, "theme": theme}
    before = {key: getattr(user, key) for key in changes}
    if before == changes:
        return
    user.name, user.theme, user.updated_at = name, theme, now
    db.session.flush()
    audit.record(
        "user.changed", merchant_id=merchant_id, object_ref=to_ref("usr", user_id), before=before, after=changes,
        at=now,
    )  # fmt: skip
