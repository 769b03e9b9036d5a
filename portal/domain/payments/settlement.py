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
from portal.domain.invoices.receipts import debtor_of
from portal.domain.invoices.receipts import settle as settle_invoice
from portal.domain.ledger import queries as books
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
    credits = _credits_of(merchant_id, issued, paid, arriving_in) if paid else {}
    return {
        invoice.id: Account(
            invoice,
            facts_of(invoice, [each.arrival for each in credits.get(invoice.id, ())]),
            tuple(credits.get(invoice.id, ())),
            is_whole=arriving_in is None or invoice.id not in paid,
        )
        for invoice in issued.values()
    }


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
        withheld_stroops=to_stroops(invoice.withheld),
    )


def _credits_of(
    merchant_id: UUID, invoices: Mapping[UUID, Invoice], paid: Sequence[UUID], arriving_in: int | None
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
    if arriving_in is not None:
        # What lies behind may give way to what arrives; a forgiven rest is owed again; pure excess stays so.
        may_move = (ChainTransaction.ledger >= arriving_in) & ~Payment.flags.contains(["duplicate"])
        statement = statement.where(may_move | Payment.flags.contains(["short"]))
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
    flags = set() if account.is_whole else _flags_unread(account)
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
        paid_at=_paid_at(account, settled, change),
        now=desk.now,
    )
    return booked


def _paid_at(account: Account, settled: Settled, change: Change) -> datetime | None:
    """Return when the last stroop came; money beside the credits may have come after them."""
    invoice = account.invoice
    shared = [each.arrival.booked for each in account.credits if each.arrival.booked is not None]
    in_shares = sum(share.allocated_stroops + share.rounding_stroops for share in shared)
    if account.is_whole and to_stroops(invoice.amount_received) + change.received_stroops > in_shares:
        came = [moment for moment in (settled.completed_at, change.paid_at, invoice.paid_at) if moment]
        return max(came, default=None)
    return settled.completed_at or change.paid_at


def _flags_unread(account: Account) -> set[str]:
    """Return what the credits that were not read say of their invoice."""
    wanted = {*account.invoice.flags} & {"late", "duplicate"}
    read = [each.payment.id for each in account.credits]
    statement = select(Payment.id).where(
        Payment.merchant_id == account.invoice.merchant_id,
        Payment.invoice_id == account.invoice.id,
        Payment.status == "CONFIRMED",
        Payment.decided_at.is_(None),
        Payment.id.not_in(read),
    )
    return {
        flag
        for flag in sorted(wanted)
        if db.session.scalar(statement.where(Payment.flags.contains([flag])).limit(1)) is not None
    }


def resettle(
    desk: Desk, account: Account, policy: MerchantPolicy, change: Change, *, is_taken_back: bool = False
) -> None:
    """Share an invoice's credits out anew after other money of it came or went; `change` says how much.

    What an issuer takes back opens a gap that nobody chose: it is filled from the excess of other credits only
    as far as the client still has that much credit.
    """
    excess = sum(each.booked.excess_stroops for each in account.facts.arrivals if each.booked is not None)
    facts = replace(
        account.facts,
        received_stroops=account.facts.received_stroops + change.received_stroops,
        withheld_stroops=min(account.facts.withheld_stroops, excess),
    )
    settled = settle(facts, policy)
    if is_taken_back and (spent := _spent_of(desk, account, facts, settled)) > 0:
        given = _allocated(settled) - spent
        total = sum(arrival.stroops for arrival in facts.arrivals)
        facts = replace(facts, withheld_stroops=total - given)
        settled = settle(facts, policy)
    account.invoice.withheld = from_stroops(facts.withheld_stroops)
    apply_settled(desk, account, settled, change=change)


def _spent_of(desk: Desk, account: Account, facts: InvoiceFacts, settled: Settled) -> int:
    """Return how much of the excess that would move into the gap is no longer the client's."""
    before = sum(each.booked.allocated_stroops for each in facts.arrivals if each.booked is not None)
    moved = _allocated(settled) - before
    if moved <= 0:
        return 0
    held = -books.balance_for_update(
        merchant_id=desk.merchant_id,
        network=desk.network,
        kind="client_credit",
        asset=account.invoice.asset,
        owner_id=debtor_of(account.invoice),
    )
    return max(0, min(moved, moved - to_stroops(held)))


def _allocated(settled: Settled) -> int:
    return sum(share.allocated_stroops for share in settled.shares.values())


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
