"""What is still awaited at one wallet, which its trustline must have room for."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select

from portal.domain.invoices.models import Invoice
from portal.domain.invoices.queries import is_awaited
from portal.extensions import db


def open_dues_to(*, merchant_id: UUID, network: str, address: str) -> dict[str, Decimal]:
    """Return the sum of open dues to `address`, by asset in its units."""
    due = func.sum(Invoice.amount - Invoice.amount_received).label("due")
    statement = (
        select(Invoice.asset, due)
        .where(Invoice.merchant_id == merchant_id, Invoice.network == network, is_awaited())
        .where(Invoice.destination == address)
        .group_by(Invoice.asset)
    )
    return {row.asset: row.due for row in db.session.execute(statement)}
