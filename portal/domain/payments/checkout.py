"""What the payer's page shows, read in two statements from the token alone (design, section 12, T2)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from portal.domain.invoices.queries import InvoiceNotFound
from portal.domain.payments.looks import LOOKS, SCOPES, SEEN_AT
from portal.extensions import db

PAYMENTS_SHOWN_MAX = 20
# A token nobody has takes the same two statements as one that has no page, so their time tells nothing.
_NOBODY = UUID(int=0)

# Finds the tenant and enters it in one statement: the setting ends with the transaction.
_RESOLVE = text(
    """
    SELECT r.merchant_id, r.invoice_id, set_config('app.merchant_id', CAST(r.merchant_id AS text), true)
    FROM resolve_checkout(:token) AS r
    """
)

# Amounts inside JSON are text: a JSON number would reach Python as a float. Not the ORM, because this is
# the path that strangers load most, and entities alone would cost more than the page.
_CHECKOUT = text(
    f"""
    SELECT
        i.merchant_id, i.id AS invoice_id, i.network, i.number, i.status, i.asset, i.subtotal, i.amount,
        i.amount_received, i.overpaid_by, i.flags, i.description, i.pay_ref, i.destination, i.issued_at,
        i.due_at, i.expires_at, i.paid_at, i.closed_at, m.name AS merchant_name, m.time_zone, m.late_policy,
        (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                t.description, CAST(t.quantity AS text), CAST(t.unit_price AS text), CAST(t.total AS text)
            ) ORDER BY t.position), '[]')
            FROM invoice_items t
            WHERE t.merchant_id = i.merchant_id AND t.invoice_id = i.id
        ) AS items,
        (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                t.label, CAST(t.percent AS text), CAST(t.total AS text)
            ) ORDER BY t.position), '[]')
            FROM discount_lines t
            WHERE t.merchant_id = i.merchant_id AND t.invoice_id = i.id
        ) AS discounts,
        (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                t.label, CAST(t.percent AS text), CAST(t.total AS text)
            ) ORDER BY t.position), '[]')
            FROM tax_lines t
            WHERE t.merchant_id = i.merchant_id AND t.invoice_id = i.id
        ) AS taxes,
        (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                p.canonical_hash, p.closed_at, CAST(p.amount AS text)
            ) ORDER BY p.closed_at, p.canonical_hash), '[]')
            FROM (
                SELECT c.canonical_hash, c.closed_at, sum(
                    CASE WHEN y.decided_at IS NULL THEN y.amount ELSE given.amount END
                ) AS amount
                FROM payments y
                JOIN chain_transactions c ON c.id = y.transaction_id
                CROSS JOIN LATERAL (
                    SELECT coalesce(sum(g.amount), 0) AS amount FROM allocations g
                    WHERE g.source_id = y.id AND g.invoice_id = i.id AND g.source = 'payment'
                ) AS given
                WHERE y.merchant_id = i.merchant_id AND y.status = 'CONFIRMED'
                    AND (y.decided_at IS NULL OR given.amount > 0)
                    AND y.id IN (
                        SELECT n.id FROM payments n WHERE n.merchant_id = i.merchant_id AND n.invoice_id = i.id
                        UNION
                        SELECT g.source_id FROM allocations g WHERE g.invoice_id = i.id AND g.source = 'payment'
                    )
                GROUP BY c.canonical_hash, c.closed_at
                ORDER BY c.closed_at DESC
                LIMIT :payments_most
            ) AS p
        ) AS payments,
        latest.state AS latest_state, latest.code AS latest_code, latest.started_at AS latest_started_at,
        asked.state AS asked_state, asked.code AS asked_code, asked.rules AS asked_rules,
        asked.transaction_hash AS asked_hash,
        {SEEN_AT} AS watcher_seen_at
    FROM invoices i
    JOIN merchants m ON m.id = i.merchant_id
    {LOOKS.format(network="i.network", address="i.destination")}
    LEFT JOIN LATERAL (
        SELECT s.state, s.code, s.started_at FROM submissions s
        WHERE s.merchant_id = i.merchant_id AND s.invoice_id = i.id
        ORDER BY s.updated_at DESC, s.id DESC
        LIMIT 1
    ) AS latest ON true
    LEFT JOIN submissions asked
        ON asked.merchant_id = i.merchant_id AND asked.invoice_id = i.id AND asked.id = :submission_id
    WHERE i.merchant_id = :merchant_id AND i.id = :invoice_id AND i.status <> 'DRAFT'
    """  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill; `quantity` and `unit_price` are None for discounts and taxes, `percent` for the rest."""

    text: str
    total: Decimal
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one transaction paid towards the invoice."""

    transaction_hash: str
    closed_at: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Claim:
    """A submitted hash; `rules` are the results kept with it, empty where only the state is needed."""

    state: str
    code: str | None
    started_at: datetime | None = None
    transaction_hash: str = ""
    rules: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Checkout:
    """An issued invoice as its payer sees it; amounts in units of `asset`."""

    merchant_id: UUID
    invoice_id: UUID
    merchant_name: str
    time_zone: str
    network: str
    number: str
    status: str
    asset: str
    subtotal: Decimal
    amount: Decimal
    amount_received: Decimal
    overpaid_by: Decimal
    flags: frozenset[str]
    description: str
    pay_ref: int
    destination: str
    due_at: datetime | None
    expires_at: datetime
    paid_at: datetime | None
    closed_at: datetime | None
    items: tuple[Line, ...]
    discounts: tuple[Line, ...]
    taxes: tuple[Line, ...]
    payments: tuple[Receipt, ...]
    latest: Claim | None
    asked: Claim | None
    watcher_seen_at: datetime | None
    accepts_late: bool = True

    @property
    def is_owed_again(self) -> bool:
        """Whether it was paid and money was taken back since: it stays PAID and can be paid again."""
        return self.status == "PAID" and self.amount_received < self.amount


def get_checkout(*, token: str, submission_id: UUID | None = None) -> Checkout:
    """Return what `token` opens, with submission `submission_id` if it is one of this invoice's.

    Uses a connection of its own, so the session's tenant is neither needed nor changed.

    :raises InvoiceNotFound: for a token nobody has and, no different from outside, for a draft's.
    """
    with db.engine.connect() as connection:
        row = _read(connection, token, submission_id)
    if row is None:
        raise InvoiceNotFound("No such invoice.")
    return Checkout(
        merchant_id=row.merchant_id,
        invoice_id=row.invoice_id,
        merchant_name=row.merchant_name,
        time_zone=row.time_zone,
        network=row.network,
        number=row.number,
        status=row.status,
        asset=row.asset,
        subtotal=row.subtotal,
        amount=row.amount,
        amount_received=row.amount_received,
        overpaid_by=row.overpaid_by,
        flags=frozenset(row.flags),
        description=row.description,
        pay_ref=row.pay_ref,
        destination=row.destination,
        due_at=row.due_at,
        expires_at=row.expires_at,
        paid_at=row.paid_at,
        closed_at=row.closed_at,
        items=tuple(
            Line(words, Decimal(total), quantity=Decimal(quantity), unit_price=Decimal(price))
            for words, quantity, price, total in row.items
        ),
        discounts=_adjustments(row.discounts),
        taxes=_adjustments(row.taxes),
        payments=tuple(
            Receipt(found, datetime.fromisoformat(closed_at), Decimal(amount))
            for found, closed_at, amount in row.payments
        ),
        latest=None
        if row.latest_state is None
        else Claim(row.latest_state, row.latest_code, row.latest_started_at),
        asked=_asked(row),
        watcher_seen_at=row.watcher_seen_at,
        accepts_late=row.late_policy == "accept",
    )


def _read(connection: Connection, token: str, submission_id: UUID | None) -> Any:
    owner = connection.execute(_RESOLVE, {"token": token}).one_or_none()
    return connection.execute(
        _CHECKOUT,
        {
            "merchant_id": _NOBODY if owner is None else owner.merchant_id,
            "invoice_id": _NOBODY if owner is None else owner.invoice_id,
            "submission_id": submission_id or _NOBODY,
            "payments_most": PAYMENTS_SHOWN_MAX,
        }
        | SCOPES,
    ).one_or_none()


def _adjustments(rows: list[list[str | None]]) -> tuple[Line, ...]:
    return tuple(
        Line(label or "", Decimal(total or 0), percent=None if percent is None else Decimal(percent))
        for label, percent, total in rows
    )


def _asked(row: Any) -> Claim | None:
    if row.asked_state is None:
        return None
    rules = tuple((str(rule["code"]), bool(rule["ok"])) for rule in row.asked_rules)
    return Claim(row.asked_state, row.asked_code, None, row.asked_hash, rules)
