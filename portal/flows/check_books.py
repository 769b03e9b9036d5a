"""The nightly look at one merchant's books: verified page by page, then kept as a row."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import structlog

from portal.db import release, run_transaction
from portal.domain.ledger import checks
from portal.flows.verify_ledger import Difference, verify_merchant
from portal.kernel.errors import TagihError
from portal.kernel.refs import to_ref

log = structlog.get_logger()
# What a row that fits no rule may raise: it ends this merchant's look, and that is a finding itself.
BROKEN = (ArithmeticError, AssertionError, AttributeError, LookupError, TagihError, TypeError, ValueError)


def check_books(*, merchant_id: UUID, network: str, now: datetime) -> int:
    """Verify a merchant's books, keep what was found and return the number of differences."""
    counts = {"payments": 0, "invoices": 0, "accounts": 0}
    differences: list[Difference] = []
    try:
        for step in verify_merchant(merchant_id):
            counts[step.what] += step.rows
            differences += step.differences
    except BROKEN as failure:
        release()
        log.exception("books_check_broke", merchant=to_ref("mer", merchant_id))
        differences.append(
            Difference(to_ref("mer", merchant_id), "check", "broke off", type(failure).__name__)
        )
    if differences:
        first = asdict(differences[0])
        log.error(
            "books_differ", merchant=to_ref("mer", merchant_id), differences=len(differences), first=first
        )
    run_transaction(
        lambda: checks.keep(
            merchant_id=merchant_id,
            network=network,
            checked_at=now,
            counts=counts,
            differences=[asdict(each) for each in differences],
        )
    )
    return len(differences)
