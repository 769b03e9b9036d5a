"""Writes of API keys, and who a presented key is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from flask import current_app
from sqlalchemy import or_, update
from sqlalchemy.exc import IntegrityError

from portal.db import constraint_of, enter_tenant
from portal.domain.api_keys import queries, rules
from portal.domain.api_keys.models import ApiKey
from portal.domain.audit import service as audit
from portal.domain.events import service as events
from portal.domain.merchants.models import Merchant
from portal.domain.merchants.rules import clean_text
from portal.extensions import db
from portal.kernel.clock import iso, iso_or_none
from portal.kernel.errors import Unauthenticated
from portal.kernel.refs import new_id, to_ref, to_ref_or_none
from portal.kernel.tokens import keyed_digest, same

NAME_MAX = 80
USE_NOTED_EVERY = timedelta(seconds=60)
PREFIX_TRIES = 3


class InvalidApiKey(Unauthenticated):
    """Unknown, mistyped, revoked and expired keys get one answer."""

    code = "invalid_api_key"


@dataclass(frozen=True, slots=True)
class KeyIdentity:
    """Whoever holds the key; `is_use_due` when its last use should be noted (`record_use`).

    `merchant` came with the key in one look-up; whether its status lets it act is for the caller to judge.
    """

    merchant_id: UUID
    key_id: UUID
    network: str
    scopes: frozenset[str]
    ref: str
    is_use_due: bool
    merchant: Merchant

    def may(self, scope: str) -> bool:
        return scope in self.scopes


def create_key(
    *,
    merchant_id: UUID,
    network: str,
    name: str,
    scopes: list[str],
    created_by: UUID | None,
    expires_at: datetime | None,
    now: datetime,
) -> tuple[ApiKey, str]:
    """Write a key and return it with its plain text, which is kept nowhere.

    :raises TextInvalid: for a name nobody could read.
    :raises ScopesInvalid: for no scope or an unknown one.
    :raises ExpiryInvalid: for an expiry that is over.
    """
    name = clean_text(name, what="a name for the key", longest=NAME_MAX)
    scopes = rules.check_scopes(scopes)
    if expires_at is not None and expires_at <= now:
        raise rules.ExpiryInvalid("Choose a time in the future.")
    for attempt in range(1, PREFIX_TRIES + 1):
        text = rules.new_key_text(network, rules.new_prefix())
        parsed = rules.parse_key(text)
        assert parsed is not None, "we read what we write"
        key = ApiKey(
            id=new_id(),
            merchant_id=merchant_id,
            network=network,
            name=name,
            prefix=parsed.prefix,
            last_four=text[-4:],
            secret_hash=keyed_digest(_pepper(), text),
            scopes=scopes,
            created_by=created_by,
            expires_at=expires_at,
            created_at=now,
            updated_at=now,
        )
        try:
            with db.session.begin_nested():
                db.session.add(key)
                db.session.flush()
            break
        except IntegrityError as lost:
            # 36**8 prefixes: another one is free.
            if constraint_of(lost) != "uq_api_keys_prefix" or attempt == PREFIX_TRIES:
                raise
    _announce("api_key.created", key, version=1, now=now)
    return key, text


def revoke_key(*, merchant_id: UUID, key_id: UUID, now: datetime) -> ApiKey:
    """End a key for good; safe twice.

    :raises KeyNotFound: when this merchant has no such key.
    """
    key = queries.get_key(merchant_id, key_id, lock=True)
    if key.revoked_at is None:
        key.revoked_at = key.updated_at = now
        db.session.flush()
        _announce("api_key.revoked", key, version=2, now=now)
    return key


def authenticate(secret_text: str, now: datetime) -> KeyIdentity:
    """Return whose key this is and enter that merchant's tenant.

    Shape and checksum are checked before any SQL; a key that this process saw before costs one SELECT.

    :raises InvalidApiKey: for every key that opens nothing.
    """
    parsed = rules.parse_key(secret_text)
    owner = None if parsed is None else queries.resolve_prefix(parsed.prefix)
    if parsed is None or owner is None:
        raise InvalidApiKey("This API key is not valid.")
    merchant_id, key_id = owner
    enter_tenant(merchant_id=merchant_id)
    row = cast(Any, queries.find_secret(merchant_id, key_id))
    offered = keyed_digest(_pepper(), parsed.text)
    if row is None or not same(row.secret_hash, offered) or row.network != parsed.network:
        raise InvalidApiKey("This API key is not valid.")
    if not rules.is_usable(revoked_at=row.revoked_at, expires_at=row.expires_at, now=now):
        raise InvalidApiKey("This API key is not valid.")
    is_use_due = row.last_used_at is None or now - row.last_used_at >= USE_NOTED_EVERY
    return KeyIdentity(
        merchant_id,
        key_id,
        row.network,
        frozenset(row.scopes),
        to_ref("key", key_id),
        is_use_due,
        row.Merchant,
    )


def record_use(*, merchant_id: UUID, key_id: UUID, ip: str | None, now: datetime) -> None:
    """Note a use at most once a minute; for a transaction of its own after the answer (`is_use_due`)."""
    db.session.execute(
        update(ApiKey)
        .where(
            ApiKey.merchant_id == merchant_id,
            ApiKey.id == key_id,
            or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= now - USE_NOTED_EVERY),
        )
        .values(last_used_at=now, last_used_ip=ip)
    )


def _pepper() -> str:
    return str(current_app.config["TAGIH"].api_key_pepper)


def _announce(event_type: str, key: ApiKey, *, version: int, now: datetime) -> None:
    payload: dict[str, Any] = {
        "object": "api_key",
        "id": to_ref("key", key.id),
        "name": key.name,
        "network": key.network,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "created_by": to_ref_or_none("usr", key.created_by),
        "expires_at": iso_or_none(key.expires_at),
        "revoked_at": iso_or_none(key.revoked_at),
        "created_at": iso(key.created_at),
    }
    audit.record(
        event_type, merchant_id=key.merchant_id, object_ref=to_ref("key", key.id), after=payload, at=now
    )
    events.record(
        event_type,
        merchant_id=key.merchant_id,
        network=key.network,
        aggregate_id=key.id,
        version=version,
        payload=payload,
        at=now,
    )
