"""A pasted hash, from the page, the API or a worker's retry: look it up, judge it, record it.

Three steps, never joined: a short transaction that knows the invoice, the network call with no
transaction open, and one transaction that records everything and the answer with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from portal.adapters.chain import chain_source, look_up_place
from portal.db import release, run_transaction
from portal.domain.invoices import queries as invoices
from portal.domain.invoices.rules import InvoiceStatus
from portal.domain.merchants import queries as merchants
from portal.domain.payments import queries, service, submissions
from portal.domain.payments.rules import RuleResult, parse_hash
from portal.domain.payments.submissions import Answer
from portal.kernel.chain import ChainContradiction, ChainUnavailable, ObservedTransaction

Finish = Callable[[Answer], None]
# A person waits for the answer: what takes longer is answered 202 and followed by the worker.
LOOK_UP_SECONDS = 3.0


def submit_hash(
    *,
    merchant_id: UUID,
    network: str,
    invoice_id: UUID,
    text: str,
    origin: str,
    now: datetime,
    finish: Finish | None = None,
    prepare: Callable[[], None] | None = None,
) -> Answer:
    """Check that the transaction named by `text` pays this invoice and return the answer (design, section 9).

    `prepare` runs first and `finish` last inside the recording transaction, for what must be stored with
    the effect.

    :raises HashMalformed: before any look-up, when `text` is not a hash.
    :raises InvoiceNotFound: for a draft, which nobody can pay.
    """
    transaction_hash = parse_hash(text.strip(" \t\r\n"))
    invoice = invoices.get(merchant_id=merchant_id, invoice_id=invoice_id)
    if invoice.status == InvoiceStatus.DRAFT:
        raise invoices.InvoiceNotFound("No such invoice.")
    credited = queries.find_credit(
        merchant_id=merchant_id, network=network, invoice_id=invoice_id, transaction_hash=transaction_hash
    )
    subject = {"merchant_id": merchant_id, "network": network, "invoice_id": invoice_id}
    claim = {**subject, "transaction_hash": transaction_hash, "origin": origin, "now": now}
    if credited is not None:
        return _finished(prepare, finish, lambda: _credited_before(claim, now))
    release()
    look = _look_up(transaction_hash, now)
    return _finished(prepare, finish, lambda: _conclude(claim, look, now))


def retry_submission(*, merchant_id: UUID, submission_id: UUID, now: datetime) -> Answer:
    """Look for the transaction of a CHECKING submission once more; the worker's step."""
    submission = queries.get_submission(merchant_id=merchant_id, submission_id=submission_id)
    claim = {
        "merchant_id": merchant_id,
        "network": submission.network,
        "invoice_id": submission.invoice_id,
        "transaction_hash": submission.transaction_hash,
        "origin": submission.origin,
        "now": now,
    }
    release()
    look = _look_up(submission.transaction_hash, now)
    return run_transaction(lambda: _conclude(claim, look, now))


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look-up came to; nothing found, not absent and no outage means that the source contradicted itself."""

    found: ObservedTransaction | None = None
    is_absent: bool = False
    is_outage: bool = False
    not_before: datetime | None = None


def _look_up(transaction_hash: str, now: datetime) -> _Look:
    try:
        with look_up_place() as waited_seconds:
            left_seconds = LOOK_UP_SECONDS - waited_seconds
            found = chain_source().find_transaction(transaction_hash, within_seconds=left_seconds)
            return _Look(found, is_absent=found is None)
    except ChainUnavailable as outage:
        seconds = outage.retry_after_seconds
        not_before = None if seconds is None else now + timedelta(seconds=seconds)
        return _Look(is_outage=True, not_before=not_before)
    except ChainContradiction:
        # An answer that contradicts its envelope proves nothing either way: look again later.
        return _Look()


def _finished(
    prepare: Callable[[], None] | None, finish: Finish | None, work: Callable[[], Answer]
) -> Answer:
    def whole() -> Answer:
        if prepare is not None:
            prepare()
        answer = work()
        if finish is not None:
            finish(answer)
        return answer

    return run_transaction(whole)


def _credited_before(claim: dict[str, Any], now: datetime) -> Answer:
    keys = {key: claim[key] for key in ("merchant_id", "network", "invoice_id", "transaction_hash")}
    payment = queries.find_credit(**keys)
    submission = submissions.open_submission(**claim)
    if payment is None:
        # It was taken back in this very moment: the worker will look at it afresh.
        return submissions.postpone(submission, now=now, is_absent=False)
    rules = tuple(RuleResult(**rule) for rule in payment.evidence)
    submissions.accept(submission, payment=payment, rules=rules, now=now)
    return Answer(200, submission)


def _conclude(claim: dict[str, Any], look: _Look, now: datetime) -> Answer:
    return _wait(claim, look, now) if look.found is None else _record(claim, look.found, now)


def _wait(claim: dict[str, Any], look: _Look, now: datetime) -> Answer:
    submission = submissions.open_submission(**claim)
    if submission.state == "ACCEPTED":
        return Answer(200, submission)
    if submission.state == "REJECTED":
        return Answer(409 if submission.code == "hash_used" else 422, submission)
    return submissions.postpone(
        submission,
        now=now,
        is_absent=look.is_absent,
        is_outage=look.is_outage,
        not_before=look.not_before,
    )


def _record(claim: dict[str, Any], found: ObservedTransaction, now: datetime) -> Answer:
    submission = submissions.open_submission(**claim)
    merchant = merchants.get_merchant(merchant_id=claim["merchant_id"])
    recorded = service.record_transaction(
        merchant=merchant,
        network=claim["network"],
        transaction=found,
        invoice_id=claim["invoice_id"],
        now=now,
    )
    return submissions.settle(submission, transaction=found, recorded=recorded, now=now)
