"""What accounts and entries are about, in words for pages: whose an account is, which fact a journal books."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from portal.domain.clients.models import Client
from portal.domain.invoices.models import Invoice
from portal.domain.ledger.statements import Account, Entry
from portal.domain.merchants.models import Wallet
from portal.domain.payments.models import ExternalPayment, Payment
from portal.extensions import db
from portal.kernel.refs import to_ref

OF_INVOICES = frozenset({"issue", "close", "credit"})


@dataclass(frozen=True, slots=True)
class Named:
    """A thing with a page: `kind` is wallet, client, invoice, payment or refund; `ref` is what its page is known by."""

    kind: str
    label: str
    ref: str


def owners_of(*, merchant_id: UUID, accounts: Sequence[Account]) -> dict[UUID, Named]:
    """Return whose accounts these are, by owner; merchants' own accounts have none."""
    wallets = {each.owner_id for each in accounts if each.kind == "wallet"}
    others = {each.owner_id for each in accounts if each.kind != "wallet"} - {None}
    found: dict[UUID, Named] = {}
    if wallets:
        rows = db.session.execute(
            select(Wallet.id, Wallet.address).where(Wallet.merchant_id == merchant_id, Wallet.id.in_(wallets))
        )
        found |= {row.id: Named("wallet", row.address, row.address) for row in rows}
    if others:
        rows = db.session.execute(
            select(Client.id, Client.name).where(Client.merchant_id == merchant_id, Client.id.in_(others))
        )
        found |= {row.id: Named("client", row.name, to_ref("cli", row.id)) for row in rows}
        found |= _invoices(merchant_id, others - set(found))
    return found


def references_of(*, merchant_id: UUID, entries: Iterable[Entry]) -> dict[UUID, Named]:
    """Return the facts that journals book, by reference; what is named by none is left out."""
    by_kind: dict[str, set[UUID]] = {}
    for entry in entries:
        group = "invoice" if entry.kind in OF_INVOICES else entry.kind
        by_kind.setdefault(group, set()).add(entry.reference_id)
    invoices = by_kind.pop("invoice", set())
    refunds = by_kind.pop("refund", set())
    externals = by_kind.pop("external", set())
    by_kind.pop("clawback", None)
    payments = set().union(*by_kind.values()) if by_kind else set()
    found = {each: Named("refund", "Refund", to_ref("rfd", each)) for each in refunds}
    if invoices:
        found |= _invoices(merchant_id, invoices)
    if externals:
        rows = db.session.execute(
            select(ExternalPayment.id, Invoice.id, Invoice.number)
            .join(Invoice, Invoice.id == ExternalPayment.invoice_id)
            .where(ExternalPayment.merchant_id == merchant_id, ExternalPayment.id.in_(externals))
        )
        found |= {row[0]: Named("invoice", str(row[2]), to_ref("inv", row[1])) for row in rows}
    if payments:
        paid = db.session.execute(
            select(Payment.id, Invoice.number)
            .outerjoin(Invoice, Invoice.id == Payment.invoice_id)
            .where(Payment.merchant_id == merchant_id, Payment.id.in_(payments))
        )
        found |= {row[0]: Named("payment", _payment_label(row[1]), to_ref("pay", row[0])) for row in paid}
    return found


def _invoices(merchant_id: UUID, ids: Iterable[UUID | None]) -> dict[UUID, Named]:
    wanted = [each for each in ids if each is not None]
    if not wanted:
        return {}
    rows = db.session.execute(
        select(Invoice.id, Invoice.number).where(Invoice.merchant_id == merchant_id, Invoice.id.in_(wanted))
    )
    return {row.id: Named("invoice", row.number, to_ref("inv", row.id)) for row in rows}


def _payment_label(number: str | None) -> str:
    return f"Payment for {number}" if number else "Payment"
