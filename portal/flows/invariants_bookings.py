# ruff: noqa: S608  every part of these queries is written here; nothing comes from outside
"""Invariants of single facts: each payment, refund, external payment and clawback has the bookings it should.

Journals that were reversed count for nothing. Each entry: name -> (prefix of the refs to show, query with
one column `subject`).
"""

from portal.flows.invariants_books import FROM_SUSPENSE, STANDING, id_of

_ACTION = "coalesce(p.decision ->> 'action', 'none')"
_PARTS = "coalesce(p.decision -> 'parts', '[]')"
_MOVED = "coalesce(p.decision -> 'moved', '[]')"
_GIVEN = "ROUND(0.0000001 * (part ->> '{}')::numeric, 7)"


def _booked(sums: dict[str, str], *, reference: str, kind: str) -> str:
    """Return a LATERAL of the standing journals about one fact: how many, and sums of what they posted.

    `sums` maps a name to the condition on account `a` and entry `e` that its amounts meet.
    """
    columns = "".join(
        f",\n                coalesce(sum(e.amount) FILTER (WHERE {condition}), 0) AS {name}"
        for name, condition in sums.items()
    )
    return f"""
        CROSS JOIN LATERAL (
            SELECT count(DISTINCT j.id) AS journals{columns}
            FROM ledger_journals j
            JOIN ledger_entries e ON e.journal_id = j.id
            JOIN ledger_accounts a ON a.id = e.account_id
            WHERE j.merchant_id = {reference}.merchant_id AND j.reference_id = {reference}.id
                AND j.kind IN ({kind}) AND {STANDING}
        ) AS booked
    """


_PAYMENTS: dict[str, tuple[str, str]] = {
    "payments_have_their_journal": (
        "pay",
        f"""
        SELECT p.id AS subject
        FROM payments p
        CROSS JOIN LATERAL (
            SELECT ARRAY[
                count(*) FILTER (WHERE j.kind = 'allocation'), count(*) FILTER (WHERE j.kind = 'unmatched'),
                count(*) FILTER (WHERE j.kind = 'match'), count(*) FILTER (WHERE j.kind = 'credit_back')
            ] AS journals
            FROM ledger_journals j
            WHERE j.merchant_id = p.merchant_id AND j.reference_id = p.id AND {STANDING}
        ) AS booked
        WHERE booked.journals <> CAST(CASE
            WHEN p.status = 'CONFIRMED' AND {_ACTION} = 'match'
                THEN ARRAY[0, 1, jsonb_array_length({_PARTS}), jsonb_array_length({_MOVED})]
            WHEN p.status = 'CONFIRMED' THEN ARRAY[1, 0, 0, jsonb_array_length({_MOVED})]
            WHEN p.status = 'REVERSED' OR p.reason = 'self_payment' THEN ARRAY[0, 0, 0, 0]
            ELSE ARRAY[0, 1, 0, 0]
        END AS bigint[])
        """,
    ),
    "confirmed_payments_are_explained": (
        "pay",
        f"""
        SELECT p.id AS subject
        FROM payments p
        CROSS JOIN LATERAL (SELECT p.amount - {FROM_SUSPENSE} AS amount) AS given
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(g.amount), 0) AS amount
            FROM allocations g
            JOIN ledger_journals j ON j.id = g.journal_id AND {STANDING}
            WHERE g.source = 'payment' AND g.source_id = p.id AND g.reverses_id IS NULL
        ) AS allocated
        {
            _booked(
                {
                    "taken": "a.kind IN ('wallet', 'suspense') AND e.side = 'DEBIT'",
                    "paid": "a.kind = 'receivable' AND e.side = 'CREDIT'",
                    "excess": "a.kind = 'client_credit' AND e.side = 'CREDIT'",
                },
                reference="p",
                kind="'allocation', 'match'",
            )
        }
        WHERE p.status = 'CONFIRMED'
            AND (booked.taken, booked.paid, booked.excess)
                <> (given.amount, allocated.amount, given.amount - allocated.amount)
        """,
    ),
    # What is live stands in the books; what was taken back names the journal that did it.
    "allocations_name_their_journal": (
        "inv",
        f"""
        SELECT g.invoice_id AS subject
        FROM allocations g
        JOIN ledger_journals j ON j.id = g.journal_id
        LEFT JOIN allocations o ON o.id = g.reverses_id
        WHERE NOT CASE
            WHEN o.id IS NOT NULL THEN (o.invoice_id, o.source, o.source_id, -o.amount)
                = (g.invoice_id, g.source, g.source_id, g.amount) AND (
                    j.kind = 'reversal' AND j.reverses_id = o.journal_id
                    OR j.kind = 'credit_back' AND j.reference_id = g.source_id AND g.source = 'payment'
                )
            WHEN g.source = 'payment' THEN j.kind IN ('allocation', 'match') AND j.reference_id = g.source_id
            WHEN g.source = 'rounding' THEN j.kind = 'short' AND j.reference_id = g.source_id
            WHEN g.source = 'external' THEN j.kind = 'external' AND j.reference_id = g.source_id
            ELSE j.kind = 'credit' AND j.reference_id = g.invoice_id
        END OR o.id IS NULL AND NOT {STANDING} AND NOT EXISTS (
            SELECT FROM allocations t WHERE t.reverses_id = g.id
        )
        """,
    ),
    # A person's match is written down in parts; what was moved to credit since is named too.
    "decisions_are_carried_out": (
        "pay",
        f"""
        SELECT p.id AS subject
        FROM payments p
        CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_object_agg(g.invoice_id, g.amount), '{{}}') AS amounts
            FROM (
                SELECT g.invoice_id, sum(g.amount) AS amount
                FROM allocations g
                WHERE g.source = 'payment' AND g.source_id = p.id
                GROUP BY g.invoice_id
                HAVING sum(g.amount) <> 0
            ) AS g
        ) AS held
        CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_object_agg({id_of("part ->> 'invoice'")}, {_GIVEN.format("allocated_stroops")})
                    FILTER (WHERE (part ->> 'allocated_stroops')::numeric > 0
                        AND NOT {_MOVED} ? (part ->> 'invoice')), '{{}}') AS amounts,
                coalesce(sum({_GIVEN.format("allocated_stroops")} + {_GIVEN.format("excess_stroops")}), 0) AS total,
                coalesce(bool_or({id_of("part ->> 'invoice'")} = p.invoice_id), false) AS names_invoice
            FROM jsonb_array_elements({_PARTS}) AS part
        ) AS decided
        WHERE NOT CASE {_ACTION}
            WHEN 'none' THEN p.status <> 'CONFIRMED' OR held.amounts - p.invoice_id::text = '{{}}'
            WHEN 'match' THEN p.status = 'REVERSED' OR p.status = 'CONFIRMED' AND decided.names_invoice
                AND held.amounts = decided.amounts AND decided.total = p.amount - {FROM_SUSPENSE}
            WHEN 'credit' THEN p.status = 'REVERSED' OR p.status = 'CONFIRMED' AND held.amounts = '{{}}'
            WHEN 'ignore' THEN p.status IN ('IGNORED', 'REVERSED')
            WHEN 'refund' THEN p.status = 'IGNORED' AND p.refunded = p.amount
            ELSE false
        END
        """,
    ),
}

_OTHERS: dict[str, tuple[str, str]] = {
    "refunds_are_within_their_payment": (
        "pay",
        """
        SELECT p.id AS subject
        FROM payments p
        LEFT JOIN (
            SELECT f.payment_id,
                coalesce(sum(f.amount) FILTER (WHERE f.status = 'COMPLETED'), 0) AS refunded,
                coalesce(sum(f.amount) FILTER (WHERE f.status IN ('PENDING', 'PROCESSING')), 0) AS reserved
            FROM refunds f
            GROUP BY f.payment_id
        ) AS f ON f.payment_id = p.id
        WHERE (p.refunded, p.refund_reserved) <> (coalesce(f.refunded, 0), coalesce(f.reserved, 0))
        """,
    ),
    "refunds_are_booked": (
        "rfd",
        f"""
        SELECT f.id AS subject
        FROM refunds f
        {
            _booked(
                {
                    "suspense": "a.kind = 'suspense' AND e.side = 'DEBIT'",
                    "credit": "a.kind = 'client_credit' AND e.side = 'DEBIT'",
                    "revenue": "a.kind = 'refunds' AND e.side = 'DEBIT'",
                    "sent": "a.kind = 'wallet' AND a.owner_id = f.wallet_id AND e.side = 'CREDIT'",
                },
                reference="f",
                kind="'refund'",
            )
        }
        WHERE (booked.journals, booked.suspense, booked.credit, booked.revenue, booked.sent) <> (
            CASE f.status WHEN 'COMPLETED' THEN 1 ELSE 0 END, f.from_suspense, f.from_credit, f.from_revenue,
            CASE f.status WHEN 'COMPLETED' THEN f.amount ELSE 0 END
        )
        """,
    ),
    "refunds_return_to_their_payer": (
        "rfd",
        """
        SELECT f.id AS subject
        FROM refunds f
        JOIN payments p ON p.id = f.payment_id
        WHERE (f.source, f.destination, f.asset, f.wallet_id) <> (p.destination, p.sender, p.asset, p.wallet_id)
        """,
    ),
    # Recorded once; taken back once at most, with all it gave.
    "external_payments_are_booked": (
        "ext",
        f"""
        SELECT x.id AS subject
        FROM external_payments x
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE g.reverses_id IS NULL AND g.amount = x.amount) AS given,
                count(*) AS rows, coalesce(sum(g.amount), 0) AS left
            FROM allocations g
            WHERE g.source = 'external' AND g.source_id = x.id AND g.invoice_id = x.invoice_id
        ) AS allocated
        {
            _booked(
                {
                    "taken": "a.kind = 'external' AND e.side = 'DEBIT'",
                    "paid": "a.kind = 'receivable' AND e.side = 'CREDIT'",
                },
                reference="x",
                kind="'external'",
            )
        }
        WHERE (allocated.given, booked.taken, booked.paid) <> (1, allocated.left, allocated.left)
            OR (booked.journals, allocated.rows) NOT IN ((1, 1), (0, 2))
        """,
    ),
    # A clawback undoes one payment of its amount, or is a loss.
    "clawbacks_are_booked": (
        "",
        f"""
        SELECT t.canonical_hash AS subject
        FROM clawbacks k
        JOIN chain_transactions t ON t.id = k.transaction_id
        LEFT JOIN payments p ON p.id = k.payment_id
        {
            _booked(
                {
                    "lost": "a.kind = 'write_off' AND e.side = 'DEBIT'",
                    "taken": "a.kind = 'wallet' AND a.owner_id = k.wallet_id AND e.side = 'CREDIT'",
                },
                reference="k",
                kind="'clawback'",
            )
        }
        WHERE NOT CASE
            WHEN k.payment_id IS NULL THEN (booked.journals, booked.lost, booked.taken) = (1, k.amount, k.amount)
            ELSE booked.journals = 0 AND p.status = 'REVERSED'
                AND (p.amount, p.asset, p.wallet_id) = (k.amount, k.asset, k.wallet_id)
        END
        """,
    ),
    "reversed_payments_were_clawed_back": (
        "pay",
        """
        SELECT p.id AS subject
        FROM payments p
        WHERE p.status = 'REVERSED'
            AND (SELECT count(*) FROM clawbacks k WHERE k.payment_id = p.id) <> 1
        """,
    ),
}

BOOKINGS: dict[str, tuple[str, str]] = {**_PAYMENTS, **_OTHERS}
