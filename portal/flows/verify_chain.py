"""Payments, refunds and clawbacks against the transactions that brought them, read and judged once more.

A stored transaction goes the way it came: its JSON is compared with its signed envelope, its operations are
read, its credits are judged by `payments.rules`. What may have changed since (policies, an invoice's status) is
taken as it was when the payment was recorded. An account_merge says its amount in an effect that is not stored:
there the payment's own amount counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from portal.adapters.horizon_envelope import read_envelope
from portal.adapters.horizon_records import observe, read_transaction
from portal.domain.payments.rules import (
    Context,
    CreditVerdict,
    InvoiceFacts,
    MerchantPolicy,
    Outcome,
    candidate_references,
    judge,
)
from portal.extensions import db
from portal.flows.differences import Corrections, Difference, Stray, units
from portal.kernel.chain import CLAWBACK, ChainContradiction, ObservedTransaction
from portal.kernel.money import from_stroops, to_stroops
from portal.kernel.refs import to_ref

# Raw SQL: pages of joined rows, read once and left alone; entities would be kept and tracked.
PAYMENTS = text(
    """
    SELECT p.id, p.merchant_id, p.network, p.transaction_id, p.operation_index, p.credit_index, p.wallet_id,
        p.invoice_id, p.asset, p.amount, p.sender, p.destination, p.status, p.reason, p.decision, p.created_at
    FROM payments p
    WHERE p.merchant_id = :merchant_id AND p.id > :after
    ORDER BY p.id
    LIMIT :limit
    """
)
_TRANSACTIONS = text("SELECT * FROM chain_transactions WHERE id = ANY(:ids)")
# A transaction's credits may lie on both sides of a page.
_SIBLINGS = text(
    """
    SELECT transaction_id, operation_index, credit_index, destination, amount
    FROM payments
    WHERE merchant_id = :merchant_id AND transaction_id = ANY(:ids)
    """
)
_INVOICES = text(
    """
    SELECT id, pay_ref, status, asset, amount, destination, issued_at, expires_at, closed_at
    FROM invoices
    WHERE merchant_id = :merchant_id AND network = :network AND pay_ref = ANY(:numbers)
    """
)
_WALLETS = text("SELECT id, network, address, proven_at FROM wallets WHERE merchant_id = :merchant_id")
_OUTGOING = text(
    """
    SELECT * FROM (
        SELECT f.id, 'rfd' AS prefix, f.transaction_id, f.operation_index, f.source, f.destination, f.asset, f.amount
        FROM refunds f
        WHERE f.merchant_id = :merchant_id AND f.status = 'COMPLETED'
        UNION ALL
        SELECT k.id, NULL, k.transaction_id, k.debit_index, w.address, NULL, k.asset, k.amount
        FROM clawbacks k
        JOIN wallets w ON w.id = k.wallet_id
        WHERE k.merchant_id = :merchant_id
    ) AS outgoing
    WHERE id > :after
    ORDER BY id
    LIMIT :limit
    """
)

# A watcher's round bears the moment of its beginning, and what happens meanwhile is later than its bookings.
CLOCK_GRACE = timedelta(minutes=10)


class Unreadable(Exception):
    """The stored record has no envelope that anybody can read, so it proves nothing."""


@dataclass(frozen=True, slots=True)
class Wallets:
    """A merchant's wallets with the moment each was proven."""

    proven: Mapping[tuple[str, str], datetime]

    def of(self, network: str) -> frozenset[str]:
        return frozenset(address for known, address in self.proven if known == network)


def wallets_of(merchant_id: UUID) -> Wallets:
    rows = db.session.execute(_WALLETS, {"merchant_id": merchant_id})
    return Wallets({(row.network, row.address): row.proven_at for row in rows})


def check_payments(
    merchant_id: UUID,
    rows: Sequence[Any],
    wallets: Wallets,
    passphrases: Mapping[str, str],
    found: Corrections,
) -> tuple[list[Difference], int]:
    """Return the differences of a page of payments and how many could not be read; `found` is added to."""
    by_transaction: dict[UUID, list[Any]] = {}
    for row in rows:
        by_transaction.setdefault(row.transaction_id, []).append(row)
    ids = list(by_transaction)
    stored = {row.id: row for row in db.session.execute(_TRANSACTIONS, {"ids": ids})}
    siblings: dict[UUID, list[Any]] = {}
    for row in db.session.execute(_SIBLINGS, {"merchant_id": merchant_id, "ids": ids}):
        siblings.setdefault(row.transaction_id, []).append(row)
    differences: list[Difference] = []
    unread = 0
    for transaction_id, payments in by_transaction.items():
        record = stored[transaction_id]
        try:
            seen = read_stored(record, siblings[transaction_id], wallets.of(record.network), passphrases)
        except Unreadable:
            unread += len(payments)
            continue
        except ChainContradiction as contradiction:
            differences.append(
                Difference(_name(payments[0]), "chain record", "contradicts its envelope", str(contradiction))
            )
            continue
        differences += _check_facts(record, seen, _name(payments[0]))
        differences += _check_credits(seen, payments, siblings[transaction_id], wallets, found)
        differences += _check_verdicts(merchant_id, seen, payments, wallets, found)
    return differences, unread


def check_outgoing(
    merchant_id: UUID, after: UUID, limit: int, passphrases: Mapping[str, str]
) -> tuple[Sequence[Any], list[Difference]]:
    """Return a page of completed refunds and clawbacks with those that the chain shows otherwise."""
    rows = db.session.execute(_OUTGOING, {"merchant_id": merchant_id, "after": after, "limit": limit}).all()
    ids = [row.transaction_id for row in rows]
    stored = {row.id: row for row in db.session.execute(_TRANSACTIONS, {"ids": ids})} if ids else {}
    differences = []
    for row in rows:
        record = stored[row.transaction_id]
        try:
            seen = read_stored(record, (), frozenset(), passphrases)
        except (Unreadable, ChainContradiction):
            continue
        # A clawback is known by its debit's place in the transaction.
        taken = [
            debit.stroops
            for place, debit in enumerate(seen.debits)
            if (place, debit.source, debit.asset) == (row.operation_index, row.source, row.asset)
            and debit.kind == CLAWBACK
        ]
        received = [
            credit.stroops
            for credit in seen.credits
            if (credit.operation_index, credit.destination, credit.asset)
            == (row.operation_index, row.destination, row.asset)
        ]
        derived = sum(received if row.prefix is not None else taken)
        if to_stroops(row.amount) != derived:
            name = to_ref(row.prefix, row.id) if row.prefix else record.canonical_hash
            differences.append(Difference(name, "amount", units(row.amount), units(from_stroops(derived))))
    return rows, differences


def read_stored(
    record: Any, payments: Sequence[Any], wallets: AbstractSet[str], passphrases: Mapping[str, str]
) -> ObservedTransaction:
    """Return a stored transaction as it would be observed today.

    :raises Unreadable: when it has no envelope to compare with.
    :raises ChainContradiction: when it does not agree with its envelope.
    """
    raw = record.raw
    passphrase = passphrases.get(record.network)
    try:
        if passphrase is None:
            raise Unreadable
        read_envelope(raw.get("envelope_xdr"), passphrase)
    except ChainContradiction as garbage:
        raise Unreadable from garbage
    operations = raw.get("operations")
    if not isinstance(operations, list):
        raise ChainContradiction("the operations are missing")
    places = {
        operation.get("id"): index
        for index, operation in enumerate(operations)
        if isinstance(operation, dict)
    }
    amounts = {(each.operation_index, each.destination): to_stroops(each.amount) for each in payments}

    def merged(operation_id: str, address: str) -> int:
        # To anybody else it matters only that something went.
        return amounts.get((places[operation_id], address), 0) if address in wallets else 1

    checked, envelope = read_transaction(
        {key: value for key, value in raw.items() if key != "operations"}, passphrase
    )
    return observe(checked, envelope, operations if checked["successful"] else (), merged)


def _check_facts(record: Any, seen: ObservedTransaction, ref: str) -> Iterator[Difference]:
    for figure, stored, derived in (
        ("transaction", record.canonical_hash, seen.canonical_hash),
        ("ledger", record.ledger, seen.ledger),
        ("closed_at", record.closed_at, seen.closed_at),
        ("successful", True, seen.successful),
    ):
        if stored != derived:
            yield Difference(ref, figure, str(stored), str(derived))


def _check_credits(
    seen: ObservedTransaction,
    payments: Sequence[Any],
    siblings: Sequence[Any],
    wallets: Wallets,
    found: Corrections,
) -> Iterator[Difference]:
    """Compare each credit with its row, and look for credits without one."""
    credits = {(credit.operation_index, credit.credit_index): credit for credit in seen.credits}
    recorded = {(each.operation_index, each.credit_index) for each in siblings}
    network = payments[0].network
    for payment in payments:
        credit = credits.get((payment.operation_index, payment.credit_index))
        if credit is None:
            _correct(payment, 0, found)
            yield Difference(_name(payment), "credit", units(payment.amount), "none")
            continue
        if to_stroops(payment.amount) != credit.stroops:
            _correct(payment, credit.stroops, found)
            yield Difference(
                _name(payment), "amount", units(payment.amount), units(from_stroops(credit.stroops))
            )
        for figure in ("asset", "destination"):
            if getattr(payment, figure) != getattr(credit, figure):
                yield Difference(_name(payment), figure, getattr(payment, figure), getattr(credit, figure))
        if payment.sender != credit.source:
            yield Difference(_name(payment), "sender", payment.sender, credit.source)
    for place, credit in credits.items():
        proven_at = wallets.proven.get((network, credit.destination))
        if place not in recorded and proven_at is not None and proven_at <= seen.closed_at:
            said = f"{units(from_stroops(credit.stroops))} {credit.asset}"
            yield Difference(seen.canonical_hash, f"credit {place[0]}.{place[1]}", "none", said)


def _correct(payment: Any, stroops: int, found: Corrections) -> None:
    """Let everything behind this payment be derived from the chain's amount."""
    found.stroops[payment.id] = stroops
    change = from_stroops(stroops) - payment.amount
    for kind, part in _holdings(payment.status, payment.reason).items():
        _move(payment, kind, part * change, found)


def _holdings(outcome: str, reason: str | None) -> dict[str, int]:
    """Return which accounts hold a payment of this outcome, and on which side; what paid itself is not booked."""
    if outcome == "REVERSED" or reason == "self_payment":
        return {"wallet": 0, "suspense": 0}
    return {"wallet": 1, "suspense": 0 if outcome in {"CONFIRMED", "CREDITED"} else -1}


def _move(payment: Any, kind: str, amount: Decimal, found: Corrections) -> None:
    owner = payment.wallet_id if kind == "wallet" else None
    found.move((payment.network, payment.asset, kind, owner), amount)


def _check_verdicts(
    merchant_id: UUID,
    seen: ObservedTransaction,
    payments: Sequence[Any],
    wallets: Wallets,
    found: Corrections,
) -> Iterator[Difference]:
    """Judge the transaction once more and compare what was recorded before people decided."""
    network = payments[0].network
    numbers = sorted(candidate_references(seen))
    rows = db.session.execute(
        _INVOICES, {"merchant_id": merchant_id, "network": network, "numbers": numbers}
    ).all()
    for payment in payments:
        reason = _recorded(payment)[1]
        context = Context(
            wallets=wallets.of(network),
            invoices=tuple(
                _facts(row, payment.created_at, reason)
                for row in rows
                if row.issued_at <= payment.created_at + CLOCK_GRACE
            ),
            policy=MerchantPolicy(accept_late=reason != "late"),
        )
        place = (payment.operation_index, payment.credit_index)
        for verdict in judge(seen, context).credits:
            if (verdict.credit.operation_index, verdict.credit.credit_index) == place:
                yield from _compare(payment, verdict, seen, found)


def _compare(
    payment: Any, verdict: CreditVerdict, seen: ObservedTransaction, found: Corrections
) -> Iterator[Difference]:
    recorded = _recorded(payment)
    invoice_id = verdict.invoice_id if verdict.outcome is Outcome.CREDITED else None
    derived = (verdict.outcome.value, verdict.reason, invoice_id)
    # A clawback wrote its own reason over the rules'; what is left tells whether it paid an invoice.
    is_overwritten = payment.status == "REVERSED" and payment.decision is None
    if recorded == derived or (is_overwritten and recorded[2] == invoice_id):
        return
    if payment.decision is None and payment.status != "REVERSED":
        if payment.status == "CONFIRMED":
            found.refused.add(payment.id)
        if invoice_id is not None:
            place = (seen.ledger, seen.canonical_hash, payment.operation_index, payment.credit_index)
            stray = Stray(place, verdict.credit.stroops, seen.closed_at)
            found.strays.setdefault(invoice_id, []).append(stray)
        before, after = _holdings(*recorded[:2]), _holdings(*derived[:2])
        for kind, part in after.items():
            _move(payment, kind, (part - before[kind]) * payment.amount, found)
    yield Difference(_name(payment), "verdict", _said(*recorded), _said(*derived))


def _recorded(payment: Any) -> tuple[str, str | None, UUID | None]:
    """Return (outcome, reason, invoice) as the rules found it, before any person decided."""
    decision = payment.decision
    if decision is not None and decision["action"] != "credit":
        return "UNMATCHED", decision["reason"], None
    if payment.invoice_id is not None:
        return "CREDITED", None, payment.invoice_id
    return payment.status, payment.reason, None


def _facts(row: Any, at: datetime, reason: str | None) -> InvoiceFacts:
    """Return an invoice as it was at a moment; where two clocks cannot tell, `reason` says whether it was open."""
    was_cancelled = row.status == "CANCELLED" and row.closed_at <= at - CLOCK_GRACE
    if row.status == "CANCELLED" and abs(row.closed_at - at) < CLOCK_GRACE:
        was_cancelled = reason == "invoice_cancelled"
    return InvoiceFacts(
        id=row.id,
        pay_ref=row.pay_ref,
        status="CANCELLED" if was_cancelled else "PENDING",
        asset=row.asset,
        amount_stroops=to_stroops(row.amount),
        received_stroops=0,
        destination=row.destination,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
    )


def _said(outcome: str, reason: str | None, invoice_id: UUID | None) -> str:
    about = reason or (to_ref("inv", invoice_id) if invoice_id is not None else "")
    return f"{outcome} {about}".strip()


def _name(payment: Any) -> str:
    return to_ref("pay", payment.id)
