"""Writes events and their outbox rows inside the transaction of the fact they announce."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from portal.domain.events.rules import consumers_of
from portal.extensions import db
from portal.kernel.refs import new_id

# One statement for the event and its outbox rows: recording is on the path of every payment, and a round
# trip costs more than the rows.
_RECORD = text(
    """
    WITH event AS (
        INSERT INTO events (id, merchant_id, network, aggregate_type, aggregate_id, version, type, payload, occurred_at)
        VALUES (:id, :merchant_id, :network, :aggregate_type, :aggregate_id, :version, :type,
            CAST(:payload AS jsonb), :at)
    )
    INSERT INTO outbox (id, merchant_id, event_id, consumer, next_attempt_at)
    SELECT job.id, :merchant_id, :id, job.consumer, :at
    FROM unnest(CAST(:job_ids AS uuid[]), CAST(:consumers AS text[])) AS job (id, consumer)
    """
)


def record(
    event_type: str,
    *,
    merchant_id: UUID,
    network: str,
    aggregate_id: UUID,
    version: int,
    payload: dict[str, Any],
    at: datetime,
) -> UUID:
    """Announce version `version` of an aggregate (`invoice.paid` is about an invoice) and return the event's id.

    The caller holds the aggregate's row lock and has raised its version, which keeps versions gapless.
    """
    aggregate_type = event_type.partition(".")[0]
    consumers = consumers_of(aggregate_type)
    event_id = new_id()
    db.session.execute(
        _RECORD,
        {
            "id": event_id,
            "merchant_id": merchant_id,
            "network": network,
            "aggregate_type": aggregate_type,
            "aggregate_id": aggregate_id,
            "version": version,
            "type": event_type,
            "payload": json.dumps(payload),
            "at": at,
            "job_ids": [new_id() for _ in consumers],
            "consumers": list(consumers),
        },
    )
    return event_id
