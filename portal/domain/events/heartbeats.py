"""When each worker job last finished a round."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from portal.domain.events.models import WorkerHeartbeat
from portal.extensions import db


def beat(job: str, *, detail: dict[str, Any], now: datetime) -> None:
    statement = insert(WorkerHeartbeat).values(job=job, beat_at=now, detail=detail)
    db.session.execute(
        statement.on_conflict_do_update(index_elements=["job"], set_={"beat_at": now, "detail": detail})
    )


def list_beats() -> Sequence[WorkerHeartbeat]:
    return db.session.scalars(select(WorkerHeartbeat).order_by(WorkerHeartbeat.job)).all()
