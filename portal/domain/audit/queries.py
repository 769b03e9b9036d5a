"""Reads of who did what, always limited to one merchant."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from portal.db import tenant
from portal.domain.audit.models import AuditEntry
from portal.extensions import db

ENTRIES_MAX = 500


def list_at(*, merchant_id: UUID, moments: Collection[datetime]) -> Sequence[AuditEntry]:
    """Return what was noted at exactly these moments: whatever is written together bears one moment.

    So the actor of an event is found without an index on what the entries are about.
    """
    statement = tenant(AuditEntry, merchant_id).where(AuditEntry.created_at.in_(moments))
    return db.session.scalars(statement.order_by(AuditEntry.id).limit(ENTRIES_MAX)).all()
