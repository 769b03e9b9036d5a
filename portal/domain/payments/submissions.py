"""Hashes that people submit: one row per invoice and hash, followed until the network has answered."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from portal.domain.audit import service as audit
from portal.domain.invoices.announcements import mark_checkout
from portal.domain.invoices.models import Invoice
from portal.domain.payments import queries
from portal.domain.payments.explaining import explain_for_invoice
from portal.domain.payments.models import Payment, Submission
from portal.domain.payments.rules import RuleResult
from portal.domain.payments.service import Recorded
from portal.extensions import db
from portal.kernel.chain import ObservedTransaction
from portal.kernel.refs import new_id, to_ref

# While a transaction is not on the ledger it is looked for at these ages, then each minute for 15 minutes,
# then each 10 minutes for a day (design, section 6).
FIRST_DELAYS_SECONDS = (1, 2, 4, 8, 15, 30)
MINUTELY_UNTIL = timedelta(minutes=16)
LAST_DELAY = timedelta(minutes=10)
GIVE_UP_AFTER = timedelta(hours=24)
ABANDON_AFTER = timedelta(days=7)
# After an outage it is a quarter of the claim's age, so that a paid invoice is seen soon after the recovery and
# a long outage is no storm of looks.
OUTAGE_DELAY_MIN, OUTAGE_DELAY_MAX = timedelta(seconds=1), timedelta(seconds=10)
LEASE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """What a submission came to; `status` is the HTTP status of design section 9."""

    status: int
    submission: Submission


def open_submission(
    *, merchant_id: UUID, network: str, invoice_id: UUID, transaction_hash: str, origin: str, now: datetime
) -> Submission:
    """Note that somebody claims this hash pays this invoice; a repeated claim finds the first row again."""
    values: dict[str, Any] = {
        "id": new_id(),
        "merchant_id": merchant_id,
        "network": network,
        "invoice_id": invoice_id,
        "transaction_hash": transaction_hash,
        "origin": origin,
        "state": "CHECKING",
        "started_at": now,
        "next_attempt_at": now + timedelta(seconds=FIRST_DELAYS_SECONDS[0]),
        "created_at": now,
        "updated_at": now,
    }
    statement = insert(Submission).values(values)
    statement = statement.on_conflict_do_update(
        index_elements=["invoice_id", "transaction_hash"], set_={"updated_at": now}
    )
    token = (
        select(Invoice.token)
        .where(Invoice.merchant_id == merchant_id, Invoice.id == invoice_id)
        .scalar_subquery()
    )
    found: Submission
    found, checkout_token = db.session.execute(
        statement.returning(Submission, token), execution_options={"populate_existing": True}
    ).one()
    # Every change of a submission begins with this call, in the same transaction.
    mark_checkout(checkout_token)
    if found.state == "NOT_FOUND":
        found.state, found.started_at, found.attempts = "CHECKING", now, 0
        found.next_attempt_at = now + timedelta(seconds=FIRST_DELAYS_SECONDS[0])
    return found


def accept(submission: Submission, *, payment: Payment, rules: tuple[RuleResult, ...], now: datetime) -> None:
    submission.state, submission.code = "ACCEPTED", None
    submission.payment_id = payment.id
    submission.rules = [asdict(rule) for rule in rules] or payment.evidence
    submission.updated_at = now
    db.session.flush()


def settle(
    submission: Submission, *, transaction: ObservedTransaction, recorded: Recorded, now: datetime
) -> Answer:
    """Turn the verdict into the submission's answer; a refusal is a value and is committed like any other."""
    invoice = next(known for known in recorded.context.invoices if known.id == submission.invoice_id)
    code, rules = explain_for_invoice(transaction, recorded.verdict, invoice)
    mine = [
        payment
        for payment in recorded.payments
        if payment.invoice_id == invoice.id and payment.status == "CONFIRMED"
    ]
    if code is None and mine:
        is_new = any(payment.id in recorded.new_payment_ids for payment in mine)
        accept(submission, payment=mine[0], rules=rules, now=now)
        return Answer(201 if is_new else 200, submission)
    given = queries.find_credit(
        merchant_id=submission.merchant_id,
        network=submission.network,
        invoice_id=submission.invoice_id,
        transaction_hash=submission.transaction_hash,
    )
    if given is not None:
        # A person gave this invoice what its reference could not.
        accept(submission, payment=given, rules=(), now=now)
        return Answer(200, submission)
    if code is None and any(payment.status == "REVERSED" for payment in recorded.payments):
        code = "payment_reversed"
    # A credit that names this invoice but stands elsewhere by now has been used there.
    submission.state, submission.code = "REJECTED", code or "hash_used"
    submission.rules = [asdict(rule) for rule in rules]
    submission.payment_id = None
    submission.updated_at = now
    db.session.flush()
    audit.record(
        "submission.rejected",
        merchant_id=submission.merchant_id,
        object_ref=to_ref("sub", submission.id),
        after={"code": submission.code, "transaction_hash": submission.transaction_hash},
        at=now,
    )
    return Answer(409 if submission.code == "hash_used" else 422, submission)


def postpone(
    submission: Submission,
    *,
    now: datetime,
    is_absent: bool,
    is_outage: bool = False,
    not_before: datetime | None = None,
) -> Answer:
    """Leave a submission to a later attempt, or give up a day after it was made.

    Only a network that answers and `is_absent` ends the wait then; a source that says nothing usable for a week
    ends it too, or claims that can never be checked would pile up. The watcher finds the money regardless. An outage says nothing about the transaction: it
    counts as no attempt and the next look follows soon, but not before the source said it may be asked again.
    """
    submission.updated_at = now
    submission.lease_until = submission.lease_token = None
    if is_outage:
        due: datetime | None = after_outage(started_at=submission.started_at, not_before=not_before, now=now)
    else:
        submission.attempts += 1
        due = next_attempt_at(started_at=submission.started_at, attempts=submission.attempts, now=now)
    is_over = now - submission.started_at >= ABANDON_AFTER
    if (due is None and is_absent) or is_over:
        submission.state = "NOT_FOUND"
        db.session.flush()
        return Answer(200, submission)
    submission.state, submission.code = "CHECKING", None
    submission.next_attempt_at = due or now + LAST_DELAY
    db.session.flush()
    return Answer(202, submission)


def after_outage(*, started_at: datetime, not_before: datetime | None, now: datetime) -> datetime:
    """Return when to look again after the source gave no usable answer."""
    due = now + min(OUTAGE_DELAY_MAX, max(OUTAGE_DELAY_MIN, (now - started_at) / 4))
    return due if not_before is None else max(due, not_before)


def next_attempt_at(*, started_at: datetime, attempts: int, now: datetime) -> datetime | None:
    """Return when to look again after `attempts` looks, or None when it is time to give up."""
    assert attempts >= 0, attempts
    if now - started_at >= GIVE_UP_AFTER:
        return None
    if attempts < len(FIRST_DELAYS_SECONDS):
        return now + timedelta(seconds=FIRST_DELAYS_SECONDS[attempts])
    if now - started_at < MINUTELY_UNTIL:
        return now + timedelta(minutes=1)
    return now + LAST_DELAY
