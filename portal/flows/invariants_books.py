# ruff: noqa: S608  every part of these queries is written here; nothing comes from outside
"""Invariants of the books: journals, accounts and their agreement with invoices and payments.

Each entry: name -> (prefix of the refs to show, query with one column `subject`).
"""

_SIGNED = "CASE e.side WHEN 'DEBIT' THEN e.amount ELSE -e.amount END"
# Crockford's alphabet, in which refs are written (kernel/refs).
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
STANDING = "NOT EXISTS (SELECT FROM ledger_journals r WHERE r.reverses_id = j.id)"
# Money in the wallet that was ignored by a person stays in suspense; what was ignored by rule was never booked.
_IS_BOOKED_IGNORED = """p.status = 'IGNORED' AND p.reason IS DISTINCT FROM 'self_payment'"""
# What refunds took from a payment before, or without, a person's match.
FROM_SUSPENSE = "(SELECT coalesce(sum(f.from_suspense), 0) FROM refunds f WHERE f.payment_id = p.id)"


def id_of(ref: str) -> str:
    """Return SQL for the uuid that a ref with a prefix of three letters names: 26 digits of 5 bits, 2 too many."""
    return f"""(
        SELECT string_agg(to_hex(substring(bits FROM 4 * k + 3 FOR 4)::bit(4)::integer), '' ORDER BY k)::uuid
        FROM generate_series(0, 31) AS k
        CROSS JOIN (
            SELECT string_agg((strpos('{_ALPHABET}', substr({ref}, n, 1)) - 1)::bit(5)::text, '' ORDER BY n) AS bits
            FROM generate_series(5, 30) AS n
        ) AS digits
    )"""


def _agree(kind: str, sign: str, facts: str) -> str:
    """Return a query for accounts of one kind whose balance is not what `facts` (key columns, total) add up to."""
    return f"""
        SELECT coalesce(held.id, fact.owner_id, fact.merchant_id) AS subject
        FROM (
            SELECT a.id, a.merchant_id, a.network, a.asset, a.owner_id, {sign} b.balance AS total
            FROM ledger_accounts a
            JOIN account_balances b ON b.account_id = a.id
            WHERE a.kind = '{kind}'
        ) AS held
        FULL JOIN (
            SELECT merchant_id, network, asset, owner_id, sum(total) AS total
            FROM ({facts}) AS each
            GROUP BY merchant_id, network, asset, owner_id
        ) AS fact
            ON held.merchant_id = fact.merchant_id AND held.network = fact.network AND held.asset = fact.asset
            AND held.owner_id IS NOT DISTINCT FROM fact.owner_id
        WHERE coalesce(held.total, 0) <> coalesce(fact.total, 0)
    """


# What a journal's reference is the id of, by kind; a reversal has its original's.
_REFERENCES = {
    "invoices": "'issue', 'close', 'credit'",
    "payments": "'allocation', 'unmatched', 'short', 'match', 'credit_back'",
    "external_payments": "'external'",
    "refunds": "'refund'",
    "clawbacks": "'clawback'",
}
_NAMED = "\n".join(
    f"""
            WHEN j.kind IN ({kinds}) THEN EXISTS (
                SELECT FROM {table} t
                WHERE t.id = j.reference_id AND t.merchant_id = j.merchant_id AND t.network = j.network
            )
    """
    for table, kinds in _REFERENCES.items()
)

BOOKS: dict[str, tuple[str, str]] = {
    "journals_balance": (
        "jrn",
        f"""
        SELECT DISTINCT journal_id AS subject
        FROM (
            SELECT e.journal_id
            FROM ledger_entries e
            GROUP BY e.journal_id, e.asset
            HAVING sum({_SIGNED}) <> 0
        ) AS tilted
        """,
    ),
    "journals_have_entries": (
        "jrn",
        """
        SELECT j.id AS subject
        FROM ledger_journals j
        WHERE NOT EXISTS (SELECT FROM ledger_entries e WHERE e.journal_id = j.id)
        """,
    ),
    "entries_fit_their_account": (
        "jrn",
        """
        SELECT e.journal_id AS subject
        FROM ledger_entries e
        JOIN ledger_accounts a ON a.id = e.account_id
        JOIN ledger_journals j ON j.id = e.journal_id
        WHERE a.asset <> e.asset OR a.network <> j.network
        """,
    ),
    "balances_are_sums_of_entries": (
        "acc",
        f"""
        SELECT account_id AS subject
        FROM account_balances b
        FULL JOIN (
            SELECT e.account_id, sum({_SIGNED}) AS total FROM ledger_entries e GROUP BY e.account_id
        ) AS booked USING (account_id)
        WHERE coalesce(b.balance, 0) <> coalesce(booked.total, 0)
        """,
    ),
    "accounts_have_the_right_owner": (
        "acc",
        """
        SELECT a.id AS subject
        FROM ledger_accounts a
        WHERE NOT CASE
            WHEN a.kind = 'wallet' THEN EXISTS (
                SELECT FROM wallets w
                WHERE w.id = a.owner_id AND w.merchant_id = a.merchant_id AND w.network = a.network
            )
            WHEN a.kind IN ('receivable', 'client_credit') THEN EXISTS (
                SELECT FROM clients c WHERE c.id = a.owner_id AND c.merchant_id = a.merchant_id
            ) OR EXISTS (
                SELECT FROM invoices i
                WHERE i.id = a.owner_id AND i.merchant_id = a.merchant_id AND i.network = a.network
                    AND i.asset = a.asset AND i.client_id IS NULL
            )
            ELSE a.owner_id IS NULL
        END
        """,
    ),
    "journals_name_their_fact": (
        "jrn",
        f"""
        SELECT j.id AS subject
        FROM ledger_journals j
        WHERE NOT CASE
            {_NAMED}
            ELSE true
        END
        """,
    ),
    "reversals_mirror_their_journal": (
        "jrn",
        f"""
        SELECT r.id AS subject
        FROM ledger_journals r
        JOIN ledger_journals o ON o.id = r.reverses_id
        WHERE (r.reference_id, r.network) <> (o.reference_id, o.network) OR EXISTS (
            SELECT FROM ledger_entries e
            WHERE e.journal_id IN (r.id, o.id)
            GROUP BY e.account_id, e.asset
            HAVING sum({_SIGNED}) <> 0
        )
        """,
    ),
    "issued_invoices_are_booked": (
        "inv",
        """
        SELECT i.id AS subject
        FROM invoices i
        CROSS JOIN LATERAL (
            SELECT count(DISTINCT j.id) AS journals,
                coalesce(sum(e.amount) FILTER (WHERE a.kind = 'receivable' AND e.side = 'DEBIT'), 0) AS receivable,
                coalesce(sum(e.amount) FILTER (WHERE a.kind = 'income' AND e.side = 'CREDIT'), 0) AS income,
                coalesce(sum(e.amount) FILTER (WHERE a.kind = 'discount' AND e.side = 'DEBIT'), 0) AS discount,
                coalesce(sum(e.amount) FILTER (WHERE a.kind = 'tax_payable' AND e.side = 'CREDIT'), 0) AS tax
            FROM ledger_journals j
            JOIN ledger_entries e ON e.journal_id = j.id
            JOIN ledger_accounts a ON a.id = e.account_id
            WHERE j.merchant_id = i.merchant_id AND j.reference_id = i.id AND j.kind = 'issue'
        ) AS booked
        WHERE booked.journals <> CASE i.status WHEN 'DRAFT' THEN 0 ELSE 1 END
            OR i.status <> 'DRAFT' AND (booked.receivable, booked.income, booked.discount, booked.tax)
                <> (i.amount, i.subtotal, i.discount_total, i.tax_total)
        """,
    ),
    "closed_invoices_are_written_off": (
        "inv",
        f"""
        SELECT i.id AS subject
        FROM invoices i
        CROSS JOIN LATERAL (
            SELECT count(DISTINCT j.id) AS journals,
                coalesce(sum(e.amount) FILTER (WHERE a.kind = 'write_off' AND e.side = 'DEBIT'), 0) AS lost
            FROM ledger_journals j
            JOIN ledger_entries e ON e.journal_id = j.id
            JOIN ledger_accounts a ON a.id = e.account_id
            WHERE j.merchant_id = i.merchant_id AND j.reference_id = i.id AND j.kind = 'close'
                AND {STANDING}
        ) AS booked
        WHERE NOT CASE
            WHEN i.status IN ('EXPIRED', 'CANCELLED')
                THEN booked.journals = 1 AND booked.lost = i.amount - i.amount_received
            ELSE booked.journals = 0
        END
        """,
    ),
    "receivables_are_open_dues": (
        "acc",
        _agree(
            "receivable",
            "",
            """
            SELECT i.merchant_id, i.network, i.asset, coalesce(i.client_id, i.id) AS owner_id,
                i.amount - i.amount_received AS total
            FROM invoices i
            WHERE i.status IN ('PENDING', 'PAID')
            """,
        ),
    ),
    # What was paid too much or moved back from an invoice, less what paid another one or was refunded.
    "client_credit_is_excess": (
        "acc",
        _agree(
            "client_credit",
            "-",
            f"""
            SELECT i.merchant_id, i.network, i.asset, coalesce(i.client_id, i.id) AS owner_id, i.overpaid_by AS total
            FROM invoices i
            UNION ALL
            SELECT i.merchant_id, i.network, i.asset, coalesce(i.client_id, i.id), -g.amount
            FROM allocations g
            JOIN ledger_journals j ON j.id = g.journal_id AND j.kind = 'credit_back' AND {STANDING}
            JOIN invoices i ON i.id = g.invoice_id
            UNION ALL
            SELECT i.merchant_id, i.network, i.asset, coalesce(i.client_id, i.id), -g.amount
            FROM allocations g
            JOIN invoices i ON i.id = g.invoice_id
            WHERE g.source = 'client_credit'
            UNION ALL
            SELECT p.merchant_id, p.network, p.asset, coalesce(p.client_id, p.invoice_id), -f.from_credit
            FROM refunds f
            JOIN payments p ON p.id = f.payment_id
            WHERE f.from_credit > 0
            """,
        ),
    ),
    # Only an issuer can take back what was spent since: then the client owes it.
    "credit_is_not_negative": (
        "acc",
        f"""
        SELECT a.id AS subject
        FROM ledger_accounts a
        JOIN account_balances b ON b.account_id = a.id
        WHERE a.kind = 'client_credit' AND b.balance > 0 AND NOT EXISTS (
            SELECT FROM payments p
            LEFT JOIN LATERAL jsonb_array_elements(p.decision -> 'parts') AS part ON true
            LEFT JOIN invoices i ON i.id = {id_of("part ->> 'invoice'")}
            WHERE p.merchant_id = a.merchant_id AND p.network = a.network AND p.asset = a.asset
                AND p.status = 'REVERSED'
                AND a.owner_id IN (coalesce(p.client_id, p.invoice_id), coalesce(i.client_id, i.id))
        )
        """,
    ),
    "suspense_is_unmatched_money": (
        "acc",
        _agree(
            "suspense",
            "-",
            f"""
            SELECT p.merchant_id, p.network, p.asset, NULL::uuid AS owner_id, p.amount - {FROM_SUSPENSE} AS total
            FROM payments p
            WHERE p.status = 'UNMATCHED' OR {_IS_BOOKED_IGNORED}
            """,
        ),
    ),
    "wallets_hold_their_payments": (
        "acc",
        _agree(
            "wallet",
            "",
            f"""
            SELECT p.merchant_id, p.network, p.asset, p.wallet_id AS owner_id, p.amount AS total
            FROM payments p
            WHERE p.status IN ('CONFIRMED', 'UNMATCHED') OR {_IS_BOOKED_IGNORED}
            UNION ALL
            SELECT f.merchant_id, f.network, f.asset, f.wallet_id, -f.amount
            FROM refunds f
            WHERE f.status = 'COMPLETED'
            UNION ALL
            SELECT k.merchant_id, k.network, k.asset, k.wallet_id, -k.amount
            FROM clawbacks k
            WHERE k.payment_id IS NULL
            """,
        ),
    ),
}
