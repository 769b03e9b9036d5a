"""Records what a transaction brought one merchant: chain facts, payments, allocations, journals, events.

Whoever reports a transaction (pasted hash, API, watcher) it comes through `record_transaction`, so the
same facts get the same verdict; the unique key of `payments` alone decides whether a credit is new.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from portal.domain.audit import service as audit
from portal.domain.events import service as events
from portal.domain.invoices import queries as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.receipts import debtor_of, receive
from portal.domain.ledger import rules as postings
from portal.domain.ledger import service as ledger
from portal.domain.merchants import queries as merchants
from portal.domain.merchants.models import Merchant
from portal.domain.payments import queries
from portal.domain.payments.documents import payment_document
from portal.domain.payments.models import Allocation, ChainTransaction, ChainTransactionHash, Payment
from portal.domain.payments.rules import (
    Context,
    CreditVerdict,
    InvoiceFacts,
    MerchantPolicy,
    Outcome,
    Verdict,
    candidate_references,
    judge,
)
from portal.extensions import db
from portal.kernel.chain import ObservedTransaction
from portal.kernel.money import from_stroops, to_stroops
from portal.kernel.refs import new_id, to_ref

STATUS_OF = {
    Outcome.CREDITED: "CONFIRMED",
    Outcome.UNMATCHED: "UNMATCHED",
    Outcome.IGNORED: "IGNORED",
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording found and did; `payments` are this merchant's, in the order of the ledger."""

    verdict: Verdict
    context: Context
    payments: tuple[Payment, ...]
    new_payment_ids: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every step of one recording needs."""

    merchant: Merchant
    network: str
    transaction: ChainTransaction
    wallet_ids: dict[str, UUID]
    invoices: dict[UUID, Invoice]
    now: datetime


def record_transaction(
    *,
    merchant: Merchant,
    network: str,
    transaction: ObservedTransaction,
    now: datetime,
    invoice_id: UUID | None = None,
) -> Recorded:
    """Record every credit of `transaction` that reached a wallet of this merchant; the caller commits.

    `invoice_id` is the invoice on whose page it was submitted: it is locked and judged along. Locks are
    taken in the order chain hashes, invoices by id, accounts by id. A failed transaction consumes nothing.
    """
    wallet_ids = merchants.wallet_ids(merchant.id, network)
    reaches = any(credit.destination in wallet_ids for credit in transaction.credits)
    stored = None
    if transaction.successful and reaches:
        stored = _store_transaction(network, transaction, now)
    locked = invoices.list_for_update_by_pay_ref(
        merchant_id=merchant.id,
        network=network,
        pay_refs=sorted(candidate_references(transaction)),
        also=invoice_id,
    )
    known = [] if stored is None else queries.list_recorded(merchant_id=merchant.id, transaction_id=stored.id)
    context = Context(
        wallets=frozenset(wallet_ids),
        invoices=tuple(_facts(invoice) for invoice in locked if invoice.pay_ref is not None),
        policy=policy_of(merchant),
        recorded=frozenset((payment.operation_index, payment.credit_index) for payment in known),
    )
    verdict = judge(transaction, context)
    new: list[Payment] = []
    if stored is not None:
        by_id = {invoice.id: invoice for invoice in locked}
        scene = _Scene(merchant, network, stored, wallet_ids, by_id, now)
        for found in verdict.credits:
            payment = None if found.outcome is Outcome.ALREADY else _record_credit(scene, found)
            if payment is not None:
                new.append(payment)
    ordered = sorted([*known, *new], key=lambda payment: (payment.operation_index, payment.credit_index))
    return Recorded(verdict, context, tuple(ordered), frozenset(payment.id for payment in new))


def policy_of(merchant: Merchant) -> MerchantPolicy:
    return MerchantPolicy(
        tolerance_stroops=to_stroops(merchant.tolerance), accept_late=merchant.late_policy == "accept"
    )


def _facts(invoice: Invoice) -> InvoiceFacts:
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
    )


def _store_transaction(network: str, transaction: ObservedTransaction, now: datetime) -> ChainTransaction:
    """Insert the chain facts, or wait for whoever is inserting the same and read theirs."""
    values = {
        "id": new_id(),
        "network": network,
        "canonical_hash": transaction.canonical_hash,
        "ledger": transaction.ledger,
        "closed_at": transaction.closed_at,
        "source_account": transaction.source_account,
        "memo_type": transaction.memo_type,
        "memo": _storable(transaction.memo),
        "memo_bytes": transaction.memo_bytes,
        "envelope_xdr": transaction.envelope_xdr,
        "raw": _storable(transaction.raw),
        "created_at": now,
    }
    db.session.execute(upsert(ChainTransaction).values(values).on_conflict_do_nothing())
    stored = db.session.scalars(
        select(ChainTransaction).where(
            ChainTransaction.network == network, ChainTransaction.canonical_hash == transaction.canonical_hash
        )
    ).one()
    names = [{"network": network, "hash": name, "transaction_id": stored.id} for name in transaction.hashes]
    db.session.execute(upsert(ChainTransactionHash).values(names).on_conflict_do_nothing())
    return stored


def _record_credit(scene: _Scene, found: CreditVerdict) -> Payment | None:
    """Write one credit with everything that follows from it; None when another transaction wrote it first."""
    credit = found.credit
    invoice = scene.invoices.get(found.invoice_id) if found.invoice_id is not None else None
    is_credited = found.outcome is Outcome.CREDITED
    payment = Payment(
        id=new_id(),
        merchant_id=scene.merchant.id,
        network=scene.network,
        transaction_id=scene.transaction.id,
        operation_index=credit.operation_index,
        credit_index=credit.credit_index,
        wallet_id=scene.wallet_ids[credit.destination],
        invoice_id=invoice.id if invoice is not None and is_credited else None,
        client_id=invoice.client_id if invoice is not None and is_credited else None,
        asset=credit.asset,
        amount=from_stroops(credit.stroops),
        sender=credit.source,
        destination=credit.destination,
        muxed_id=credit.muxed_id,
        status=STATUS_OF[found.outcome],
        reason=found.reason,
        flags=sorted(found.flags),
        evidence=[asdict(rule) for rule in found.rules],
        version=1,
        created_at=scene.now,
        updated_at=scene.now,
    )
    values = {each.key: getattr(payment, each.key) for each in Payment.__mapper__.column_attrs}
    statement = upsert(Payment).values(values).on_conflict_do_nothing().returning(Payment.id)
    if db.session.execute(statement).scalar_one_or_none() is None:
        return None
    if is_credited:
        assert invoice is not None, found
        allocations = _book_credit(scene, payment, invoice, found)
    else:
        allocations = []
        if found.outcome is Outcome.UNMATCHED:
            _post(scene, "unmatched", payment, postings.unmatched_postings(
                wallet_id=payment.wallet_id, amount=payment.amount))  # fmt: skip
    _announce(scene, payment, allocations)
    return payment


def _book_credit(scene: _Scene, payment: Payment, invoice: Invoice, found: CreditVerdict) -> list[Allocation]:
    allocated, excess = from_stroops(found.allocated_stroops), from_stroops(found.excess_stroops)
    rounding = from_stroops(found.rounding_stroops)
    debtor = debtor_of(invoice)
    journal_id = _post(scene, "allocation", payment, postings.allocation_postings(
        wallet_id=payment.wallet_id, debtor_id=debtor, allocated=allocated, excess=excess))  # fmt: skip
    allocations = []
    if allocated > 0:
        allocations.append(_allocation(scene, payment, invoice, "payment", allocated, journal_id))
    if rounding > 0:
        journal_id = _post(scene, "short", payment, postings.short_postings(debtor_id=debtor, rest=rounding))
        allocations.append(_allocation(scene, payment, invoice, "rounding", rounding, journal_id))
    flags = tuple(flag for flag in found.flags if flag != "own_wallet")
    receive(
        invoice,
        amount=allocated + rounding,
        excess=excess,
        flags=("overpaid", *flags) if excess > 0 else flags,
        paid_at=scene.transaction.closed_at,
        now=scene.now,
    )
    return allocations


def _post(scene: _Scene, kind: str, payment: Payment, lines: list[postings.Posting]) -> UUID:
    return ledger.post(
        merchant_id=scene.merchant.id,
        network=scene.network,
        asset=payment.asset,
        kind=kind,
        reference_id=payment.id,
        postings=lines,
        at=scene.now,
    )


def _allocation(
    scene: _Scene, payment: Payment, invoice: Invoice, source: str, amount: Any, journal_id: UUID
) -> Allocation:
    values = {
        "id": new_id(),
        "merchant_id": scene.merchant.id,
        "network": scene.network,
        "invoice_id": invoice.id,
        "source": source,
        "source_id": payment.id,
        "amount": amount,
        "journal_id": journal_id,
        "created_at": scene.now,
    }
    db.session.execute(insert(Allocation), values)
    return Allocation(**values)


def _announce(scene: _Scene, payment: Payment, allocations: list[Allocation]) -> None:
    action = f"payment.{payment.status.lower()}"
    document = payment_document(payment, scene.transaction, allocations)
    events.record(
        action,
        merchant_id=scene.merchant.id,
        network=scene.network,
        aggregate_id=payment.id,
        version=payment.version,
        payload=document,
        at=scene.now,
    )
    audit.record(
        action,
        merchant_id=scene.merchant.id,
        object_ref=to_ref("pay", payment.id),
        after={"amount": document["amount"], "invoice": document["invoice"], "reason": payment.reason},
        at=scene.now,
    )


def _storable(value: Any) -> Any:
    """Replace NUL, which a memo may hold and PostgreSQL's text and jsonb may not."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_storable(key): _storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    return value
