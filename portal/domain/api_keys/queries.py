"""Reads of API keys."""

from collections import OrderedDict
from threading import Lock
from uuid import UUID

from sqlalchemy import Row, Select, select, text

from portal.db import tenant
from portal.domain.api_keys.models import ApiKey
from portal.domain.merchants.models import Merchant
from portal.extensions import db
from portal.kernel.errors import NotFound

KEYS_SHOWN_MAX = 200
RESOLVED_KEPT = 10_000

_RESOLVE = text("SELECT merchant_id, key_id FROM resolve_api_key(:prefix)")
_SECRET = select(
    ApiKey.id,
    ApiKey.merchant_id,
    ApiKey.network,
    ApiKey.secret_hash,
    ApiKey.scopes,
    ApiKey.expires_at,
    ApiKey.revoked_at,
    ApiKey.last_used_at,
    Merchant,
).join(Merchant, Merchant.id == ApiKey.merchant_id)


class KeyNotFound(NotFound):
    code = "key_not_found"


class _Resolved:
    """Whose key a prefix names. A prefix never names another key, so what was read once stays true."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[str, tuple[UUID, UUID]] = OrderedDict()

    def find(self, prefix: str) -> tuple[UUID, UUID] | None:
        with self._lock:
            if prefix in self._known:
                self._known.move_to_end(prefix)
            return self._known.get(prefix)

    def keep(self, prefix: str, owner: tuple[UUID, UUID]) -> None:
        with self._lock:
            self._known[prefix] = owner
            while len(self._known) > RESOLVED_KEPT:
                self._known.popitem(last=False)


_resolved = _Resolved()


def resolve_prefix(prefix: str) -> tuple[UUID, UUID] | None:
    """Return (merchant, key) of a prefix before any tenant is entered; asks PostgreSQL once per key and process."""
    owner = _resolved.find(prefix)
    if owner is None:
        row = db.session.execute(_RESOLVE, {"prefix": prefix}).one_or_none()
        if row is None:
            return None
        owner = (row.merchant_id, row.key_id)
        _resolved.keep(prefix, owner)
    return owner


def find_secret(merchant_id: UUID, key_id: UUID) -> Row[*tuple[object, ...]] | None:
    """Return what authentication compares: hash, scopes, expiry, revocation, last use; and the merchant."""
    wanted: Select[*tuple[object, ...]] = _SECRET.where(
        ApiKey.merchant_id == merchant_id, ApiKey.id == key_id
    )
    return db.session.execute(wanted).one_or_none()


def list_keys(merchant_id: UUID, network: str, *, limit: int = KEYS_SHOWN_MAX) -> list[ApiKey]:
    """Return the keys of one network, usable ones first, then the newest."""
    found = (
        tenant(ApiKey, merchant_id)
        .where(ApiKey.network == network)
        .order_by(ApiKey.revoked_at.is_not(None), ApiKey.created_at.desc(), ApiKey.id.desc())
        .limit(limit)
    )
    return list(db.session.scalars(found))


def get_key(merchant_id: UUID, key_id: UUID, *, lock: bool = False) -> ApiKey:
    """:raises KeyNotFound: when this merchant has no such key."""
    wanted = tenant(ApiKey, merchant_id).where(ApiKey.id == key_id)
    if lock:
        wanted = wanted.with_for_update(key_share=True).execution_options(populate_existing=True)
    key = db.session.scalars(wanted).one_or_none()
    if key is None:
        raise KeyNotFound("No such API key.")
    return key
