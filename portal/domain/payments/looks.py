"""How current the books are: when the watcher last looked for money to a wallet, and what keeps it from looking.

A wallet is covered by its own look or by the network's stream, and by the stream only once its own past was
read (it then has a row of its own). One wallet that cannot be read therefore holds nobody else back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from portal.domain.payments.watching import CLAWBACK_PREFIX, JOINING_PREFIX, NETWORK_SCOPE, RESET_SCOPE
from portal.extensions import db

# A server that lags behind its sibling catches up within seconds; a network that was reset does not.
RESET_TOLD_AFTER = timedelta(seconds=30)

# Raw SQL, because three rows of one table stand beside each wallet. GREATEST leaves nulls out.
SEEN_AT = """greatest(
    own.checked_at, CASE WHEN own.scope IS NOT NULL THEN stream.checked_at END, joining.checked_at
)"""
LOOKS = """
    LEFT JOIN watch_cursors own ON own.network = {network} AND own.scope = {address}
    LEFT JOIN watch_cursors stream ON stream.network = {network} AND stream.scope = :stream
    LEFT JOIN watch_cursors joining ON joining.network = {network} AND joining.scope = :joining || {address}
"""
SCOPES = {"stream": NETWORK_SCOPE, "joining": JOINING_PREFIX}

_OF_WALLET = text(
    f"SELECT {SEEN_AT} FROM (SELECT CAST(:address AS text) AS address) AS asked"  # noqa: S608
    + LOOKS.format(network=":network", address="asked.address")
)
_OF_MERCHANT = text(
    f"""
    SELECT
        min(coalesce({SEEN_AT}, w.proven_at)) AS seen_at,
        (SELECT r.checked_at FROM watch_cursors r WHERE r.network = :network AND r.scope = :reset) AS reset_at
    FROM wallets w {LOOKS.format(network="w.network", address="w.address")}
    WHERE w.merchant_id = :merchant_id AND w.network = :network AND w.retired_at IS NULL
    """  # noqa: S608
)
_EXPIRED = text(
    f"""
    SELECT i.merchant_id, i.id
    FROM invoices i {LOOKS.format(network="i.network", address="i.destination")}
    WHERE i.network = :network AND i.status = 'PENDING' AND i.expires_at < :closed_by
        AND i.expires_at < {SEEN_AT} - :grace
    ORDER BY i.expires_at
    LIMIT :most
    """  # noqa: S608
)
# Without the wallets' own table, which a process that serves requests cannot read as a whole.
_OF_ALL = text(
    """
    SELECT
        max(c.checked_at) FILTER (WHERE c.scope <> :reset AND NOT starts_with(c.scope, :clawback)) AS seen_at,
        max(c.checked_at) FILTER (WHERE c.scope = :reset) AS reset_at,
        count(*) FILTER (
            WHERE starts_with(c.scope, 'G') AND greatest(c.checked_at, s.checked_at) < :late_before
                OR starts_with(c.scope, :joining) AND c.checked_at < :late_before
        ) AS late
    FROM watch_cursors c
    LEFT JOIN watch_cursors s ON s.network = c.network AND s.scope = :stream
    WHERE c.network = :network
    """
)
_PARKED = text(
    """
    SELECT count(*) AS records, min(created_at) AS oldest_at
    FROM watch_failures
    WHERE network = :network AND resolved_at IS NULL
    """
)


@dataclass(frozen=True, slots=True)
class MerchantLook:
    """The oldest look at one of a merchant's wallets, None without wallets; a wallet counts from its proof."""

    seen_at: datetime | None
    is_reset: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """When the watcher last looked at anything, and how many wallets it could not look at for too long."""

    seen_at: datetime | None
    is_reset: bool
    late_wallets: int


@dataclass(frozen=True, slots=True)
class Parked:
    """Records that could not be recorded so far, and since when the first of them waits."""

    records: int
    oldest_at: datetime | None


def seen_at_of(*, network: str, address: str) -> datetime | None:
    """Return the moment up to which nothing paid to `address` is unseen, or None before the first look."""
    seen_at: datetime | None = db.session.execute(
        _OF_WALLET, SCOPES | {"network": network, "address": address}
    ).scalar_one()
    return seen_at


def of_merchant(*, merchant_id: UUID, network: str, now: datetime) -> MerchantLook:
    row = db.session.execute(
        _OF_MERCHANT, SCOPES | {"merchant_id": merchant_id, "network": network, "reset": RESET_SCOPE}
    ).one()
    return MerchantLook(row.seen_at, _is_reset(row.reset_at, now))


def overview(*, network: str, now: datetime, late_before: datetime) -> Overview:
    """Return how the watcher of a network is doing, over all merchants."""
    scopes = SCOPES | {"reset": RESET_SCOPE, "clawback": CLAWBACK_PREFIX}
    looks = db.session.execute(_OF_ALL, scopes | {"network": network, "late_before": late_before}).one()
    return Overview(looks.seen_at, _is_reset(looks.reset_at, now), looks.late)


def parked(*, network: str) -> Parked:
    row = db.session.execute(_PARKED, {"network": network}).one()
    return Parked(row.records, row.oldest_at)


def list_expired(*, network: str, now: datetime, grace: timedelta, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """Return (merchant id, invoice id) of pending invoices past their time and `grace`, over all tenants.

    The final look counts: an invoice waits until its own wallet was looked at after that moment.
    """
    rows = db.session.execute(
        _EXPIRED, SCOPES | {"network": network, "closed_by": now - grace, "grace": grace, "most": limit}
    )
    return [(row.merchant_id, row.id) for row in rows]


def _is_reset(reset_at: datetime | None, now: datetime) -> bool:
    return reset_at is not None and now - reset_at >= RESET_TOLD_AFTER
