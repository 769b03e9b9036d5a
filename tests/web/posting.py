"""People who open the merchant's pages: they read, and send forms with the CSRF token of an opened page.

Requests run outside any app context of the test, so that each has its own session, user and tenant.
"""

import re
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.db import run_transaction
from portal.domain.clients import rules as client_rules
from portal.domain.clients import service as client_service
from portal.domain.invoices.models import Invoice
from portal.domain.merchants.models import Merchant
from portal.domain.payments import service as payment_service
from portal.extensions import db
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref, to_ref
from tests.support.builders import NETWORK, Shop, make_invoice, make_shop, make_transfer, sign_in

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


@dataclass
class Visitor:
    """A signed-in person; pages come back as text, forms as responses."""

    app: Flask
    shop: Shop
    client: FlaskClient

    def get(self, path: str, *, status: int = 200) -> str:
        response = self.client.get(path)
        assert response.status_code == status, f"{path}: {response.status_code}"
        return response.get_data(as_text=True)

    def send(self, path: str, typed: dict[str, Any] | None = None, *, page: str = "/clients") -> TestResponse:
        """POST `typed` to `path` with the token of `page`, any page that holds a form."""
        token = _TOKEN.search(self.get(page))
        assert token is not None, f"{page} has no form"
        return self.client.post(path, data={"csrf_token": token[1], **(typed or {})})

    def refused(self, path: str, typed: dict[str, Any]) -> str:
        """Send a form that must be refused beside its fields and return the page that says so."""
        response = self.send(path, typed)
        assert response.status_code == 422, response.status_code
        return response.get_data(as_text=True)


def visit(app: Flask, shop: Shop | None = None) -> Visitor:
    """Return the owner of `shop`, or of a shop of its own, signed in."""
    if shop is None:
        with app.app_context():
            shop = make_shop()
    client = app.test_client()
    sign_in(client, shop)
    return Visitor(app, shop, client)


def write_invoice(app: Flask, shop: Shop, **fields: Any) -> str:
    """Write an invoice now and return its ref."""
    with app.app_context():
        return to_ref("inv", make_invoice(shop, **{"now": utc_now(), **fields}).id)


def write_client(app: Flask, shop: Shop, **fields: Any) -> str:
    details = client_rules.details(**{"name": "Rina Hartono", "email": "rina@kopi.example", **fields})
    with app.app_context():
        shop.enter()
        client = run_transaction(
            lambda: client_service.create(merchant_id=shop.id, details=details, now=utc_now())
        )
        return to_ref("cli", client.id)


def pay(
    app: Flask, shop: Shop, *, amount: str = "90", paid: str | None = None, **transfer: Any
) -> tuple[str, str]:
    """Issue an invoice, record a transaction that pays it, and return the refs of invoice and payment."""
    ref = write_invoice(app, shop, amount=amount)
    return ref, pay_for(app, shop, ref, paid, **transfer)


def pay_for(app: Flask, shop: Shop, ref: str, paid: str | None = None, **transfer: Any) -> str:
    """Record a transaction that pays an invoice, all of it unless `paid` says how much, as the worker would."""
    with app.app_context():
        shop.enter()
        invoice = db.session.get_one(Invoice, from_ref("inv", ref))
        seen = make_transfer(invoice, amount=paid, **{"closed_at": utc_now(), **transfer})

        def work() -> str:
            merchant = db.session.get_one(Merchant, shop.id)
            recorded = payment_service.record_transaction(
                merchant=merchant, network=NETWORK, transaction=seen, now=utc_now()
            )
            return to_ref("pay", recorded.payments[0].id)

        return run_transaction(work)
