"""Journals and allocations of money for invoices: every booking is an insert, every correction a reversal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import aliased

from portal.db import tenant
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.receipts import debtor_of
from portal.domain.ledger import queries as books
from portal.domain.ledger import rules as postings
from portal.domain.ledger import service as ledger
from portal.domain.payments.models import Allocation, Payment
from portal.domain.payments.settling import Share
from portal.extensions import db
from portal.kernel.money import from_stroops
from portal.kernel.refs import new_id


@dataclass(frozen=True, slots=True)
class Desk:
    """Whose books are written, and the moment that everything written together bears."""

    merchant_id: UUID
    network: str
    now: datetime

    def post(self, kind: str, asset: str, reference_id: UUID, lines: list[postings.Posting]) -> UUID:
        return ledger.post(
            merchant_id=self.merchant_id,
            network=self.network,
            asset=asset,
            kind=kind,
            reference_id=reference_id,
            postings=lines,
            at=self.now,
        )

    def reverse(self, journal_id: UUID) -> UUID:
        return ledger.reverse(merchant_id=self.merchant_id, journal_id=journal_id, at=self.now)

    def allocate(
        self, invoice: Invoice, *, source: str, source_id: UUID, amount: Decimal, journal_id: UUID
    ) -> Allocation:
        """Give money to an invoice; its `amount_received` is the caller's to move along."""
        return self._insert(invoice.id, source, source_id, amount, journal_id, None)

    def take_back(self, allocation: Allocation, journal_id: UUID) -> Allocation:
        """Take an allocation back under the journal that books it; a second time is refused by the database."""
        return self._insert(
            allocation.invoice_id,
            allocation.source,
            allocation.source_id,
            -allocation.amount,
            journal_id,
            allocation.id,
        )

    def _insert(
        self,
        invoice_id: UUID,
        source: str,
        source_id: UUID,
        amount: Decimal,
        journal_id: UUID,
        reverses_id: UUID | None,
    ) -> Allocation:
        values = {
            "id": new_id(),
            "merchant_id": self.merchant_id,
            "network": self.network,
            "invoice_id": invoice_id,
            "source": source,
            "source_id": source_id,
            "amount": amount,
            "journal_id": journal_id,
            "reverses_id": reverses_id,
            "created_at": self.now,
        }
        db.session.execute(insert(Allocation), values)
        return Allocation(**values)


def book_share(desk: Desk, payment: Payment, invoice: Invoice, share: Share) -> list[Allocation]:
    """Book what a payment gives the invoice its reference names, and the rest that is forgiven with it."""
    allocated, rounding = from_stroops(share.allocated_stroops), from_stroops(share.rounding_stroops)
    debtor = debtor_of(invoice)
    lines = postings.allocation_postings(
        wallet_id=payment.wallet_id,
        debtor_id=debtor,
        allocated=allocated,
        excess=from_stroops(share.excess_stroops),
    )
    journal_id = desk.post("allocation", payment.asset, payment.id, lines)
    booked = []
    if allocated > 0:
        booked.append(
            desk.allocate(
                invoice, source="payment", source_id=payment.id, amount=allocated, journal_id=journal_id
            )
        )
    if rounding > 0:
        lines = postings.short_postings(debtor_id=debtor, rest=rounding)
        short_id = desk.post("short", payment.asset, payment.id, lines)
        booked.append(
            desk.allocate(
                invoice, source="rounding", source_id=payment.id, amount=rounding, journal_id=short_id
            )
        )
    return booked


def unbook(desk: Desk, payment: Payment, kinds: Sequence[str]) -> None:
    """Reverse the standing journals of these kinds that name the payment, with the allocations under them."""
    live = {
        allocation.journal_id: allocation
        for allocation in live_allocations(desk.merchant_id, source_id=payment.id)
    }
    for journal_id, reversal_id in unbook_fact(desk, payment.id, kinds):
        if journal_id in live:
            desk.take_back(live[journal_id], reversal_id)


def unbook_fact(desk: Desk, reference_id: UUID, kinds: Sequence[str]) -> list[tuple[UUID, UUID]]:
    """Reverse the standing journals of these kinds about one fact and return (journal, its reversal)."""
    standing = books.list_standing(merchant_id=desk.merchant_id, reference_id=reference_id, kinds=kinds)
    return [(journal_id, desk.reverse(journal_id)) for journal_id in standing]


def live_allocations(
    merchant_id: UUID, *, source_id: UUID | None = None, invoice_id: UUID | None = None
) -> list[Allocation]:
    """Return the allocations of a source or to an invoice that were not taken back, oldest first."""
    reversal = aliased(Allocation)
    statement = tenant(Allocation, merchant_id).where(
        Allocation.reverses_id.is_(None),
        ~select(reversal.id).where(reversal.reverses_id == Allocation.id).exists(),
    )
    if source_id is not None:
        statement = statement.where(Allocation.source_id == source_id)
    if invoice_id is not None:
        statement = statement.where(Allocation.invoice_id == invoice_id)
    return list(db.session.scalars(statement.order_by(Allocation.id)))
