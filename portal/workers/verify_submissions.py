"""Looks again for transactions that were submitted before the network knew them."""

from datetime import datetime

import structlog

from portal.db import claim_batch, run_transaction
from portal.domain.payments.models import Submission
from portal.domain.payments.submissions import LEASE_SECONDS
from portal.flows.record_observed import RECORD_FAILURES, is_outage
from portal.flows.submit_hash import LOOK_UP_SECONDS, retry_submission
from portal.kernel.refs import to_ref

log = structlog.get_logger()
# Every look-up of a batch may take its whole time, and two are left for the writing: the lease outlives it.
BATCH = int(LEASE_SECONDS / LOOK_UP_SECONDS) - 2


def run_once(now: datetime, *, network: str) -> int:
    """Look once for each submission of a due batch and return how many there were."""
    conditions = (Submission.state == "CHECKING") & (Submission.network == network)
    _, rows = run_transaction(
        lambda: claim_batch(
            Submission,
            conditions=conditions,
            order_by=Submission.next_attempt_at,
            limit=BATCH,
            lease_seconds=LEASE_SECONDS,
            now=now,
        )
    )
    for row in rows:
        try:
            retry_submission(merchant_id=row.merchant_id, submission_id=row.id, now=now)
        except RECORD_FAILURES as failure:
            if is_outage(failure):
                raise
            # The lease runs out and the row comes again; the rest of the batch goes on.
            log.exception("submission_not_verified", submission=to_ref("sub", row.id))
    return len(rows)
