"""Why a payment counts or not, whole: rules with the fields that answered them, decisions, books and raw evidence.

The page's download and the operator's command say the same; refs and strings only, no internal id.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select

from portal.db import tenant
from portal.domain.clients.models import Client
from portal.domain.invoices.models import Invoice
from portal.domain.ledger.models import LedgerAccount, LedgerEntry, LedgerJournal
from portal.domain.merchants.models import Wallet
from portal.domain.payments import queries
from portal.domain.payments.documents import payment_document
from portal.domain.payments.evidence import Evidence
from portal.domain.payments.figures import Whereabouts, whereabouts
from portal.domain.payments.history import history_of
from portal.domain.payments.models import ChainTransaction, ChainTransactionHash, Clawback, Payment
from portal.domain.refunds.documents import refund_document
from portal.domain.refunds.models import Refund
from portal.extensions import db
from portal.kernel.clock import iso, iso_or_none
from portal.kernel.money import format_units, from_stroops
from portal.kernel.refs import to_ref, to_ref_or_none

# A transaction has 100 operations at most, and a payment is decided about a few times.
ROWS_MAX = 1_000


def explain_payment(*, merchant_id: UUID, payment_id: UUID) -> dict[str, Any]:
    """Return everything that says why this payment counts or not.

    :raises PaymentNotFound: for another merchant's.
    """
    seen = queries.get(merchant_id=merchant_id, payment_id=payment_id)
    payment, transaction = seen.payment, seen.transaction
    allocations = queries.allocations_of(merchant_id=merchant_id, payment_id=payment_id)
    refunds = _rows(Refund, merchant_id, Refund.payment_id == payment_id)
    clawbacks = _rows(Clawback, merchant_id, Clawback.payment_id == payment_id)
    evidence = Evidence(payment, transaction)
    references = [payment.id, *(each.id for each in (*refunds, *clawbacks))]
    return {
        **payment_document(payment, transaction, allocations),
        "recorded": True,
        "merchant": to_ref("mer", merchant_id),
        "rules": [_rule(rule, evidence) for rule in payment.evidence],
        "decision": decision_document(payment),
        "settlement": settlement_document(payment, whereabouts(payment, allocations)),
        "journals": _journals(merchant_id, references),
        "refunds": [refund_document(each) for each in refunds],
        "clawbacks": [clawback_document(each) for each in clawbacks],
        "history": [
            {"type": each.type, "at": iso(each.at), "actor": each.actor}
            for each in history_of(merchant_id=merchant_id, payment_id=payment_id)
        ],
        "transaction": _transaction(transaction),
    }


def decision_document(payment: Payment) -> dict[str, Any] | None:
    """Return what a person decided about the payment, amounts as the API says them."""
    decision = payment.decision
    if decision is None:
        return None
    parts = [
        {
            "invoice": part["invoice"],
            "allocated": format_units(from_stroops(part["allocated_stroops"])),
            "excess": format_units(from_stroops(part["excess_stroops"])),
        }
        for part in decision.get("parts", ())
    ]
    return {
        "action": decision["action"],
        "note": decision.get("note", ""),
        "reason": decision.get("reason"),
        "parts": parts,
        "refund": decision.get("refund"),
        "moved_to_credit": list(decision.get("moved", ())),
        "decided_at": iso_or_none(payment.decided_at),
    }


def settlement_document(payment: Payment, placed: Whereabouts) -> dict[str, Any]:
    """Return the arithmetic by which every stroop of the payment is somewhere."""
    return {
        "received": format_units(payment.amount),
        "allocated": format_units(placed.allocated),
        "excess_to_credit": format_units(placed.credit),
        "unmatched": format_units(placed.unmatched),
        "taken_back": format_units(placed.taken_back),
        "not_booked": format_units(placed.unbooked),
        "rounding": format_units(placed.forgiven),
        "refunded": format_units(payment.refunded),
        "refund_reserved": format_units(payment.refund_reserved),
    }


def clawback_document(clawback: Clawback) -> dict[str, Any]:
    return {
        "object": "clawback",
        "payment": to_ref_or_none("pay", clawback.payment_id),
        "debit_index": clawback.debit_index,
        "asset": clawback.asset,
        "amount": format_units(clawback.amount),
        "created_at": iso(clawback.created_at),
    }


def _rule(rule: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    fields = [{"name": each.name, "value": each.value} for each in evidence.fields(rule["code"])]
    return {**rule, "fields": fields}


def _transaction(transaction: ChainTransaction) -> dict[str, Any]:
    hashes = select(ChainTransactionHash.hash).where(ChainTransactionHash.transaction_id == transaction.id)
    memo_bytes = transaction.memo_bytes
    return {
        "hash": transaction.canonical_hash,
        "hashes": sorted(db.session.scalars(hashes)),
        "ledger": transaction.ledger,
        "closed_at": iso(transaction.closed_at),
        "source_account": transaction.source_account,
        "memo_type": transaction.memo_type,
        "memo": transaction.memo,
        "memo_bytes": None if memo_bytes is None else base64.b64encode(memo_bytes).decode(),
        "envelope_xdr": transaction.envelope_xdr,
        "raw": transaction.raw,
    }


def _rows(model: Any, merchant_id: UUID, condition: Any) -> Sequence[Any]:
    return db.session.scalars(
        tenant(model, merchant_id).where(condition).order_by(model.id).limit(ROWS_MAX)
    ).all()


def _journals(merchant_id: UUID, references: Iterable[UUID]) -> list[dict[str, Any]]:
    rows = db.session.execute(
        select(LedgerJournal, LedgerEntry, LedgerAccount)
        .join(LedgerEntry, LedgerEntry.journal_id == LedgerJournal.id)
        .join(LedgerAccount, LedgerAccount.id == LedgerEntry.account_id)
        .where(LedgerJournal.merchant_id == merchant_id, LedgerJournal.reference_id.in_(list(references)))
        .order_by(LedgerJournal.id, LedgerEntry.id)
        .limit(ROWS_MAX)
    ).all()
    owners = _owners(merchant_id, {row[2].owner_id for row in rows if row[2].owner_id is not None})
    journals: dict[UUID, dict[str, Any]] = {}
    for journal, entry, account in rows:
        document = journals.setdefault(
            journal.id,
            {
                "id": to_ref("jrn", journal.id),
                "kind": journal.kind,
                "occurred_at": iso(journal.occurred_at),
                "reverses": to_ref_or_none("jrn", journal.reverses_id),
                "entries": [],
            },
        )
        document["entries"].append(
            {
                "account": account.kind,
                "owner": owners.get(account.owner_id),
                "side": entry.side,
                "asset": entry.asset,
                "amount": format_units(entry.amount),
            }
        )
    return list(journals.values())


def _owners(merchant_id: UUID, ids: set[UUID]) -> dict[UUID | None, str]:
    """Return what the owners of accounts are called outside: a wallet's address, a client's or an invoice's ref."""
    names: dict[UUID | None, str] = {}
    wallets = select(Wallet.id, Wallet.address).where(Wallet.merchant_id == merchant_id, Wallet.id.in_(ids))
    names |= {row.id: row.address for row in db.session.execute(wallets)}
    clients = select(Client.id).where(Client.merchant_id == merchant_id, Client.id.in_(ids))
    names |= {each: to_ref("cli", each) for each in db.session.scalars(clients)}
    invoices = select(Invoice.id).where(Invoice.merchant_id == merchant_id, Invoice.id.in_(ids))
    return names | {each: to_ref("inv", each) for each in db.session.scalars(invoices)}
