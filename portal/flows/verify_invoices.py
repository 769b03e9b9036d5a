"""Invoices derived once more: the credits that name them in the order of the chain, and what people decided."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from portal.domain.payments.rules import is_late
from portal.domain.payments.settling import Arrival, Settled, flags_of, share_out, tolerance_for
from portal.flows.differences import Corrections, Difference, units
from portal.flows.invariants_books import STANDING, id_of
from portal.kernel.money import from_stroops, settlement_for, to_stroops
from portal.kernel.refs import to_ref

MONEY_FLAGS = frozenset({"late", "short", "duplicate", "overpaid", "reversed"})

# Raw SQL: one statement a page and so one moment, whatever happens to the invoices meanwhile. Money that people
# gave comes from their decisions (parts of a match, cash that stands, credit that was applied), never from sums.
INVOICES = text(
    f"""
    WITH page AS (
        SELECT * FROM invoices WHERE merchant_id = :merchant_id AND id > :after ORDER BY id LIMIT :limit
    ), parts AS (
        SELECT {id_of("part ->> 'invoice'")} AS invoice_id,
            sum((part ->> 'allocated_stroops')::bigint)
                FILTER (WHERE NOT coalesce(p.decision -> 'moved', '[]') ? (part ->> 'invoice')) AS allocated,
            sum((part ->> 'excess_stroops')::bigint) AS excess
        FROM payments p
        CROSS JOIN LATERAL jsonb_array_elements(p.decision -> 'parts') AS part
        WHERE p.merchant_id = :merchant_id AND p.decision IS NOT NULL
            AND p.status = 'CONFIRMED' AND p.decision ->> 'action' = 'match'
        GROUP BY 1
    )
    SELECT i.id, i.network, i.status, i.asset, i.amount, i.amount_received, i.overpaid_by, i.withheld, i.flags, i.client_id,
        i.issued_at, i.expires_at, i.paid_at, i.closed_at,
        coalesce(parts.allocated, 0) AS part_stroops, coalesce(parts.excess, 0) AS part_excess_stroops,
        given.*, credits.*, announced.settlement AS announced,
        (
            SELECT coalesce(sum(x.amount), 0)
            FROM external_payments x
            WHERE x.merchant_id = i.merchant_id AND x.invoice_id = i.id AND EXISTS (
                SELECT FROM ledger_journals j
                WHERE j.merchant_id = x.merchant_id AND j.reference_id = x.id AND j.kind = 'external' AND {STANDING}
            )
        ) AS external,
        (
            SELECT coalesce(sum(CASE e.side WHEN 'CREDIT' THEN e.amount ELSE -e.amount END), 0)
            FROM (SELECT DISTINCT journal_id FROM allocations WHERE invoice_id = i.id) AS g
            JOIN ledger_entries e ON e.journal_id = g.journal_id
            JOIN ledger_accounts a ON a.id = e.account_id AND a.kind = 'receivable'
        ) AS booked
    FROM page i
    LEFT JOIN parts ON parts.invoice_id = i.id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(g.amount), 0) AS allocated,
            coalesce(sum(g.amount) FILTER (WHERE g.source = 'rounding'), 0) AS rounding,
            coalesce(sum(g.amount) FILTER (WHERE g.source = 'client_credit'), 0) AS credit,
            count(g.reverses_id) > 0 AS lost_some
        FROM allocations g
        WHERE g.invoice_id = i.id
    ) AS given
    CROSS JOIN LATERAL (
        SELECT array_agg(p.id ORDER BY p.id) AS payment_ids, array_agg(p.amount ORDER BY p.id) AS amounts,
            array_agg(t.closed_at ORDER BY p.id) AS closed_ats, array_agg(t.ledger ORDER BY p.id) AS ledgers,
            array_agg(t.canonical_hash ORDER BY p.id) AS hashes,
            array_agg(p.operation_index ORDER BY p.id) AS operation_indexes,
            array_agg(p.credit_index ORDER BY p.id) AS credit_indexes
        FROM payments p
        JOIN chain_transactions t ON t.id = p.transaction_id
        WHERE p.merchant_id = i.merchant_id AND p.invoice_id = i.id AND p.status = 'CONFIRMED'
            AND p.decision IS NULL
    ) AS credits
    LEFT JOIN LATERAL (
        SELECT e.payload ->> 'settlement' AS settlement
        FROM events e
        WHERE e.aggregate_id = i.id
        ORDER BY e.version DESC
        LIMIT 1
    ) AS announced ON true
    ORDER BY i.id
    """  # noqa: S608  every part is written here
)


@dataclass(frozen=True, slots=True)
class Derived:
    """What an invoice should say, in units of its asset."""

    status: str
    received: Decimal
    overpaid: Decimal
    rounding: Decimal
    flags: frozenset[str]
    paid_at: datetime | None
    """None where the chain does not say when."""


def check_invoice(row: Any, found: Corrections) -> Iterator[Difference]:
    """Yield what an invoice's row says otherwise than its facts; `found` gets what its accounts lack by that."""
    ref = to_ref("inv", row.id)
    derived = derive(row, found)
    if row.amount_received != derived.received:
        yield Difference(ref, "amount_received", units(row.amount_received), units(derived.received))
    if row.allocated != derived.received:
        yield Difference(ref, "allocations", units(row.allocated), units(derived.received))
    if row.booked != row.allocated:
        yield Difference(ref, "allocated", units(row.allocated), units(row.booked))
    if row.overpaid_by != derived.overpaid:
        yield Difference(ref, "overpaid_by", units(row.overpaid_by), units(derived.overpaid))
    if row.status != derived.status:
        yield Difference(ref, "status", row.status, derived.status)
    settlement = settlement_for(
        due=row.amount, received=derived.received, overpaid=derived.overpaid > 0
    ).value
    if row.announced != settlement:
        yield Difference(ref, "settlement", str(row.announced), settlement)
    flags = MONEY_FLAGS & {*row.flags}
    if flags != derived.flags:
        yield Difference(ref, "flags", _listed(flags), _listed(derived.flags))
    if derived.paid_at is not None and row.paid_at != derived.paid_at:
        yield Difference(ref, "paid_at", str(row.paid_at), str(derived.paid_at))
    stored = Derived(row.status, row.amount_received, row.overpaid_by, row.rounding, flags, row.paid_at)
    before = _balances(row, stored)
    for key, amount in _balances(row, derived).items():
        if amount != before[key]:
            found.move((row.network, row.asset, *key), amount - before[key])


def derive(row: Any, found: Corrections) -> Derived:
    """Return an invoice from its credits and the decisions about it."""
    if row.issued_at is None:
        zero = Decimal(0)
        return Derived("DRAFT", zero, zero, zero, frozenset(), None)
    arrivals = _arrivals(row, found)
    amount = to_stroops(row.amount)
    given = row.part_stroops + to_stroops(row.external) + to_stroops(row.credit)
    settled = share_out(
        arrivals,
        capacity_stroops=max(amount - given, 0),
        # What was forgiven is a policy of its day, so the bookings tell how much; they cannot tell of too much.
        tolerance_stroops=tolerance_for(amount_stroops=amount, policy_stroops=to_stroops(row.rounding)),
        # Neither can the chain tell what else a client's credit had paid when an issuer took money back.
        withheld_stroops=to_stroops(row.withheld),
    )
    shares = settled.shares.values()
    received = given + sum(share.allocated_stroops + share.rounding_stroops for share in shares)
    overpaid = row.part_excess_stroops + sum(share.excess_stroops for share in shares)
    return Derived(
        status=_status(row, received, amount),
        received=from_stroops(received),
        overpaid=from_stroops(overpaid),
        rounding=from_stroops(sum(share.rounding_stroops for share in shares)),
        flags=_flags(row, arrivals, settled, is_whole=received >= amount, is_over=overpaid > 0),
        paid_at=settled.completed_at if received == amount and given == 0 else None,
    )


def _arrivals(row: Any, found: Corrections) -> list[Arrival]:
    places = zip(
        row.ledgers or (),
        row.hashes or (),
        row.operation_indexes or (),
        row.credit_indexes or (),
        strict=True,
    )
    facts = zip(places, row.payment_ids or (), row.amounts or (), row.closed_ats or (), strict=True)
    arrivals = [
        Arrival(place, stroops, closed_at, is_late(row.expires_at, closed_at))
        for place, payment_id, paid, closed_at in facts
        if payment_id not in found.refused
        and (stroops := found.stroops.get(payment_id, to_stroops(paid))) > 0
    ]
    return arrivals + [
        Arrival(stray.place, stray.stroops, stray.closed_at, is_late(row.expires_at, stray.closed_at))
        for stray in found.strays.get(row.id, ())
    ]


def _status(row: Any, received: int, amount: int) -> str:
    """Return the status that follows from money and times; who closed it only its row knows."""
    was_paid = row.status == "PAID" and row.lost_some
    if received >= amount or was_paid:
        return "PAID"
    if row.closed_at is None:
        return "PENDING"
    return row.status if row.status in {"EXPIRED", "CANCELLED"} else "EXPIRED"


def _flags(
    row: Any, arrivals: list[Arrival], settled: Settled, *, is_whole: bool, is_over: bool
) -> frozenset[str]:
    flags = {flag for arrival in arrivals for flag in flags_of(arrival, settled.shares[arrival.place])}
    if is_over:
        flags.add("overpaid")
    if not is_whole and row.status == "PAID" and row.lost_some:
        flags.add("reversed")
    return frozenset(flags)


def _balances(row: Any, state: Derived) -> Mapping[tuple[str, UUID | None], Decimal]:
    """Return what an invoice in this state adds to the accounts, debits minus credits, by (kind, owner)."""
    rest, zero = row.amount - state.received, Decimal(0)
    debtor = row.client_id or row.id
    return {
        ("receivable", debtor): rest if state.status in {"PENDING", "PAID"} else zero,
        ("write_off", None): rest if state.status in {"EXPIRED", "CANCELLED"} else zero,
        ("client_credit", debtor): -state.overpaid,
        ("rounding", None): state.rounding,
    }


def _listed(flags: frozenset[str]) -> str:
    return ", ".join(sorted(flags)) or "none"
