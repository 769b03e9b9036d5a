"""Clients: create, list, show, change."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, g

from portal.api.v1 import shapes
from portal.api.v1.answers import answer, respond_once, show
from portal.api.v1.contract import api_access
from portal.api.v1.paging import cursor_of, list_document, place_of
from portal.api.v1.reading import read_attempt, read_body, read_query
from portal.api.v1.schemas import ClientCreate, ClientQuery, ClientUpdate
from portal.db import run_transaction
from portal.domain.clients import queries, rules, service
from portal.domain.clients.models import Client
from portal.domain.clients.rules import Details, client_document
from portal.flows.once import Hooks, answer_once
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref

bp = Blueprint("api_clients", __name__)


@bp.post("/clients")
@api_access(
    "clients:write",
    summary="Create a client",
    body=ClientCreate,
    answers={201: shapes.Client},
    refusals=(409, 422),
)
def create_client() -> Response:
    details = rules.details(**_given(read_body(ClientCreate)))
    now = utc_now()

    def effect(hooks: Hooks) -> None:
        def work() -> None:
            hooks.prepare()
            client = service.create(merchant_id=g.api_key.merchant_id, details=details, now=now)
            document = client_document(client)
            hooks.finish(answer(201, document, location=f"/api/v1/clients/{document['id']}"))

        run_transaction(work)

    return respond_once(answer_once(read_attempt(), effect, now=now))


@bp.get("/clients")
@api_access(
    "clients:read", summary="List clients, newest first", query=ClientQuery, answers={200: shapes.ClientList}
)
def list_clients() -> Response:
    wanted = read_query(ClientQuery)
    page = queries.list_page(
        merchant_id=g.api_key.merchant_id,
        text=wanted.q,
        after=place_of("cli", wanted.cursor),
        limit=wanted.limit,
    )
    data = [client_document(client) for client in page.clients]
    return show(list_document(data, cursor_of("cli", page.next_after)))


@bp.get("/clients/<ref>")
@api_access("clients:read", summary="Show a client", answers={200: shapes.Client}, refusals=(404,))
def show_client(ref: str) -> Response:
    client = queries.get(merchant_id=g.api_key.merchant_id, client_id=from_ref("cli", ref))
    return show(client_document(client))


@bp.patch("/clients/<ref>")
@api_access(
    "clients:write",
    summary="Change a client",
    body=ClientUpdate,
    answers={200: shapes.Client},
    refusals=(404, 409, 422),
)
def update_client(ref: str) -> Response:
    given = _given(read_body(ClientUpdate))
    subject = {"merchant_id": g.api_key.merchant_id, "client_id": from_ref("cli", ref)}

    def work() -> Client:
        before = queries.get_for_update(**subject)
        details = rules.details(**{**_written(before), **given})
        return service.update(**subject, details=details, now=utc_now())

    return show(client_document(run_transaction(work)))


def _given(wanted: ClientUpdate) -> dict[str, Any]:
    """Return the members that the body names, the address without the lines it leaves out."""
    return wanted.model_dump(
        include=wanted.model_fields_set, exclude_none=False, exclude={"billing_address"}
    ) | ({"billing_address": _address(wanted)} if "billing_address" in wanted.model_fields_set else {})


def _address(wanted: ClientUpdate) -> dict[str, str]:
    return {} if wanted.billing_address is None else wanted.billing_address.model_dump(exclude_none=True)


def _written(client: Client) -> dict[str, Any]:
    kept = Details(
        name=client.name,
        email=client.email,
        company=client.company,
        tax_id=client.tax_id,
        billing_address=dict(client.billing_address),
        notes=client.notes,
        locale=client.locale,
        terms_days=client.terms_days,
    )
    return asdict(kept)
