"""An issuer takes its asset back: the payment that brought it is reversed, the original stays."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from portal.domain.audit import service as audit
from portal.domain.ledger import rules as postings
from portal.domain.merchants.models import Merchant
from portal.domain.payments.booking import Desk, live_allocations, unbook, unbook_fact
from portal.domain.payments.decisions import invoice_of, lock_accounts, lock_payment, parts_of, take_from
from portal.domain.payments.models import ChainTransaction, Clawback, Payment
from portal.domain.payments.settlement import Account, announce, policy_of, resettle, without
from portal.extensions import db
from portal.kernel.assets import NATIVE
from portal.kernel.chain import CLAWBACK, Debit, ObservedTransaction
from portal.kernel.money import from_stroops
from portal.kernel.refs import new_id


@dataclass(frozen=True, slots=True)
class _Held:
    """A locked payment, the transaction that brought it, and every invoice that it gave money to."""

    payment: Payment
    transaction: ChainTransaction
    accounts: dict[UUID, Account]


def touch(transaction: ObservedTransaction, wallet_ids: Mapping[str, UUID]) -> bool:
    """Say whether the transaction takes money back from one of these wallets."""
    return any(debit.kind == CLAWBACK and debit.source in wallet_ids for debit in transaction.debits)


def record(
    desk: Desk,
    *,
    transaction: ObservedTransaction,
    stored: ChainTransaction,
    wallet_ids: Mapping[str, UUID],
    merchant: Merchant,
) -> None:
    """Book every clawback of the transaction from this merchant's wallets, each once."""
    for index, debit in enumerate(transaction.debits):
        if debit.kind == CLAWBACK and debit.source in wallet_ids:
            _record(desk, index, debit, stored, wallet_ids[debit.source], merchant)


def catch_up(desk: Desk, *, payment: Payment, transaction: ChainTransaction, merchant: Merchant) -> None:
    """Undo a payment that is seen only now, when its clawback was seen before and booked as a loss."""
    if payment.asset == NATIVE or payment.reason == "self_payment":
        return
    statement = (
        select(Clawback, ChainTransaction)
        .join(ChainTransaction, ChainTransaction.id == Clawback.transaction_id)
        .where(
            Clawback.merchant_id == desk.merchant_id,
            Clawback.wallet_id == payment.wallet_id,
            Clawback.asset == payment.asset,
            Clawback.amount == payment.amount,
            Clawback.payment_id.is_(None),
            ChainTransaction.closed_at >= transaction.closed_at,
        )
        .order_by(Clawback.id)
        .limit(1)
        .with_for_update(of=Clawback, key_share=True)
    )
    row = db.session.execute(statement).one_or_none()
    if row is None:
        return
    clawback, stored = row
    unbook_fact(desk, clawback.id, ("clawback",))
    clawback.payment_id = payment.id
    db.session.flush()
    _reverse_payment(desk, _hold(desk, payment.id), merchant, stored)


def _record(
    desk: Desk, index: int, debit: Debit, stored: ChainTransaction, wallet_id: UUID, merchant: Merchant
) -> None:
    row = {
        "id": new_id(),
        "merchant_id": desk.merchant_id,
        "network": desk.network,
        "transaction_id": stored.id,
        "debit_index": index,
        "wallet_id": wallet_id,
        "payment_id": None,
        "asset": debit.asset,
        "amount": from_stroops(debit.stroops),
        "created_at": desk.now,
    }
    statement = upsert(Clawback).values(row).on_conflict_do_nothing().returning(Clawback.id)
    clawback_id = db.session.execute(statement).scalar_one_or_none()
    if clawback_id is None:
        return
    held = _hold_undone(desk, debit, stored, wallet_id)
    if held is not None:
        named = update(Clawback).where(Clawback.merchant_id == desk.merchant_id, Clawback.id == clawback_id)
        db.session.execute(named.values(payment_id=held.payment.id))
        _reverse_payment(desk, held, merchant, stored)
        return
    lines = postings.clawback_postings(wallet_id=wallet_id, amount=from_stroops(debit.stroops))
    desk.post("clawback", debit.asset, clawback_id, lines)
    audit.record(
        "wallet.clawed_back",
        merchant_id=desk.merchant_id,
        object_ref=debit.source,
        after={
            "asset": debit.asset,
            "amount": str(row["amount"]),
            "transaction_hash": stored.canonical_hash,
        },
        at=desk.now,
    )


def _hold_undone(desk: Desk, debit: Debit, stored: ChainTransaction, wallet_id: UUID) -> _Held | None:
    """Lock the payment that a clawback undoes; it is chosen anew when somebody decided about it meanwhile."""
    chosen = _undone_payment(desk, debit, stored, wallet_id)
    while chosen is not None:
        held = _hold(desk, chosen)
        # Now that it is locked: is it still the one, and did nobody give it to another invoice before?
        wanted, chosen = chosen, _undone_payment(desk, debit, stored, wallet_id)
        if chosen == wanted and _concerned(desk, wanted) <= held.accounts.keys():
            return held
    return None


def _undone_payment(desk: Desk, debit: Debit, stored: ChainTransaction, wallet_id: UUID) -> UUID | None:
    """Return the newest payment of just this amount; a clawback names an account, never a payment."""
    statement = (
        select(Payment.id)
        .join(ChainTransaction, ChainTransaction.id == Payment.transaction_id)
        .where(
            Payment.merchant_id == desk.merchant_id,
            Payment.network == desk.network,
            Payment.wallet_id == wallet_id,
            Payment.asset == debit.asset,
            Payment.amount == from_stroops(debit.stroops),
            Payment.status.in_(("CONFIRMED", "UNMATCHED", "IGNORED")),
            # What is promised to be sent back is still there to be taken.
            Payment.refunded == 0,
            # What paid itself was never booked.
            (Payment.reason.is_(None)) | (Payment.reason != "self_payment"),
            ChainTransaction.closed_at <= stored.closed_at,
        )
        .order_by(ChainTransaction.ledger.desc(), Payment.id.desc())
        .limit(1)
    )
    return db.session.scalar(statement)


def _hold(desk: Desk, payment_id: UUID) -> _Held:
    accounts = lock_accounts(desk, sorted(_concerned(desk, payment_id)))
    payment, transaction = lock_payment(desk, payment_id)
    return _Held(payment, transaction, accounts)


def _concerned(desk: Desk, payment_id: UUID) -> set[UUID]:
    """Return the invoices that a payment names, was given to, or pays."""
    payment = db.session.get_one(Payment, payment_id, populate_existing=True)
    found = {each.invoice_id for each in live_allocations(desk.merchant_id, source_id=payment_id)}
    found |= {invoice_of(part) for part in parts_of(payment)}
    return found if payment.invoice_id is None else found | {payment.invoice_id}


def _reverse_payment(desk: Desk, held: _Held, merchant: Merchant, stored: ChainTransaction) -> None:
    payment, accounts = held.payment, held.accounts
    policy = policy_of(merchant)
    if payment.decided_at is None and payment.status == "CONFIRMED":
        assert payment.invoice_id is not None, payment.id
        unbook(desk, payment, ("allocation", "short"))
        account, lost = without(accounts[payment.invoice_id], payment.id)
        resettle(desk, account, policy, lost, is_taken_back=True)
    else:
        unbook(desk, payment, ("credit_back", "match", "unmatched", "allocation"))
        moved = (payment.decision or {}).get("moved", ())
        take_from(desk, accounts, parts_of(payment), policy, moved, is_taken_back=True)
    payment.status, payment.reason = "REVERSED", CLAWBACK
    announce(
        desk,
        "payment.reversed",
        payment,
        held.transaction,
        detail={"transaction_hash": stored.canonical_hash},
    )
