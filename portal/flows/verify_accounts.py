"""Balances derived once more: what the facts add up to, account by account, and what the entries do."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from portal.domain.ledger.rules import account_id
from portal.extensions import db
from portal.flows.differences import Corrections, Difference, units
from portal.flows.invariants_books import FROM_SUSPENSE, STANDING
from portal.kernel.refs import to_ref

# Raw SQL: one statement, so that facts and balances are of one moment, also while money comes in.
_FACTS = text(
    f"""
    WITH facts AS (
        SELECT i.network, i.asset, each.kind, each.owner_id, sum(each.amount) AS total
        FROM invoices i
        CROSS JOIN LATERAL (VALUES
            ('income', NULL::uuid, -i.subtotal),
            ('tax_payable', NULL, -i.tax_total),
            ('discount', NULL, i.discount_total),
            ('receivable', coalesce(i.client_id, i.id),
                CASE WHEN i.status IN ('PENDING', 'PAID') THEN i.amount - i.amount_received ELSE 0 END),
            ('write_off', NULL,
                CASE WHEN i.status IN ('EXPIRED', 'CANCELLED') THEN i.amount - i.amount_received ELSE 0 END),
            ('client_credit', coalesce(i.client_id, i.id), -i.overpaid_by)
        ) AS each (kind, owner_id, amount)
        WHERE i.merchant_id = :merchant_id AND i.issued_at IS NOT NULL
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT g.network, i.asset, each.kind, each.owner_id, sum(each.amount)
        FROM allocations g
        JOIN invoices i ON i.id = g.invoice_id
        JOIN ledger_journals j ON j.id = g.journal_id
        CROSS JOIN LATERAL (VALUES
            ('rounding', NULL::uuid, CASE WHEN g.source = 'rounding' THEN g.amount ELSE 0 END),
            ('client_credit', coalesce(i.client_id, i.id), CASE
                WHEN g.source = 'client_credit' OR j.kind = 'credit_back' AND {STANDING} THEN g.amount ELSE 0
            END)
        ) AS each (kind, owner_id, amount)
        WHERE g.merchant_id = :merchant_id AND (g.source <> 'payment' OR j.kind = 'credit_back')
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT p.network, p.asset, each.kind, each.owner_id, sum(each.amount)
        FROM payments p
        CROSS JOIN LATERAL (VALUES
            ('wallet', p.wallet_id, p.amount),
            ('suspense', NULL, CASE WHEN p.status <> 'CONFIRMED' THEN {FROM_SUSPENSE} - p.amount ELSE 0 END)
        ) AS each (kind, owner_id, amount)
        WHERE p.merchant_id = :merchant_id AND p.status <> 'REVERSED' AND p.reason IS DISTINCT FROM 'self_payment'
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT f.network, f.asset, each.kind, each.owner_id, sum(each.amount)
        FROM refunds f
        JOIN payments p ON p.id = f.payment_id
        CROSS JOIN LATERAL (VALUES
            ('wallet', f.wallet_id, -f.amount),
            ('client_credit', coalesce(p.client_id, p.invoice_id), f.from_credit),
            ('refunds', NULL, f.from_revenue)
        ) AS each (kind, owner_id, amount)
        WHERE f.merchant_id = :merchant_id AND f.status = 'COMPLETED' AND each.amount <> 0
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT k.network, k.asset, each.kind, each.owner_id, sum(each.amount)
        FROM clawbacks k
        CROSS JOIN LATERAL (VALUES ('wallet', k.wallet_id, -k.amount), ('write_off', NULL, k.amount))
            AS each (kind, owner_id, amount)
        WHERE k.merchant_id = :merchant_id AND k.payment_id IS NULL
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT x.network, x.asset, 'external', NULL, sum(x.amount)
        FROM external_payments x
        JOIN ledger_journals j
            ON j.merchant_id = x.merchant_id AND j.reference_id = x.id AND j.kind = 'external' AND {STANDING}
        WHERE x.merchant_id = :merchant_id
        GROUP BY 1, 2
    ), held AS (
        SELECT a.id, a.network, a.asset, a.kind, a.owner_id, b.balance
        FROM ledger_accounts a
        JOIN account_balances b ON b.account_id = a.id
        WHERE a.merchant_id = :merchant_id
    )
    SELECT network, asset, kind, owner_id, held.id, coalesce(held.balance, 0) AS balance,
        coalesce(fact.total, 0) AS total
    FROM (
        SELECT network, asset, kind, coalesce(owner_id, :nobody) AS owner_id, sum(total) AS total
        FROM facts
        GROUP BY 1, 2, 3, 4
    ) AS fact
    FULL JOIN (SELECT id, network, asset, kind, coalesce(owner_id, :nobody) AS owner_id, balance FROM held) AS held
        USING (network, asset, kind, owner_id)
    WHERE coalesce(held.balance, 0) <> coalesce(fact.total, 0) OR held.id = ANY(:corrected)
    """  # noqa: S608  every part is written here
)
_NOBODY = UUID(int=0)
ACCOUNTS = text(
    """
    SELECT a.id, a.kind, coalesce(b.balance, 0) AS balance, (
        SELECT coalesce(sum(CASE e.side WHEN 'DEBIT' THEN e.amount ELSE -e.amount END), 0)
        FROM ledger_entries e
        WHERE e.account_id = a.id
    ) AS entered
    FROM ledger_accounts a
    LEFT JOIN account_balances b ON b.account_id = a.id
    WHERE a.merchant_id = :merchant_id AND a.id > :after
    ORDER BY a.id
    LIMIT :limit
    """
)


def check_balances(merchant_id: UUID, found: Corrections) -> Iterator[Difference]:
    """Yield the accounts of a merchant whose balance is not what the facts add up to."""
    corrected = {
        account_id(
            merchant_id=merchant_id, network=network, asset=asset, kind=kind, owner_id=owner_id
        ): amount
        for (network, asset, kind, owner_id), amount in found.accounts.items()
        if amount != 0
    }
    db.session.execute(text("SET LOCAL statement_timeout = 0"))
    rows = db.session.execute(
        _FACTS, {"merchant_id": merchant_id, "corrected": list(corrected), "nobody": _NOBODY}
    )
    for row in rows:
        owner = None if row.owner_id == _NOBODY else row.owner_id
        key = row.id or account_id(
            merchant_id=merchant_id, network=row.network, asset=row.asset, kind=row.kind, owner_id=owner
        )
        derived = row.total + corrected.get(key, Decimal(0))
        if row.balance != derived:
            yield Difference(to_ref("acc", key), f"{row.kind} balance", units(row.balance), units(derived))


def check_entries(row: Any) -> Iterator[Difference]:
    """Yield an account whose balance is not the sum of its entries."""
    if row.balance != row.entered:
        yield Difference(to_ref("acc", row.id), f"{row.kind} balance", units(row.balance), units(row.entered))
