"""What happens to invoices in the tests of the payer's page, written through the real services."""

from datetime import datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

from portal.db import run_transaction
from portal.domain.invoices import service as invoices
from portal.domain.invoices.rules import Discount, Item, Tax
from portal.domain.merchants.models import Merchant
from portal.domain.payments import service as payments
from portal.domain.payments import submissions
from portal.extensions import db
from portal.kernel.clock import utc_now
from tests.support.builders import NETWORK, make_transfer

LINES: dict[str, Any] = {
    "items": (
        Item("Arabica Gayo, 1 kg", Decimal(3), Decimal(42)),
        Item("Delivery, Bandung", Decimal(1), Decimal(15)),
    ),
    "discounts": (Discount("Voucher KOPI5", percent=Decimal(5)),),
    "taxes": (Tax("PPN", Decimal(11)),),
}


def pay(
    shop, invoice, *, amount: str | None = None, closed_at: datetime | None = None, **changes: Any
) -> str:
    """Record a transfer as the watcher would and return its hash."""
    closed = closed_at or (invoice.issued_at + timedelta(seconds=30))
    transfer = make_transfer(invoice, amount=amount, closed_at=closed, **changes)
    shop.enter()
    run_transaction(
        lambda: payments.record_transaction(
            merchant=db.session.get_one(Merchant, shop.id),
            network=NETWORK,
            transaction=transfer,
            now=utc_now(),
        )
    )
    return transfer.canonical_hash


def expire(shop, invoice) -> None:
    late = invoice.expires_at + timedelta(seconds=1)
    shop.enter()
    assert run_transaction(lambda: invoices.expire(merchant_id=shop.id, invoice_id=invoice.id, now=late))


def cancel(shop, invoice) -> None:
    shop.enter()
    run_transaction(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=invoice.id, now=utc_now()))


def claim(shop, invoice, *, state: str, code: str | None = None, rules: tuple = (), text: str = "ab" * 32):
    """Write a submission in a given state and return its id."""
    shop.enter()

    def write():
        found = submissions.open_submission(
            merchant_id=shop.id,
            network=NETWORK,
            invoice_id=invoice.id,
            transaction_hash=text,
            origin="page",
            now=utc_now(),
        )
        found.state, found.code, found.rules = state, code, list(rules)
        return found.id

    return run_transaction(write)


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.skipping = 0

    def handle_starttag(self, tag, attrs):
        self.skipping += tag in ("script", "noscript", "head")
        if tag not in ("a", "bdi", "span", "strong", "time"):
            self.parts.append(" ")

    def handle_endtag(self, tag):
        self.skipping -= tag in ("script", "noscript", "head")

    def handle_data(self, data):
        if not self.skipping:
            self.parts.append(data)


def words_of(response) -> str:
    """Return the page as somebody reads it: no markup, one space between words."""
    parser = _Words()
    parser.feed(response.get_data(as_text=True))
    return " ".join("".join(parser.parts).replace("\u00a0", " ").split())
