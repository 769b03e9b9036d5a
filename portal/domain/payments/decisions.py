"""What people decide about unmatched money: match, split, mark for refund, ignore, and each of these undone.

Locks are taken in the order invoices by id, then the payment, the same as when money is recorded. Every
decision is an audit row and an event; journals go through suspense (design, section 6).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select

from portal.domain.invoices import queries as invoices
from portal.domain.invoices.receipts import debtor_of
from portal.domain.ledger import queries as ledger
from portal.domain.ledger import rules as postings
from portal.domain.merchants.models import Merchant
from portal.domain.payments import queries
from portal.domain.payments.booking import Desk, live_allocations, unbook
from portal.domain.payments.matching import MatchRefused, judge_match
from portal.domain.payments.models import ChainTransaction, Payment
from portal.domain.payments.queries import PaymentNotFound
from portal.domain.payments.rules import MerchantPolicy, RuleResult
from portal.domain.payments.settlement import (
    Account,
    Change,
    accounts_of,
    announce,
    evidence_of,
    policy_of,
    resettle,
)
from portal.extensions import db
from portal.kernel.errors import Conflict, Invalid
from portal.kernel.money import to_stroops
from portal.kernel.refs import from_ref, to_ref

REFUND_DUE = "refund_due"
PARTS_MAX = 20
NOTE_MAX = 500


class PaymentNotUnmatched(Conflict):
    code = "payment_not_unmatched"


class BookedElsewhere(Conflict):
    """What the decision gave away has been used since, so it cannot be taken back."""

    code = "booked_elsewhere"


class NoteMissing(Invalid):
    code = "note_missing"


class PartsInvalid(Invalid):
    code = "parts_invalid"


@dataclass(frozen=True, slots=True)
class Part:
    """How much of the payment, in units of its asset, one invoice gets; more than it lacks is client credit."""

    invoice_id: UUID
    amount: Decimal


def match(
    *, merchant: Merchant, desk: Desk, payment_id: UUID, parts: Sequence[Part], note: str = ""
) -> Payment:
    """Give all that is left of an unmatched payment to one invoice or to several.

    :raises PartsInvalid: unless the parts are of different invoices and add up to what is left.
    :raises MatchRefused: when a part may not go to its invoice, whatever a person says.
    :raises PaymentNotUnmatched: when somebody decided before, or a refund is under way.
    """
    if not 1 <= len(parts) <= PARTS_MAX or len({part.invoice_id for part in parts}) != len(parts):
        raise PartsInvalid(f"Choose 1 to {PARTS_MAX} different invoices.", pointer="/parts")
    if any(part.amount <= 0 for part in parts):
        raise PartsInvalid("Every part must be above zero.", pointer="/parts")
    accounts = lock_accounts(desk, [part.invoice_id for part in parts])
    payment, transaction = _lock(desk, payment_id, status="UNMATCHED")
    if payment.refund_reserved > 0:
        raise PaymentNotUnmatched("A refund of this payment is under way. Cancel it first.")
    left = payment.amount - payment.refunded
    if sum((part.amount for part in parts), Decimal(0)) != left:
        raise PartsInvalid(f"The parts must add up to {left.normalize():f}.", pointer="/parts")
    rules: list[RuleResult] = []
    written = []
    for part in sorted(parts, key=lambda each: each.invoice_id):
        account = accounts[part.invoice_id]
        rules += judge_match(
            reason=payment.reason,
            asset=payment.asset,
            closed_at=transaction.closed_at,
            invoice=account.facts,
        )
        written.append(_give(desk, payment, account, part, policy_of(merchant), transaction))
    first = accounts[parts[0].invoice_id].invoice
    decision = {"action": "match", "note": _clean(note), "reason": payment.reason, "parts": written}
    payment.decision, payment.decided_at = decision, desk.now
    payment.status, payment.reason = "CONFIRMED", None
    payment.invoice_id, payment.client_id = first.id, first.client_id
    payment.flags = sorted({*payment.flags} - {REFUND_DUE, "dust"} | {"matched"})
    payment.evidence = [*payment.evidence, *evidence_of(rules)]
    announce(desk, "payment.confirmed", payment, transaction, detail={"decision": decision})
    return payment


def unmatch(*, merchant: Merchant, desk: Desk, payment_id: UUID) -> Payment:
    """Undo a match: the invoices lose what it gave them and the money is unmatched again.

    :raises BookedElsewhere: when it was refunded, or its excess was spent as client credit, since.
    """
    parts = parts_of(_find(desk, payment_id))
    accounts = lock_accounts(desk, [invoice_of(part) for part in parts])
    payment, transaction = _lock(desk, payment_id, status="CONFIRMED")
    if parts_of(payment) != parts or not parts:
        raise PaymentNotUnmatched("This payment was not matched by a person.")
    _check_untouched(desk, payment, parts)
    decision: dict[str, Any] = dict(payment.decision or {})
    held = credit_held(desk, accounts.values())
    unbook(desk, payment, ("match",))
    take_from(desk, accounts, parts, policy_of(merchant))
    refuse_overdraft(desk, accounts.values(), held)
    payment.status, payment.reason = "UNMATCHED", decision["reason"]
    payment.invoice_id = payment.client_id = None
    payment.decision = payment.decided_at = None
    payment.flags = sorted({*payment.flags} - {"matched"})
    chosen = [place for place, rule in enumerate(payment.evidence) if rule["code"] == "chosen"]
    payment.evidence = payment.evidence[: chosen[0]]
    announce(desk, "payment.unmatched", payment, transaction, detail={"undone": decision})
    return payment


def ignore(*, desk: Desk, payment_id: UUID, note: str) -> Payment:
    """Leave the money in suspense for good, with the reason a person gives."""
    payment, transaction = _lock(desk, payment_id, status="UNMATCHED")
    if payment.refund_reserved > 0:
        raise PaymentNotUnmatched("A refund of this payment is under way. Cancel it first.")
    decision: dict[str, Any] = {
        "action": "ignore",
        "note": required_note(note),
        "reason": payment.reason,
        "parts": [],
    }
    payment.decision, payment.decided_at, payment.status = decision, desk.now, "IGNORED"
    payment.flags = sorted({*payment.flags} - {REFUND_DUE})
    announce(desk, "payment.ignored", payment, transaction, detail={"decision": decision})
    return payment


def restore(*, desk: Desk, payment_id: UUID) -> Payment:
    """Put money that a person ignored back into the inbox."""
    payment, transaction = _lock(desk, payment_id, status="IGNORED")
    decision = payment.decision
    if decision is None or decision["action"] != "ignore":
        raise PaymentNotUnmatched("This payment was not set aside by a person.")
    payment.decision = payment.decided_at = None
    payment.status = "UNMATCHED"
    announce(desk, "payment.unmatched", payment, transaction, detail={"undone": decision})
    return payment


def mark_for_refund(*, desk: Desk, payment_id: UUID, is_due: bool = True) -> Payment:
    """Note that the money is to be sent back, or that it is not after all; nothing is booked by that."""
    payment, transaction = _lock(desk, payment_id, status="UNMATCHED")
    flags = {*payment.flags} | {REFUND_DUE} if is_due else {*payment.flags} - {REFUND_DUE}
    if sorted(flags) != sorted(payment.flags):
        payment.flags = sorted(flags)
        announce(desk, "payment.updated", payment, transaction, detail={REFUND_DUE: is_due})
    return payment


def take_from(
    desk: Desk,
    accounts: Mapping[UUID, Account],
    parts: Sequence[Mapping[str, Any]],
    policy: MerchantPolicy,
    moved: Collection[str] = (),
    *,
    is_taken_back: bool = False,
) -> None:
    """Take the parts of a match from their invoices; its journals were reversed before.

    The invoices that `moved` names gave theirs up as client credit before.
    """
    for part in sorted(parts, key=invoice_of):
        received = 0 if part["invoice"] in moved else part["allocated_stroops"]
        change = Change(-received, -part["excess_stroops"])
        resettle(desk, accounts[invoice_of(part)], policy, change, is_taken_back=is_taken_back)


def _give(
    desk: Desk,
    payment: Payment,
    account: Account,
    part: Part,
    policy: MerchantPolicy,
    transaction: ChainTransaction,
) -> dict[str, Any]:
    invoice = account.invoice
    allocated = min(part.amount, invoice.amount - invoice.amount_received)
    excess = part.amount - allocated
    lines = postings.match_postings(debtor_id=debtor_of(invoice), allocated=allocated, excess=excess)
    journal_id = desk.post("match", payment.asset, payment.id, lines)
    if allocated > 0:
        desk.allocate(
            invoice, source="payment", source_id=payment.id, amount=allocated, journal_id=journal_id
        )
    given = {"allocated_stroops": to_stroops(allocated), "excess_stroops": to_stroops(excess)}
    change = Change(given["allocated_stroops"], given["excess_stroops"], transaction.closed_at)
    resettle(desk, account, policy, change)
    return {"invoice": to_ref("inv", invoice.id), **given}


def invoice_of(part: Mapping[str, Any]) -> UUID:
    return from_ref("inv", part["invoice"])


def parts_of(payment: Payment) -> list[dict[str, Any]]:
    """Return what a person's match of this payment gave to invoices: refs and stroops."""
    decision = payment.decision
    return list(decision["parts"]) if decision is not None and decision["action"] == "match" else []


def lock_accounts(desk: Desk, invoice_ids: Sequence[UUID]) -> dict[UUID, Account]:
    """Lock issued invoices in the order of their ids.

    :raises InvoiceNotFound: when one is not this merchant's.
    :raises MatchRefused: for a draft, which owes nothing yet.
    """
    locked = invoices.list_for_update(
        merchant_id=desk.merchant_id, network=desk.network, invoice_ids=sorted(invoice_ids)
    )
    accounts = accounts_of(merchant_id=desk.merchant_id, invoices=locked)
    if len(locked) != len(set(invoice_ids)):
        raise invoices.InvoiceNotFound("No such invoice.")
    if len(accounts) != len(locked):
        raise MatchRefused("invoice_draft", "This invoice is a draft. Issue it first.", pointer="/parts")
    return accounts


def lock_payment(desk: Desk, payment_id: UUID) -> tuple[Payment, ChainTransaction]:
    """Lock a payment, after the invoices it concerns, and return it with its transaction."""
    statement = (
        select(Payment, ChainTransaction)
        .join(ChainTransaction, ChainTransaction.id == Payment.transaction_id)
        .where(
            Payment.merchant_id == desk.merchant_id,
            Payment.network == desk.network,
            Payment.id == payment_id,
        )
        .with_for_update(of=Payment, key_share=True)
        .execution_options(populate_existing=True)
    )
    row = db.session.execute(statement).one_or_none()
    if row is None:
        raise PaymentNotFound("No such payment.")
    return row[0], row[1]


def _lock(desk: Desk, payment_id: UUID, *, status: str) -> tuple[Payment, ChainTransaction]:
    payment, transaction = lock_payment(desk, payment_id)
    if payment.status != status:
        raise PaymentNotUnmatched("Somebody decided about this payment in the meantime.")
    return payment, transaction


def _check_untouched(desk: Desk, payment: Payment, parts: Sequence[Mapping[str, Any]]) -> None:
    if payment.refunded > 0 or payment.refund_reserved > 0:
        raise BookedElsewhere("This payment was refunded, or a refund is under way.")
    standing = {each.invoice_id for each in live_allocations(desk.merchant_id, source_id=payment.id)}
    if standing != {invoice_of(part) for part in parts if part["allocated_stroops"] > 0}:
        raise BookedElsewhere("What this payment gave an invoice was moved to client credit since.")


def credit_held(desk: Desk, accounts: Iterable[Account]) -> dict[UUID, Decimal]:
    """Return the credit of whoever owes these invoices, of one asset, by debtor, and hold it."""
    asset_of = {debtor_of(account.invoice): account.invoice.asset for account in accounts}
    return {
        debtor: -ledger.balance_for_update(
            merchant_id=desk.merchant_id,
            network=desk.network,
            kind="client_credit",
            asset=asset_of[debtor],
            owner_id=debtor,
        )
        for debtor in sorted(asset_of)
    }


def refuse_overdraft(desk: Desk, accounts: Iterable[Account], before: Mapping[UUID, Decimal]) -> None:
    """Refuse to take money from invoices whose excess fills the gap but was spent as credit since.

    :raises BookedElsewhere: when a credit would sink below zero; one that a clawback left there may stay.
    """
    after = credit_held(desk, accounts)
    if any(held < min(before[debtor], Decimal(0)) for debtor, held in after.items()):
        raise BookedElsewhere("The client's credit from this money was spent since.")


def _find(desk: Desk, payment_id: UUID) -> Payment:
    return queries.get(merchant_id=desk.merchant_id, payment_id=payment_id).payment


def _clean(note: str) -> str:
    return " ".join(note.split())[:NOTE_MAX]


def required_note(note: str, *, pointer: str = "/note") -> str:
    """Return a person's reason in one line.

    :raises NoteMissing: when there is none.
    """
    cleaned = _clean(note)
    if not cleaned:
        raise NoteMissing("Say why, so that your colleagues understand it later.", pointer=pointer)
    return cleaned
