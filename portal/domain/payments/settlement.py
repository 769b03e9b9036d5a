"""Bring an invoice's bookings to what its credits say: what changed is reversed and booked anew."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import defer

from portal.domain.audit import service as audit
from portal.domain.events import service as events
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.receipts import settle as settle_invoice
from portal.domain.merchants.models import Merchant
from portal.domain.payments import queries
from portal.domain.payments.booking import Desk, book_share, unbook
from portal.domain.payments.documents import payment_document
from portal.domain.payments.models import Allocation, ChainTransaction, Payment
from portal.domain.payments.rules import (
    InvoiceFacts,
    MerchantPolicy,
    RuleResult,
    amount_rules,
    is_late,
    settle,
)
from portal.domain.payments.settling import Arrival, ChainPlace, Settled, Share, flags_of
from portal.extensions import db
from portal.kernel.money import from_stroops, to_stroops
from portal.kernel.refs import to_ref

# Rules and flags that tell of amounts; they change when a credit is shared out anew.
_AMOUNT_RULES = frozenset({"amount", "tolerance"})
_SHARE_FLAGS = frozenset({"late", "short", "overpaid", "duplicate"})


@dataclass(frozen=True, slots=True)
class Ledgered:
    """A recorded credit of an invoice with its transaction's place and time."""

    payment: Payment
    arrival: Arrival
    transaction: ChainTransaction


@dataclass(frozen=True, slots=True)
class Change:
    """What an invoice gained or lost beside the credits that are shared out; `paid_at` is when it came."""

    received_stroops: int = 0
    overpaid_stroops: int = 0
    paid_at: datetime | None = None


UNCHANGED = Change()


@dataclass(frozen=True, slots=True)
class Account:
    """A locked invoice, its facts for the rules, and the credits that are shared out with it."""

    invoice: Invoice
    facts: InvoiceFacts
    credits: tuple[Ledgered, ...] = ()
    is_whole: bool = True
    """Whether `credits` are all that are shared out; what was left unread keeps its share."""


def policy_of(merchant: Merchant) -> MerchantPolicy:
    return MerchantPolicy(
        tolerance_stroops=to_stroops(merchant.tolerance), accept_late=merchant.late_policy == "accept"
    )


def accounts_of(
    *, merchant_id: UUID, invoices: Iterable[Invoice], arriving_in: int | None = None
) -> dict[UUID, Account]:
    """Return the accounts of locked, issued invoices by id.

    With `arriving_in`, the ledger of the money at hand, credits are read only where it may move one of them:
    strangers can pay an invoice without end, and what comes last changes nothing before it.
    """
    issued = {invoice.id: invoice for invoice in invoices if invoice.pay_ref is not None}
    paid = [each.id for each in issued.values() if each.amount_received > 0 or each.overpaid_by > 0]
    if paid and arriving_in is not None:
        later = _paid_since(merchant_id, paid, arriving_in)
        paid = [each for each in paid if each in later or "short" in issued[each].flags]
    credits = _credits_of(merchant_id, issued, paid) if paid else {}
    return {
        invoice.id: Account(
            invoice,
            facts_of(invoice, [each.arrival for each in credits.get(invoice.id, ())]),
            tuple(credits.get(invoice.id, ())),
            is_whole=arriving_in is None or invoice.id in paid,
        )
        for invoice in issued.values()
    }


def _paid_since(merchant_id: UUID, invoice_ids: Sequence[UUID], ledger: int) -> set[UUID]:
    """Return the invoices that have a credit of this ledger or of a later one."""
    statement = (
        select(Payment.invoice_id)
        .distinct()
        .join(ChainTransaction, ChainTransaction.id == Payment.transaction_id)
        .where(
            Payment.merchant_id == merchant_id,
            Payment.invoice_id.in_(invoice_ids),
            Payment.status == "CONFIRMED",
            Payment.decided_at.is_(None),
            ChainTransaction.ledger >= ledger,
        )
    )
    return {each for each in db.session.scalars(statement) if each is not None}


def facts_of(invoice: Invoice, arrivals: Sequence[Arrival] = ()) -> InvoiceFacts:
    assert invoice.pay_ref is not None and invoice.destination is not None and invoice.issued_at is not None
    return InvoiceFacts(
        id=invoice.id,
        pay_ref=invoice.pay_ref,
        status=invoice.status,
        asset=invoice.asset,
        amount_stroops=to_stroops(invoice.amount),
        received_stroops=to_stroops(invoice.amount_received),
        destination=invoice.destination,
        issued_at=invoice.issued_at,
        expires_at=invoice.expires_at,
        arrivals=tuple(arrivals),
    )


def _credits_of(
    merchant_id: UUID, invoices: Mapping[UUID, Invoice], paid: Sequence[UUID]
) -> dict[UUID, list[Ledgered]]:
    statement = (
        select(Payment, ChainTransaction)
        .join(ChainTransaction, ChainTransaction.id == Payment.transaction_id)
        .where(
            Payment.merchant_id == merchant_id,
            Payment.invoice_id.in_(paid),
            Payment.status == "CONFIRMED",
            Payment.decided_at.is_(None),
        )
        .options(defer(ChainTransaction.raw), defer(ChainTransaction.envelope_xdr))
        .with_for_update(of=Payment, key_share=True)
        .execution_options(populate_existing=True)
    )
    rows = [(row[0], row[1]) for row in db.session.execute(statement)]
    ids = [row[0].id for row in rows]
    shares = _shares(queries.list_allocations(merchant_id=merchant_id, payment_ids=ids)) if ids else {}
    found: dict[UUID, list[Ledgered]] = {}
    for payment, transaction in rows:
        assert payment.invoice_id is not None, payment.id
        allocated, rounding = shares[payment.id]
        stroops = to_stroops(payment.amount)
        arrival = Arrival(
            place_in_chain(payment, transaction),
            stroops,
            transaction.closed_at,
            is_late(invoices[payment.invoice_id].expires_at, transaction.closed_at),
            Share(allocated, stroops - allocated, rounding),
        )
        found.setdefault(payment.invoice_id, []).append(Ledgered(payment, arrival, transaction))
    return found


def place_in_chain(payment: Payment, transaction: ChainTransaction) -> ChainPlace:
    return transaction.ledger, transaction.canonical_hash, payment.operation_index, payment.credit_index


def _shares(allocations: Mapping[UUID, Sequence[Allocation]]) -> dict[UUID, tuple[int, int]]:
    """Return (allocated, rounding) stroops of payments; what was taken back counts against what was given."""
    return {
        payment_id: (
            sum(to_stroops(each.amount) for each in rows if each.source == "payment"),
            sum(to_stroops(each.amount) for each in rows if each.source == "rounding"),
        )
        for payment_id, rows in allocations.items()
    }


def apply_settled(
    desk: Desk,
    account: Account,
    settled: Settled,
    new: Sequence[Ledgered] = (),
    *,
    change: Change = UNCHANGED,
) -> dict[UUID, list[Allocation]]:
    """Book every share that is new or changed, write the invoice, and return the new credits' allocations."""
    invoice = account.invoice
    received = to_stroops(invoice.amount_received) + change.received_stroops
    overpaid = to_stroops(invoice.overpaid_by) + change.overpaid_stroops
    booked: dict[UUID, list[Allocation]] = {}
    flags = set() if account.is_whole else {*invoice.flags} & {"late", "duplicate"}
    for each in [*account.credits, *new]:
        before, share = each.arrival.booked, settled.shares[each.arrival.place]
        flags.update(flags_of(each.arrival, share))
        if before == share:
            continue
        if before is not None:
            unbook(desk, each.payment, ("allocation", "short"))
            received -= before.allocated_stroops + before.rounding_stroops
            overpaid -= before.excess_stroops
        booked[each.payment.id] = book_share(desk, each.payment, invoice, share)
        received += share.allocated_stroops + share.rounding_stroops
        overpaid += share.excess_stroops
        if before is not None:
            _rewrite(desk, each, share)
    settle_invoice(
        invoice,
        received=from_stroops(received),
        overpaid_by=from_stroops(overpaid),
        flags=flags,
        paid_at=settled.completed_at or change.paid_at,
        now=desk.now,
    )
    return booked


def resettle(desk: Desk, account: Account, policy: MerchantPolicy, change: Change) -> None:
    """Share an invoice's credits out anew after other money of it came or went; `change` says how much."""
    facts = replace(account.facts, received_stroops=account.facts.received_stroops + change.received_stroops)
    apply_settled(desk, account, settle(facts, policy), change=change)


def without(account: Account, payment_id: UUID) -> tuple[Account, Change]:
    """Return an account that lacks one of its credits and what the invoice loses with it."""
    gone = next(each for each in account.credits if each.payment.id == payment_id)
    left = tuple(each for each in account.credits if each is not gone)
    facts = replace(account.facts, arrivals=tuple(each.arrival for each in left))
    share = gone.arrival.booked
    assert share is not None, payment_id
    lost = Change(-share.allocated_stroops - share.rounding_stroops, -share.excess_stroops)
    return Account(account.invoice, facts, left), lost


def _rewrite(desk: Desk, each: Ledgered, share: Share) -> None:
    payment = each.payment
    payment.flags = sorted({*payment.flags} - _SHARE_FLAGS | {*flags_of(each.arrival, share)})
    kept = [rule for rule in payment.evidence if rule["code"] not in _AMOUNT_RULES]
    payment.evidence = [*kept, *(asdict(rule) for rule in amount_rules(share, each.arrival.stroops))]
    announce(desk, "payment.updated", payment, each.transaction)


def announce(
    desk: Desk,
    event_type: str,
    payment: Payment,
    transaction: ChainTransaction,
    *,
    allocations: Sequence[Allocation] | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write a payment's event and audit row; a payment that was there before goes to its next version."""
    if allocations is None:
        payment.version += 1
        payment.updated_at = desk.now
        db.session.flush()
        allocations = queries.allocations_of(merchant_id=desk.merchant_id, payment_id=payment.id)
    document = payment_document(payment, transaction, allocations)
    events.record(
        event_type,
        merchant_id=desk.merchant_id,
        network=desk.network,
        aggregate_id=payment.id,
        version=payment.version,
        payload=document,
        at=desk.now,
    )
    after = {"amount": document["amount"], "invoice": document["invoice"], "reason": payment.reason}
    audit.record(
        event_type,
        merchant_id=desk.merchant_id,
        object_ref=to_ref("pay", payment.id),
        after={**after, **(detail or {})},
        at=desk.now,
    )


def evidence_of(rules: Iterable[RuleResult]) -> list[dict[str, Any]]:
    return [asdict(rule) for rule in rules]
