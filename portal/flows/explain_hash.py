"""Why a transaction counts or not, for operators: over all merchants, recorded or judged anew without a trace."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select

from portal.adapters.chain import chain_source
from portal.db import release
from portal.domain.merchants import queries as merchants
from portal.domain.merchants.models import Wallet
from portal.domain.payments import queries, service
from portal.domain.payments.models import ChainTransaction, Clawback, Payment
from portal.domain.payments.rules import CreditVerdict, parse_hash
from portal.domain.payments.settlement import evidence_of
from portal.domain.refunds.documents import refund_document
from portal.domain.refunds.models import Refund
from portal.extensions import db
from portal.flows.explain_payment import ROWS_MAX, clawback_document, explain_payment
from portal.flows.rehearsal import rehearse
from portal.kernel.chain import CLAWBACK, ObservedTransaction
from portal.kernel.clock import iso
from portal.kernel.money import format_units, from_stroops
from portal.kernel.refs import to_ref, to_ref_or_none


def explain_hash(*, network: str, text: str, now: datetime) -> dict[str, Any]:
    """Return the JSON that explains the transaction with this hash, outer or inner.

    `recorded` says whether it is in the books; one that is not is looked up on the network and judged for every
    merchant whose wallet it touches, by the code that would record it. `found` is false for a hash that the
    network does not know.

    :raises HashMalformed: when `text` is no hash.
    :raises ChainUnavailable, ChainContradiction: when it is not recorded and the network gives no good answer.
    """
    transaction_hash = parse_hash(text.strip())
    stored = queries.find_transaction(network=network, transaction_hash=transaction_hash)
    answer: dict[str, Any] = {
        "object": "explanation",
        "network": network,
        "transaction_hash": transaction_hash,
        "recorded": stored is not None,
        "found": True,
        "payments": [],
        "refunds": _refunds(network, transaction_hash, stored),
        "clawbacks": [],
    }
    if stored is not None:
        return answer | {
            "canonical_hash": stored.canonical_hash,
            "payments": _payments(stored),
            "clawbacks": _clawbacks(stored),
        }
    release()
    found = chain_source().find_transaction(transaction_hash)
    if found is None:
        return answer | {"found": False}
    return answer | {
        "canonical_hash": found.canonical_hash,
        "ledger": found.ledger,
        "closed_at": iso(found.closed_at),
        "successful": found.successful,
        "memo_type": found.memo_type,
        "memo": found.memo,
        "verdicts": _verdicts(found, network, now),
    }


def _payments(stored: ChainTransaction) -> list[dict[str, Any]]:
    rows = db.session.execute(
        select(Payment.merchant_id, Payment.id)
        .where(Payment.transaction_id == stored.id)
        .order_by(Payment.operation_index, Payment.credit_index)
        .limit(ROWS_MAX)
    ).all()
    return [explain_payment(merchant_id=row.merchant_id, payment_id=row.id) for row in rows]


def _refunds(network: str, transaction_hash: str, stored: ChainTransaction | None) -> list[dict[str, Any]]:
    """Return refunds that this transaction is, or is said or expected to be."""
    is_expected = Refund.expected_hashes.contains([transaction_hash])
    is_it = or_(Refund.transaction_hash == transaction_hash, is_expected)
    if stored is not None:
        is_it = or_(is_it, Refund.transaction_id == stored.id)
    statement = select(Refund).where(Refund.network == network, is_it).order_by(Refund.id).limit(ROWS_MAX)
    return [
        {"merchant": to_ref("mer", each.merchant_id), **refund_document(each)}
        for each in db.session.scalars(statement)
    ]


def _clawbacks(stored: ChainTransaction) -> list[dict[str, Any]]:
    statement = select(Clawback).where(Clawback.transaction_id == stored.id).order_by(Clawback.debit_index)
    return [
        {"merchant": to_ref("mer", each.merchant_id), **clawback_document(each)}
        for each in db.session.scalars(statement.limit(ROWS_MAX))
    ]


def _verdicts(found: ObservedTransaction, network: str, now: datetime) -> list[dict[str, Any]]:
    touched = {credit.destination for credit in found.credits} | {debit.source for debit in found.debits}
    statement = select(Wallet.merchant_id).where(Wallet.network == network, Wallet.address.in_(touched))
    owners = sorted(set(db.session.scalars(statement)))
    release()
    return [_judged(merchant_id, found, network, now) for merchant_id in owners]


def _judged(merchant_id: UUID, found: ObservedTransaction, network: str, now: datetime) -> dict[str, Any]:
    def work() -> dict[str, Any]:
        recorded = service.record_transaction(
            merchant=merchants.get_merchant(merchant_id), network=network, transaction=found, now=now
        )
        verdict = recorded.verdict
        wallets = recorded.context.wallets
        return {
            "merchant": to_ref("mer", merchant_id),
            "recorded": False,
            "transaction_ok": verdict.transaction_ok,
            "reason": verdict.reason,
            "rules": evidence_of(verdict.rules),
            "credits": [_credit(each) for each in verdict.credits],
            "clawbacks": [
                {"from": each.source, "asset": each.asset, "amount": format_units(from_stroops(each.stroops))}
                for each in found.debits
                if each.kind == CLAWBACK and each.source in wallets
            ],
        }

    return rehearse(work)


def _credit(found: CreditVerdict) -> dict[str, Any]:
    credit = found.credit
    return {
        "operation_index": credit.operation_index,
        "credit_index": credit.credit_index,
        "kind": credit.kind,
        "from": credit.source,
        "to": credit.destination,
        "muxed_id": None if credit.muxed_id is None else str(credit.muxed_id),
        "asset": credit.asset,
        "amount": format_units(from_stroops(credit.stroops)),
        "outcome": found.outcome.value,
        "reason": found.reason,
        "invoice": to_ref_or_none("inv", found.invoice_id),
        "allocated": format_units(from_stroops(found.allocated_stroops)),
        "excess": format_units(from_stroops(found.excess_stroops)),
        "rounding": format_units(from_stroops(found.rounding_stroops)),
        "flags": sorted(found.flags),
        "rules": evidence_of(found.rules),
    }
