"""Looks at every merchant's books once a night, in bounded rounds; one process does, the others wait."""

from datetime import datetime
from uuid import UUID

from portal.db import release
from portal.domain.ledger import checks
from portal.flows.check_books import check_books
from portal.workers.leading import Leadership

# A round ends after so many, so that the process stops soon when it is told to.
MERCHANTS_A_ROUND = 10


def run_once(now: datetime, *, network: str) -> int:
    """Check the books of some merchants that are due and return how many were looked at."""
    if not _due(now, network):
        return 0
    lead = Leadership(f"books/{network}")
    try:
        if not lead.is_held():
            return 0
        # Whoever led until now may have done them.
        due = _due(now, network)
        for merchant_id in due:
            check_books(merchant_id=merchant_id, network=network, now=now)
        return len(due)
    finally:
        lead.resign()


def _due(now: datetime, network: str) -> list[UUID]:
    found = list(checks.list_due(network=network, night=checks.night_before(now), limit=MERCHANTS_A_ROUND))
    release()
    return found
