"""Lets time pass: invoices expire, old answers and delivered jobs are removed."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete

from portal.db import run_transaction
from portal.domain.events import outbox
from portal.domain.idempotency.models import IdempotencyKey
from portal.domain.invoices import service
from portal.domain.ledger.models import BookCheck
from portal.domain.merchants.models import OneTimeCode, UserSession
from portal.domain.payments import looks
from portal.extensions import db

BATCH = 200
# A payment in the last ledger before expiry is seen seconds later; the final look waits for it.
EXPIRY_GRACE = timedelta(minutes=2)
IDEMPOTENCY_KEPT = timedelta(hours=48)
DELIVERED_KEPT = timedelta(days=7)
SESSIONS_KEPT = timedelta(days=30)
CODES_KEPT = timedelta(days=1)
BOOK_CHECKS_KEPT = timedelta(days=90)


def run_once(now: datetime, *, network: str) -> int:
    """Do one bounded round and return how many rows were moved."""
    return _expire_invoices(now, network) + run_transaction(lambda: _remove_old(now))


def _expire_invoices(now: datetime, network: str) -> int:
    """Expire invoices whose time was over when the watcher last looked at their wallet, grace included.

    Without a look since then a payment in time may still be unseen, so such an invoice waits.
    """
    due = looks.list_expired(network=network, now=now, grace=EXPIRY_GRACE, limit=BATCH)
    expired = 0
    for merchant_id, invoice_id in due:

        def expire(merchant_id: UUID = merchant_id, invoice_id: UUID = invoice_id) -> bool:
            return service.expire(merchant_id=merchant_id, invoice_id=invoice_id, now=now)

        expired += run_transaction(expire)
    return expired


def _remove_old(now: datetime) -> int:
    removed = outbox.delete_delivered(before=now - DELIVERED_KEPT, limit=BATCH * 5)
    for model, column, kept in (
        (IdempotencyKey, IdempotencyKey.created_at, IDEMPOTENCY_KEPT),
        (UserSession, UserSession.expires_at, SESSIONS_KEPT),
        (OneTimeCode, OneTimeCode.expires_at, CODES_KEPT),
        (BookCheck, BookCheck.checked_at, BOOK_CHECKS_KEPT),
    ):
        gone = db.session.execute(delete(model).where(column < now - kept).returning(column)).all()
        removed += len(gone)
    return removed
