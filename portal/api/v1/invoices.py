"""Invoices: create, list, show, change a draft, issue, cancel."""

from datetime import datetime
from uuid import UUID

from flask import Blueprint, Response, g
from sqlalchemy.exc import IntegrityError

from portal.api.v1 import shapes
from portal.api.v1.answers import answer, respond_once, show
from portal.api.v1.contract import api_access
from portal.api.v1.drafts import ClientUnknown, client_maker, draft_changed, draft_from
from portal.api.v1.errors import of_integrity
from portal.api.v1.paging import cursor_of, list_document, place_of
from portal.api.v1.reading import read_attempt, read_body, read_no_body, read_query
from portal.api.v1.schemas import InlineClient, InvoiceCreate, InvoiceQuery, InvoiceUpdate
from portal.db import run_transaction
from portal.domain.clients import queries as clients
from portal.domain.clients.models import Client
from portal.domain.idempotency.rules import KeptAnswer
from portal.domain.invoices import queries, service
from portal.domain.invoices.announcements import WrittenInvoice
from portal.domain.invoices.documents import invoice_document, invoice_summary
from portal.domain.merchants import queries as merchants
from portal.flows import issue_invoice as flow
from portal.flows.once import Hooks, Outcome, answer_once
from portal.kernel.clock import parse_iso, utc_now
from portal.kernel.refs import from_ref

bp = Blueprint("api_invoices", __name__)


@bp.post("/invoices")
@api_access(
    "invoices:write",
    summary="Create an invoice, and issue it if asked",
    body=InvoiceCreate,
    answers={201: shapes.Invoice},
    refusals=(409, 422),
)
def create_invoice() -> Response:
    wanted = read_body(InvoiceCreate)
    return respond_once(_create(wanted, utc_now()))


@bp.get("/invoices")
@api_access(
    "invoices:read",
    summary="List invoices, newest first",
    query=InvoiceQuery,
    answers={200: shapes.InvoiceList},
)
def list_invoices() -> Response:
    wanted = read_query(InvoiceQuery)
    page = queries.list_page(
        merchant_id=g.api_key.merchant_id,
        network=g.api_key.network,
        filters=queries.Filters(
            status=wanted.status,
            client_id=None if wanted.client is None else from_ref("cli", wanted.client),
            text=wanted.q,
            created_after=None if wanted.created_after is None else parse_iso(wanted.created_after),
        ),
        after=place_of("inv", wanted.cursor),
        limit=wanted.limit,
    )
    data = [invoice_summary(invoice) for invoice in page.invoices]
    return show(list_document(data, cursor_of("inv", page.next_after)))


@bp.get("/invoices/<ref>")
@api_access("invoices:read", summary="Show an invoice", answers={200: shapes.Invoice}, refusals=(404,))
def show_invoice(ref: str) -> Response:
    subject = {"merchant_id": g.api_key.merchant_id, "invoice_id": from_ref("inv", ref)}
    invoice = queries.get(**subject)
    lines = queries.lines_of(**subject)
    return show(invoice_document(invoice, lines.items, lines.discounts, lines.taxes))


@bp.patch("/invoices/<ref>")
@api_access(
    "invoices:write",
    summary="Change a draft",
    body=InvoiceUpdate,
    answers={200: shapes.Invoice},
    refusals=(404, 409, 422),
)
def update_invoice(ref: str) -> Response:
    wanted = read_body(InvoiceUpdate)
    subject = {"merchant_id": g.api_key.merchant_id, "invoice_id": from_ref("inv", ref)}

    def work() -> WrittenInvoice:
        queries.get_for_update(**subject)
        draft = draft_changed(service.draft_of(**subject), wanted)
        merchant = merchants.get_merchant(merchant_id=subject["merchant_id"])
        client = None if draft.client_id is None else _client(draft.client_id)
        return service.update_draft(
            merchant=merchant, invoice_id=subject["invoice_id"], draft=draft, client=client, now=utc_now()
        )

    return show(run_transaction(work).document)


@bp.post("/invoices/<ref>/issue")
@api_access("invoices:write", summary="Issue a draft", answers={200: shapes.Invoice}, refusals=(404, 409))
def issue_invoice(ref: str) -> Response:
    read_no_body()
    now = utc_now()
    invoice_id = from_ref("inv", ref)

    def effect(hooks: Hooks) -> None:
        flow.issue_invoice(
            merchant_id=g.api_key.merchant_id,
            network=g.api_key.network,
            invoice_id=invoice_id,
            now=now,
            prepare=hooks.prepare,
            finish=lambda written: hooks.finish(answer(200, written.document)),
        )

    return respond_once(answer_once(read_attempt(), effect, now=now, asks_network=True))


@bp.post("/invoices/<ref>/cancel")
@api_access(
    "invoices:write", summary="Cancel a pending invoice", answers={200: shapes.Invoice}, refusals=(404, 409)
)
def cancel_invoice(ref: str) -> Response:
    read_no_body()
    now = utc_now()
    invoice_id = from_ref("inv", ref)

    def effect(hooks: Hooks) -> None:
        def work() -> None:
            hooks.prepare()
            written = service.cancel(merchant_id=g.api_key.merchant_id, invoice_id=invoice_id, now=now)
            hooks.finish(answer(200, written.document))

        run_transaction(work)

    return respond_once(answer_once(read_attempt(), effect, now=now))


def _create(wanted: InvoiceCreate, now: datetime) -> Outcome:
    merchant_id = g.api_key.merchant_id
    asset = wanted.asset or merchants.get_merchant(merchant_id=merchant_id).default_asset
    draft = draft_from(wanted, asset=asset)
    given = wanted.client
    make_client = (
        client_maker(given, merchant_id=merchant_id, now=now) if isinstance(given, InlineClient) else None
    )

    def effect(hooks: Hooks) -> None:
        flow.create_invoice(
            merchant_id=merchant_id,
            network=g.api_key.network,
            draft=draft,
            now=now,
            issue=wanted.issue,
            prepare=hooks.prepare,
            finish=lambda written: hooks.finish(_created(written)),
            make_client=make_client,
        )

    try:
        return answer_once(read_attempt(), effect, now=now, asks_network=wanted.issue)
    except IntegrityError as failure:
        known = of_integrity(failure)
        if known is None:
            raise
        raise known from failure
    except clients.ClientNotFound as unknown:
        raise ClientUnknown("No such client.", pointer="/client") from unknown


def _created(written: WrittenInvoice) -> KeptAnswer:
    return answer(201, written.document, location=f"/api/v1/invoices/{written.document['id']}")


def _client(client_id: UUID) -> Client:
    try:
        return clients.get(merchant_id=g.api_key.merchant_id, client_id=client_id)
    except clients.ClientNotFound as unknown:
        raise ClientUnknown("No such client.", pointer="/client") from unknown
