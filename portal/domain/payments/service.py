"""Records what a transaction brought one merchant: chain facts, payments, allocations, journals, events.

Whoever reports a transaction (pasted hash, API, watcher) it comes through `record_transaction`, so the
same facts get the same verdict; the unique key of `payments` alone decides whether a credit is new.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert

from portal.domain.invoices import queries as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.ledger import rules as postings
from portal.domain.merchants import queries as merchants
from portal.domain.merchants.models import Merchant
from portal.domain.payments import clawbacks, queries
from portal.domain.payments.booking import Desk
from portal.domain.payments.models import Allocation, ChainTransaction, ChainTransactionHash, Payment
from portal.domain.payments.rules import (
    Context,
    CreditVerdict,
    Outcome,
    Verdict,
    candidate_references,
    is_late,
    judge,
)
from portal.domain.payments.settlement import (
    Account,
    Ledgered,
    accounts_of,
    announce,
    apply_settled,
    evidence_of,
    place_in_chain,
    policy_of,
)
from portal.domain.payments.settling import Arrival
from portal.extensions import db
from portal.kernel.chain import ObservedTransaction
from portal.kernel.money import ZERO, from_stroops, to_stroops
from portal.kernel.refs import new_id

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

    desk: Desk
    merchant: Merchant
    transaction: ChainTransaction
    wallet_ids: dict[str, UUID]
    invoices: dict[UUID, Invoice]


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
    taken in the order chain hashes, invoices by id, payments, accounts by id. A failed transaction consumes
    nothing. What an issuer clawed back from a wallet undoes the payment that brought it.
    """
    desk = Desk(merchant.id, network, now)
    wallet_ids = merchants.wallet_ids(merchant.id, network)
    reaches = any(credit.destination in wallet_ids for credit in transaction.credits)
    takes = clawbacks.touch(transaction, wallet_ids)
    stored = None
    if transaction.successful and (reaches or takes):
        stored = store_transaction(network, transaction, now)
    locked = invoices.list_for_update_by_pay_ref(
        merchant_id=merchant.id,
        network=network,
        pay_refs=sorted(candidate_references(transaction)),
        also=invoice_id,
    )
    known = [] if stored is None else queries.list_recorded(merchant_id=merchant.id, transaction_id=stored.id)
    accounts = accounts_of(merchant_id=merchant.id, invoices=locked, arriving_in=transaction.ledger)
    context = Context(
        wallets=frozenset(wallet_ids),
        invoices=tuple(account.facts for account in accounts.values()),
        policy=policy_of(merchant),
        recorded=frozenset((payment.operation_index, payment.credit_index) for payment in known),
    )
    verdict = judge(transaction, context)
    new: list[Payment] = []
    if stored is not None:
        by_id = {invoice.id: invoice for invoice in locked}
        new = _record_credits(_Scene(desk, merchant, stored, wallet_ids, by_id), verdict, accounts)
        if takes:
            clawbacks.record(
                desk, transaction=transaction, stored=stored, wallet_ids=wallet_ids, merchant=merchant
            )
    ordered = sorted([*known, *new], key=lambda payment: (payment.operation_index, payment.credit_index))
    return Recorded(verdict, context, tuple(ordered), frozenset(payment.id for payment in new))


def store_transaction(network: str, transaction: ObservedTransaction, now: datetime) -> ChainTransaction:
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


def _record_credits(scene: _Scene, verdict: Verdict, accounts: dict[UUID, Account]) -> list[Payment]:
    """Write the new credits with everything that follows from them."""
    desk = scene.desk
    new: list[Payment] = []
    arrived: dict[UUID, list[Ledgered]] = {}
    for found in verdict.credits:
        payment = None if found.outcome is Outcome.ALREADY else _insert_payment(scene, found)
        if payment is None:
            # A credit of an invoice cannot be lost to somebody else here: the invoice is locked.
            assert found.outcome is not Outcome.CREDITED, found
            continue
        new.append(payment)
        if payment.invoice_id is not None:
            ledgered = _ledgered(scene, payment, accounts[payment.invoice_id])
            arrived.setdefault(payment.invoice_id, []).append(ledgered)
        elif found.outcome is Outcome.UNMATCHED:
            lines = postings.unmatched_postings(wallet_id=payment.wallet_id, amount=payment.amount)
            desk.post("unmatched", payment.asset, payment.id, lines)
    allocations: dict[UUID, list[Allocation]] = {}
    for invoice_id in sorted(arrived):
        settled = verdict.settled[invoice_id]
        allocations |= apply_settled(desk, accounts[invoice_id], settled, arrived[invoice_id])
    for payment in new:
        event_type = f"payment.{payment.status.lower()}"
        announce(desk, event_type, payment, scene.transaction, allocations=allocations.get(payment.id, []))
    for payment in new:
        clawbacks.catch_up(desk, payment=payment, transaction=scene.transaction, merchant=scene.merchant)
    return new


def _ledgered(scene: _Scene, payment: Payment, account: Account) -> Ledgered:
    transaction = scene.transaction
    arrival = Arrival(
        place_in_chain(payment, transaction),
        to_stroops(payment.amount),
        transaction.closed_at,
        is_late(account.invoice.expires_at, transaction.closed_at),
    )
    return Ledgered(payment, arrival, transaction)


def _insert_payment(scene: _Scene, found: CreditVerdict) -> Payment | None:
    """Write one credit; None when another transaction wrote it first."""
    credit, desk = found.credit, scene.desk
    is_credited = found.outcome is Outcome.CREDITED
    invoice = scene.invoices[found.invoice_id] if is_credited and found.invoice_id is not None else None
    payment = Payment(
        id=new_id(),
        merchant_id=desk.merchant_id,
        network=desk.network,
        transaction_id=scene.transaction.id,
        operation_index=credit.operation_index,
        credit_index=credit.credit_index,
        wallet_id=scene.wallet_ids[credit.destination],
        invoice_id=None if invoice is None else invoice.id,
        client_id=None if invoice is None else invoice.client_id,
        asset=credit.asset,
        amount=from_stroops(credit.stroops),
        sender=credit.source,
        destination=credit.destination,
        muxed_id=credit.muxed_id,
        status=STATUS_OF[found.outcome],
        reason=found.reason,
        flags=sorted(found.flags),
        evidence=evidence_of(found.rules),
        refunded=ZERO,
        refund_reserved=ZERO,
        version=1,
        created_at=desk.now,
        updated_at=desk.now,
    )
    values = {each.key: getattr(payment, each.key) for each in Payment.__mapper__.column_attrs}
    statement = upsert(Payment).values(values).on_conflict_do_nothing().returning(Payment.id)
    return None if db.session.execute(statement).scalar_one_or_none() is None else payment


def _storable(value: Any) -> Any:
    """Replace NUL, which a memo may hold and PostgreSQL's text and jsonb may not."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_storable(key): _storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    return value
