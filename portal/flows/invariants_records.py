# ruff: noqa: S608  every part of these queries is written here; nothing comes from outside
"""Invariants of invoices, payments, chain facts and events.

Each entry: name -> (prefix of the refs to show, query with one column `subject`).
"""

from portal.domain.events.rules import CONSUMERS_BY_AGGREGATE
from portal.flows.invariants_books import STANDING, id_of

# Damm's table of order 10, row by row, as the check digit of a pay_ref uses it (kernel/tokens).
DAMM = "0317598642709215486342068713591750983426612304597836742095815869720134894536201794386172052581436790"
# Delivered rows are swept a week after their delivery (workers/sweep), so younger events still have theirs.
_OUTBOX_KEPT = "interval '6 days'"
_CONSUMERS = ", ".join(
    f"('{aggregate}', '{consumer}')"
    for aggregate, consumers in CONSUMERS_BY_AGGREGATE.items()
    for consumer in consumers
)
_NUMBERS = """
    SELECT i.id, i.merchant_id, i.network, i.issued_at,
        (regexp_match(i.number, '^[A-Z0-9]+-([0-9]{4}-[0-9]{2})-[0-9]+$'))[1] AS period,
        (regexp_match(i.number, '^[A-Z0-9]+-[0-9]{4}-[0-9]{2}-([0-9]+)$'))[1]::bigint AS value
    FROM invoices i
    WHERE i.number IS NOT NULL
"""
_INVOICES: dict[str, tuple[str, str]] = {
    "received_is_allocated": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        LEFT JOIN (SELECT invoice_id, sum(amount) AS amount FROM allocations GROUP BY invoice_id) AS g
            ON g.invoice_id = i.id
        WHERE i.amount_received <> coalesce(g.amount, 0)
        """,
    ),
    "received_is_within_the_amount": (
        "inv",
        "SELECT i.id AS subject FROM invoices i WHERE i.amount_received < 0 OR i.amount_received > i.amount",
    ),
    "paid_means_received_in_full": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        WHERE (i.status = 'PAID') <> (i.paid_at IS NOT NULL)
            OR i.status = 'PAID' AND i.amount_received < i.amount AND NOT 'reversed' = ANY(i.flags)
            OR i.status IN ('PENDING', 'EXPIRED', 'CANCELLED') AND i.amount_received >= i.amount
        """,
    ),
    "reversed_means_short_of_money": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        WHERE 'reversed' = ANY(i.flags) AND (i.status <> 'PAID' OR i.amount_received = i.amount)
        """,
    ),
    # The excess of the credits that name it, as far as their bookings stand, and of the parts people gave it.
    "overpaid_is_the_excess": (
        "inv",
        f"""
        SELECT i.id AS subject
        FROM invoices i
        LEFT JOIN (
            SELECT p.invoice_id, p.amount - (
                SELECT coalesce(sum(g.amount), 0)
                FROM allocations g
                JOIN ledger_journals j ON j.id = g.journal_id AND {STANDING}
                WHERE g.source = 'payment' AND g.source_id = p.id AND g.reverses_id IS NULL
            ) AS excess
            FROM payments p
            WHERE p.status = 'CONFIRMED' AND p.decision ->> 'action' IS DISTINCT FROM 'match'
            UNION ALL
            SELECT {id_of("part ->> 'invoice'")}, round(0.0000001 * (part ->> 'excess_stroops')::numeric, 7)
            FROM payments p
            CROSS JOIN LATERAL jsonb_array_elements(p.decision -> 'parts') AS part
            WHERE p.status = 'CONFIRMED' AND p.decision ->> 'action' = 'match'
        ) AS paid ON paid.invoice_id = i.id
        GROUP BY i.id
        HAVING i.overpaid_by <> coalesce(sum(paid.excess), 0)
        """,
    ),
    "overpaid_is_flagged": (
        "inv",
        "SELECT i.id AS subject FROM invoices i WHERE (i.overpaid_by > 0) <> ('overpaid' = ANY(i.flags))",
    ),
    "drafts_are_unissued": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        WHERE i.status = 'DRAFT'
            AND num_nonnulls(i.number, i.pay_ref, i.destination, i.wallet_id, i.issued_at, i.expires_at) <> 0
            OR i.status <> 'DRAFT'
            AND num_nulls(i.number, i.pay_ref, i.destination, i.wallet_id, i.issued_at, i.expires_at) <> 0
        """,
    ),
    "closed_invoices_have_a_time": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        WHERE (i.status IN ('EXPIRED', 'CANCELLED')) <> (i.closed_at IS NOT NULL)
        """,
    ),
    "numbers_are_gapless": (
        "mer",
        f"""
        SELECT merchant_id AS subject
        FROM ({_NUMBERS}) AS n
        WHERE n.value IS NOT NULL
        GROUP BY merchant_id, network, period
        HAVING min(value) <> 1 OR max(value) <> count(*)
        """,
    ),
    "counters_are_the_last_number": (
        "mer",
        f"""
        SELECT coalesce(n.merchant_id, c.merchant_id) AS subject
        FROM (
            SELECT merchant_id, network, period, max(value) AS value
            FROM ({_NUMBERS}) AS each
            WHERE value IS NOT NULL
            GROUP BY merchant_id, network, period
        ) AS n
        FULL JOIN (SELECT * FROM counters WHERE kind = 'invoice') AS c USING (merchant_id, network, period)
        WHERE n.value IS DISTINCT FROM c.value
        """,
    ),
    # The merchant's time zone may change later, so every zone's month of that moment is right.
    "numbers_fit_their_month": (
        "inv",
        f"""
        SELECT n.id AS subject
        FROM ({_NUMBERS}) AS n
        WHERE n.period IS NULL
            OR n.period NOT BETWEEN to_char(n.issued_at - interval '12 hours', 'YYYY-MM')
                AND to_char(n.issued_at + interval '14 hours', 'YYYY-MM')
        """,
    ),
    "pay_refs_have_a_check_digit": (
        "inv",
        f"""
        SELECT i.id AS subject
        FROM invoices i
        CROSS JOIN LATERAL (
            WITH RECURSIVE walk (place, interim) AS (
                SELECT 0, 0
                UNION ALL
                SELECT place + 1,
                    substr('{DAMM}', interim * 10 + substr(i.pay_ref::text, place + 1, 1)::integer + 1, 1)::integer
                FROM walk
                WHERE place < length(i.pay_ref::text)
            )
            SELECT interim FROM walk ORDER BY place DESC LIMIT 1
        ) AS digit
        WHERE i.pay_ref IS NOT NULL AND digit.interim <> 0
        """,
    ),
    "pay_refs_are_unique": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        WHERE EXISTS (
            SELECT FROM invoices o WHERE o.network = i.network AND o.pay_ref = i.pay_ref AND o.id < i.id
        )
        """,
    ),
    "lines_add_up": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        LEFT JOIN (SELECT invoice_id, sum(total) AS total FROM invoice_items GROUP BY 1) AS t ON t.invoice_id = i.id
        LEFT JOIN (SELECT invoice_id, sum(total) AS total FROM discount_lines GROUP BY 1) AS d ON d.invoice_id = i.id
        LEFT JOIN (SELECT invoice_id, sum(total) AS total FROM tax_lines GROUP BY 1) AS x ON x.invoice_id = i.id
        WHERE (i.subtotal, i.discount_total, i.tax_total)
            <> (coalesce(t.total, 0), coalesce(d.total, 0), coalesce(x.total, 0))
        """,
    ),
    # `round` of numeric rounds half away from zero, which for these amounts is half up.
    "lines_are_computed": (
        "inv",
        """
        SELECT t.invoice_id AS subject
        FROM invoice_items t
        WHERE t.total <> round(t.quantity * t.unit_price, 7)
        UNION
        SELECT d.invoice_id
        FROM discount_lines d
        JOIN invoices i ON i.id = d.invoice_id
        WHERE d.percent IS NOT NULL AND d.total <> round(i.subtotal * d.percent * 0.01, 7)
        UNION
        SELECT x.invoice_id
        FROM tax_lines x
        JOIN invoices i ON i.id = x.invoice_id
        WHERE x.total <> round((i.subtotal - i.discount_total) * x.percent * 0.01, 7)
        """,
    ),
    "invoices_are_paid_to_their_wallet": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        JOIN wallets w ON w.id = i.wallet_id
        WHERE (w.address, w.network, w.merchant_id) <> (i.destination, i.network, i.merchant_id)
        """,
    ),
}

_PAYMENTS: dict[str, tuple[str, str]] = {
    "credits_count_once": (
        "pay",
        """
        SELECT p.id AS subject
        FROM payments p
        WHERE EXISTS (
            SELECT FROM payments o
            WHERE (o.transaction_id, o.operation_index, o.credit_index)
                = (p.transaction_id, p.operation_index, p.credit_index) AND o.id < p.id
        )
        """,
    ),
    "hashes_name_a_transaction": (
        "",
        """
        SELECT h.hash AS subject
        FROM chain_transaction_hashes h
        LEFT JOIN chain_transactions t ON t.id = h.transaction_id AND t.network = h.network
        WHERE t.id IS NULL
        """,
    ),
    "canonical_hashes_are_known": (
        "",
        """
        SELECT t.canonical_hash AS subject
        FROM chain_transactions t
        LEFT JOIN chain_transaction_hashes h ON h.hash = t.canonical_hash AND h.transaction_id = t.id
        WHERE h.hash IS NULL
        """,
    ),
    "stored_transactions_succeeded": (
        "",
        "SELECT t.canonical_hash AS subject FROM chain_transactions t WHERE t.raw ->> 'successful' <> 'true'",
    ),
    "payments_reached_their_wallet": (
        "pay",
        """
        SELECT p.id AS subject
        FROM payments p
        JOIN wallets w ON w.id = p.wallet_id
        WHERE (w.address, w.network, w.merchant_id) <> (p.destination, p.network, p.merchant_id)
        """,
    ),
    # A person may give an invoice what reached another wallet of the merchant, but never another asset.
    "confirmed_payments_fit_their_invoice": (
        "pay",
        """
        SELECT p.id AS subject
        FROM payments p
        JOIN invoices i ON i.id = p.invoice_id
        WHERE p.status = 'CONFIRMED' AND (
            p.asset <> i.asset OR p.client_id IS DISTINCT FROM i.client_id
            OR p.destination <> i.destination AND p.decision ->> 'action' IS DISTINCT FROM 'match'
        )
        """,
    ),
    # What a person matched may be unmatched, and matched elsewhere, after it was submitted.
    "accepted_submissions_name_their_payment": (
        "sub",
        """
        SELECT s.id AS subject
        FROM submissions s
        WHERE s.state = 'ACCEPTED' AND NOT EXISTS (
            SELECT FROM payments p
            JOIN chain_transaction_hashes h ON h.transaction_id = p.transaction_id
            WHERE p.id = s.payment_id AND h.hash = s.transaction_hash AND (
                p.invoice_id = s.invoice_id OR EXISTS (
                    SELECT FROM ledger_journals j
                    WHERE j.merchant_id = p.merchant_id AND j.reference_id = p.id AND j.kind = 'match'
                )
            )
        )
        """,
    ),
    "networks_agree": (
        "",
        """
        SELECT 'allocation of an invoice' AS subject
        FROM allocations g JOIN invoices i ON i.id = g.invoice_id WHERE g.network <> i.network
        UNION ALL
        SELECT 'allocation of a journal'
        FROM allocations g JOIN ledger_journals j ON j.id = g.journal_id WHERE g.network <> j.network
        UNION ALL
        SELECT 'payment of an invoice'
        FROM payments p JOIN invoices i ON i.id = p.invoice_id WHERE p.network <> i.network
        UNION ALL
        SELECT 'payment of a transaction'
        FROM payments p JOIN chain_transactions t ON t.id = p.transaction_id WHERE p.network <> t.network
        UNION ALL
        SELECT 'refund of a payment'
        FROM refunds f JOIN payments p ON p.id = f.payment_id WHERE f.network <> p.network
        UNION ALL
        SELECT 'external payment of an invoice'
        FROM external_payments x JOIN invoices i ON i.id = x.invoice_id WHERE x.network <> i.network
        UNION ALL
        SELECT 'clawback of a transaction'
        FROM clawbacks k JOIN chain_transactions t ON t.id = k.transaction_id WHERE k.network <> t.network
        UNION ALL
        SELECT 'submission of an invoice'
        FROM submissions s JOIN invoices i ON i.id = s.invoice_id WHERE s.network <> i.network
        UNION ALL
        SELECT 'feed entry of an event'
        FROM event_feed f JOIN events e ON e.id = f.event_id WHERE f.network <> e.network
        """,
    ),
}

_EVENTS: dict[str, tuple[str, str]] = {
    "event_versions_are_gapless": (
        "evt",
        """
        SELECT (array_agg(e.id ORDER BY e.version))[1] AS subject
        FROM events e
        GROUP BY e.aggregate_id
        HAVING min(e.version) <> 1 OR max(e.version) <> count(*)
        """,
    ),
    "invoices_are_announced": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        LEFT JOIN events e ON e.aggregate_id = i.id AND e.version = i.version
        WHERE e.payload ->> 'status' IS DISTINCT FROM i.status
            OR EXISTS (SELECT FROM events l WHERE l.aggregate_id = i.id AND l.version > i.version)
        """,
    ),
    "payments_are_announced": (
        "pay",
        """
        SELECT p.id AS subject
        FROM payments p
        LEFT JOIN events e ON e.aggregate_id = p.id AND e.version = p.version
        WHERE e.payload ->> 'status' IS DISTINCT FROM p.status
            OR EXISTS (SELECT FROM events l WHERE l.aggregate_id = p.id AND l.version > p.version)
        """,
    ),
    "refunds_are_announced": (
        "rfd",
        """
        SELECT f.id AS subject
        FROM refunds f
        LEFT JOIN events e ON e.aggregate_id = f.id AND e.version = f.version
        WHERE (e.payload ->> 'status', e.payload ->> 'code') IS DISTINCT FROM (f.status, f.code)
            OR EXISTS (SELECT FROM events l WHERE l.aggregate_id = f.id AND l.version > f.version)
        """,
    ),
    "events_have_their_outbox_rows": (
        "evt",
        f"""
        SELECT e.id AS subject
        FROM events e
        JOIN (VALUES {_CONSUMERS}) AS wanted (aggregate_type, consumer) USING (aggregate_type)
        WHERE e.created_at > now() - {_OUTBOX_KEPT}
            AND NOT EXISTS (SELECT FROM outbox o WHERE o.event_id = e.id AND o.consumer = wanted.consumer)
        """,
    ),
    "events_are_in_the_feed": (
        "evt",
        """
        SELECT e.id AS subject
        FROM events e
        WHERE NOT EXISTS (SELECT FROM event_feed f WHERE f.event_id = e.id)
            AND NOT EXISTS (
                SELECT FROM outbox o WHERE o.event_id = e.id AND o.consumer = 'feed' AND o.state <> 'DONE'
            )
            AND EXISTS (SELECT FROM outbox o WHERE o.event_id = e.id AND o.consumer = 'feed')
        """,
    ),
    "feeds_are_gapless": (
        "mer",
        """
        SELECT f.merchant_id AS subject
        FROM event_feed f
        GROUP BY f.merchant_id, f.network
        HAVING min(f.seq) <> 1 OR max(f.seq) <> count(*)
        """,
    ),
}

RECORDS: dict[str, tuple[str, str]] = {**_INVOICES, **_PAYMENTS, **_EVENTS}
