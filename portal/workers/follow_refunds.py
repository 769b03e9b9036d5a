"""Looks for refunds that were prepared or named, so that nobody need tell us that they were sent."""

from datetime import datetime

import structlog
from sqlalchemy import func

from portal.db import claim_batch, run_transaction
from portal.domain.refunds.models import Refund
from portal.domain.refunds.rules import PREPARED_MAX
from portal.flows.record_observed import RECORD_FAILURES, is_outage
from portal.flows.settle_refund import LOOK_UP_SECONDS, follow_refund
from portal.kernel.refs import to_ref

log = structlog.get_logger()
BATCH = 4
# Each may take the whole time for all that was prepared and for what a person named, and the time of one more
# is left for the writing: the lease outlives the batch.
LEASE_SECONDS = int((BATCH + 1) * (PREPARED_MAX + 1) * LOOK_UP_SECONDS)


def run_once(now: datetime, *, network: str) -> int:
    """Look once for each refund of a due batch and return how many there were."""
    is_open = Refund.status.in_(("PENDING", "PROCESSING")) & (Refund.network == network)
    # One without a transaction waits for a person.
    is_prepared = func.cardinality(Refund.expected_hashes) > 0
    conditions = is_open & (is_prepared | Refund.transaction_hash.is_not(None))
    _, rows = run_transaction(
        lambda: claim_batch(
            Refund,
            conditions=conditions,
            order_by=Refund.next_attempt_at,
            limit=BATCH,
            lease_seconds=LEASE_SECONDS,
            now=now,
        )
    )
    for row in rows:
        try:
            follow_refund(merchant_id=row.merchant_id, refund_id=row.id, now=now)
        except RECORD_FAILURES as failure:
            if is_outage(failure):
                raise
            # The lease runs out and the row comes again; the rest of the batch goes on.
            log.exception("refund_not_followed", refund=to_ref("rfd", row.id))
    return len(rows)
