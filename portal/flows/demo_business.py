"""What a first look at the portal shows: clients, and invoices in every state, some really paid.

For `seed` alone: the payer's transactions are signed and sent by the caller, through `pay`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from portal.db import run_transaction
from portal.domain.clients import rules as client_rules
from portal.domain.clients import service as clients
from portal.domain.clients.models import Client
from portal.domain.invoices import service as invoices
from portal.domain.invoices.announcements import WrittenInvoice
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.rules import Discount, Draft, Item, Tax
from portal.flows.issue_invoice import create_invoice
from portal.flows.submit_hash import submit_hash

# Sends this amount (asset units) for an invoice, with its reference or without, and returns the hash.
Pay = Callable[[Invoice, Decimal, bool], str]

_CLIENTS = (
    ("Rina Wulandari", "rina@kopi-senja.example.com", "Kopi Senja"),
    ("Farid Haddad", "farid@oasis.example.com", "Oasis Trading"),
    ("Mei Tanaka", "mei@hoshi.example.com", "Hoshi Roasters"),
)


def open_invoice(*, merchant_id: UUID, network: str, now: datetime) -> WrittenInvoice:
    """Issue the invoice whose checkout link `seed` prints."""
    draft = Draft(
        asset="native",
        items=(
            Item("Arabica beans, 1 kg", Decimal(3), Decimal("4.5")),
            Item("Delivery", Decimal(1), Decimal(2)),
        ),
        description="Arabica beans, 3 kg",
        taxes=(Tax("PPN", Decimal(11)),),
    )
    return create_invoice(merchant_id=merchant_id, network=network, draft=draft, now=now, issue=True)


def fill_business(*, merchant_id: UUID, network: str, pay: Pay, now: datetime) -> None:
    """Write clients and invoices, pay one whole and one in part, and let some money come without a reference."""
    known = [_client(merchant_id, *each, now=now) for each in _CLIENTS]

    def issue(what: str, price: str, client: Client, *, is_issued: bool = True) -> Invoice:
        draft = Draft(
            asset="native",
            items=(Item(what, Decimal(1), Decimal(price)),),
            description=what,
            client_id=client.id,
            discounts=(Discount("Loyal customer", percent=Decimal(5)),) if client is known[0] else (),
            due_at=now + timedelta(days=14),
        )
        return create_invoice(
            merchant_id=merchant_id, network=network, draft=draft, now=now, issue=is_issued
        ).invoice

    paid = issue("Barista class, 2 seats", "90", known[0])
    partly = issue("Grinder rental, November", "148.5", known[1])
    cancelled = issue("Tasting evening", "30", known[2])
    issue("Cold brew, 24 bottles", "64", known[2])
    issue("Espresso machine service", "220", known[1], is_issued=False)
    run_transaction(lambda: invoices.cancel(merchant_id=merchant_id, invoice_id=cancelled.id, now=now))
    for invoice, amount in ((paid, paid.amount), (partly, Decimal(60))):
        text = pay(invoice, amount, True)
        submit_hash(
            merchant_id=merchant_id, network=network, invoice_id=invoice.id, text=text, origin="seed", now=now
        )
    text = pay(partly, Decimal(7), False)
    submit_hash(
        merchant_id=merchant_id, network=network, invoice_id=partly.id, text=text, origin="seed", now=now
    )


def _client(merchant_id: UUID, name: str, email: str, company: str, *, now: datetime) -> Client:
    details = client_rules.details(name=name, email=email, company=company)
    return run_transaction(lambda: clients.create(merchant_id=merchant_id, details=details, now=now))
