"""Writes audit rows inside the change's own transaction."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, insert

from portal.domain.audit.models import AuditEntry
from portal.extensions import db
from portal.kernel.actor import current_actor
from portal.kernel.refs import new_id

# The table, not the class: the unit of work would cost more than the row.
_INSERT = insert(cast(Table, AuditEntry.__table__))
# A header is as long as its sender likes; nobody reads more of it than this.
USER_AGENT_MAX = 300


def record(
    action: str,
    *,
    merchant_id: UUID | None,
    object_ref: str | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    at: datetime,
) -> None:
    """Write one row about what the current actor did; `before` and `after` never hold secrets."""
    actor = current_actor()
    db.session.execute(
        _INSERT,
        {
            "id": new_id(),
            "merchant_id": merchant_id,
            "actor": actor.name,
            "action": action,
            "object_ref": object_ref,
            "before": before,
            "after": after,
            "ip": actor.ip,
            "user_agent": actor.user_agent and actor.user_agent[:USER_AGENT_MAX],
            "request_id": actor.request_id,
            "created_at": at,
        },
    )
