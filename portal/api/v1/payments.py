"""Payments: what the chain brought, with the rules that decided each."""

from flask import Blueprint, Response, g

from portal.api.v1 import shapes
from portal.api.v1.answers import show
from portal.api.v1.contract import api_access
from portal.api.v1.paging import cursor_of, list_document, place_of
from portal.api.v1.reading import read_query
from portal.api.v1.schemas import PaymentQuery
from portal.domain.payments import queries
from portal.domain.payments.documents import payment_document
from portal.kernel.refs import from_ref

bp = Blueprint("api_payments", __name__)


@bp.get("/payments")
@api_access(
    "payments:read",
    summary="List payments, newest first",
    query=PaymentQuery,
    answers={200: shapes.PaymentList},
)
def list_payments() -> Response:
    wanted = read_query(PaymentQuery)
    page = queries.list_page(
        merchant_id=g.api_key.merchant_id,
        network=g.api_key.network,
        status=wanted.status,
        after=place_of("pay", wanted.cursor),
        limit=wanted.limit,
    )
    ids = [seen.payment.id for seen in page.payments]
    allocations = queries.list_allocations(merchant_id=g.api_key.merchant_id, payment_ids=ids)
    data = [
        payment_document(seen.payment, seen.transaction, allocations[seen.payment.id])
        for seen in page.payments
    ]
    return show(list_document(data, cursor_of("pay", page.next_after)))


@bp.get("/payments/<ref>")
@api_access("payments:read", summary="Show a payment", answers={200: shapes.Payment}, refusals=(404,))
def show_payment(ref: str) -> Response:
    subject = {"merchant_id": g.api_key.merchant_id, "payment_id": from_ref("pay", ref)}
    seen = queries.get(**subject)
    return show(payment_document(seen.payment, seen.transaction, queries.allocations_of(**subject)))
