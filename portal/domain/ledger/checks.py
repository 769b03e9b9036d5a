"""The nightly looks at the books: whose is due, what each found, and the last one for the pages."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from portal.db import tenant
from portal.domain.ledger.models import BookCheck
from portal.domain.merchants.models import Merchant
from portal.extensions import db
from portal.kernel.refs import new_id

# Universal time: night in Europe and Africa, early morning in Asia; long after the day's last expiries.
NIGHT_HOUR = 2
# A page shows these; that many at once have one cause, which `ledger verify` tells whole.
DIFFERENCES_KEPT = 200


def night_before(now: datetime) -> datetime:
    """Return the last moment at which the looks of a night began."""
    tonight = now.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight <= now else tonight - timedelta(days=1)


def list_due(*, network: str, night: datetime, limit: int) -> Sequence[UUID]:
    """Return merchants of before this night whose books nobody looked at since."""
    looked = select(BookCheck.id).where(
        BookCheck.merchant_id == Merchant.id, BookCheck.network == network, BookCheck.checked_at >= night
    )
    statement = (
        select(Merchant.id)
        .where(Merchant.created_at < night, ~looked.exists())
        .order_by(Merchant.id)
        .limit(limit)
    )
    return db.session.scalars(statement).all()


def keep(
    *,
    merchant_id: UUID,
    network: str,
    checked_at: datetime,
    counts: dict[str, int],
    differences: Sequence[dict[str, Any]],
) -> BookCheck:
    """Write what a look found; of many differences the first."""
    row = BookCheck(
        id=new_id(),
        merchant_id=merchant_id,
        network=network,
        checked_at=checked_at,
        invoices=counts["invoices"],
        payments=counts["payments"],
        accounts=counts["accounts"],
        differences=list(differences[:DIFFERENCES_KEPT]),
    )
    db.session.add(row)
    db.session.flush()
    return row


def latest(*, merchant_id: UUID, network: str) -> BookCheck | None:
    statement = (
        tenant(BookCheck, merchant_id)
        .where(BookCheck.network == network)
        .order_by(BookCheck.checked_at.desc())
        .limit(1)
    )
    return db.session.scalars(statement).one_or_none()
