"""The reading half of the Horizon API: root, accounts, history lists, ledgers; pages and streams alike."""

from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, request, stream_with_context

from portal.kernel.addresses import is_account
from portal.sandbox.entries import BASE_FEE
from portal.sandbox.listing import Listing, PageQuery, fetch, read_page_query
from portal.sandbox.presentation import Presenter
from portal.sandbox.problems import Problem, bad_field
from portal.sandbox.records import as_asked_by
from portal.sandbox.streaming import stream, stream_one
from portal.sandbox.web_context import (
    EVENT_STREAM,
    check_accept,
    hal,
    presenter,
    sandbox,
    wants_stream,
)

bp = Blueprint("history", __name__)
_KINDS = {
    "transactions": "transactions",
    "operations": "operations",
    "payments": "operations",
    "effects": "effects",
}
_TOID_MAX = 2**63 - 1


def _listing(name: str) -> Listing:
    """Return the listing that a collection's name and the query string ask for.

    :raises Problem: bad_request for a value of `join` or `include_failed` that Horizon does not know.
    """
    join = request.args.get("join", "")
    failed = request.args.get("include_failed", "false").lower()
    if join not in ("", "transactions"):
        raise bad_field("join", "Accepted values: transactions")
    if failed not in ("true", "false"):
        raise bad_field("include_failed", "include_failed: true or false")
    kind = _KINDS[name]
    return Listing(
        kind,
        payments=name == "payments",
        include_failed=failed == "true",
        join_transactions=bool(join) and kind == "operations",
    )


def _show(show: Presenter, kind: str, body: dict[str, Any], joined: dict[str, Any] | None) -> dict[str, Any]:
    if kind == "operations":
        return show.operation(body, joined)
    one = {"transactions": show.transaction, "effects": show.effect, "ledgers": show.ledger}
    return one[kind](body)


def _answer(listing: Listing) -> Response:
    """Answer a page, or a stream from the same place on when the client asked for events."""
    check_accept()
    here = sandbox()
    arguments = request.args.to_dict()
    effects = listing.kind == "effects"
    if wants_stream() and request.headers.get("Last-Event-ID"):
        arguments["cursor"] = request.headers["Last-Event-ID"]
    query = read_page_query(arguments, latest=here.ledger.latest.sequence, effects=effects)
    show = presenter()

    def read(asked: PageQuery) -> list[dict[str, Any]]:
        rows = fetch(here.ledger.store, listing, asked)
        return [_show(show, listing.kind, body, joined) for body, joined in rows]

    if wants_stream():
        ascending = replace(query, order="asc")

        def behind(token: str | None) -> list[dict[str, Any]]:
            if token is None:
                return read(ascending)
            latest = here.ledger.latest.sequence
            return read(read_page_query({"cursor": token, "limit": "200"}, latest=latest, effects=effects))

        return _events(stream(here.ledger, behind, query.limit))
    kept = {name: value for name, value in arguments.items() if name in ("join", "include_failed")}
    parameters = kept | {"cursor": query.cursor, "limit": str(query.limit), "order": query.order}
    return hal(show.page(request.path, parameters, read(query), order=query.order))


def _events(events: Any) -> Response:
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    kind = f"{EVENT_STREAM}; charset=utf-8"
    return Response(stream_with_context(events), content_type=kind, headers=headers)


def _known_account(address: str) -> str:
    """Return the address once it is known to be one and to have a history.

    :raises Problem: bad_request or not_found.
    """
    if not is_account(address):
        raise bad_field("account_id", "Account ID must start with `G` and contain 56 alphanum characters")
    if not sandbox().ledger.store.was_account(address):
        raise Problem("not_found")
    return address


@bp.get("/")
def root() -> Response:
    check_accept()
    ledger = sandbox().ledger
    latest = ledger.store.latest_ledger()
    assert latest is not None
    elder = ledger.store.rows("SELECT MIN(sequence) FROM ledgers")[0][0]
    return hal(presenter().root(passphrase=ledger.passphrase, latest=latest, elder=elder))


@bp.get("/accounts/<address>")
def account(address: str) -> Response:
    check_accept()
    if not is_account(address):
        raise bad_field("account_id", "Account ID must start with `G` and contain 56 alphanum characters")
    ledger, show = sandbox().ledger, presenter()

    def read() -> dict[str, Any] | None:
        found = ledger.store.account(address)
        return None if found is None else show.account(found)

    body = read()
    if body is None:
        raise Problem("not_found")
    return _events(stream_one(ledger, read)) if wants_stream() else hal(body)


@bp.get("/accounts/<address>/data/<key>")
def account_data(address: str, key: str) -> Response:
    found = sandbox().ledger.store.account(_known_account(address))
    if found is None or key not in found.data:
        raise Problem("not_found")
    return hal({"value": found.data[key]})


@bp.get("/accounts/<address>/<any(transactions, operations, payments, effects):name>")
def account_history(address: str, name: str) -> Response:
    return _answer(replace(_listing(name), account=_known_account(address)))


@bp.get("/<any(transactions, operations, payments, effects):name>")
def history(name: str) -> Response:
    return _answer(_listing(name))


def _transaction(hash_text: str) -> dict[str, Any]:
    """:raises Problem: bad_request for what is no hash, not_found for one that is in no closed ledger."""
    if len(hash_text) != 64 or not set(hash_text) <= set("0123456789abcdef"):
        raise bad_field("hash", "Transaction hash must be a hex-encoded, lowercase SHA-256 hash")
    found = sandbox().ledger.store.transaction(hash_text)
    if found is None:
        raise Problem("not_found")
    return as_asked_by(hash_text, found[0])


@bp.get("/transactions/<hash_text>")
def transaction(hash_text: str) -> Response:
    check_accept()
    return hal(presenter().transaction(_transaction(hash_text)))


@bp.get("/transactions/<hash_text>/<any(operations, payments, effects):name>")
def transaction_history(hash_text: str, name: str) -> Response:
    identity = int(_transaction(hash_text)["paging_token"])
    return _answer(_listing(name).within_transaction(identity))


def _toid(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > _TOID_MAX:
        raise bad_field("id", "id: invalid value")
    return int(text)


@bp.get("/operations/<identity>")
def operation(identity: str) -> Response:
    check_accept()
    one = replace(_listing("operations"), include_failed=True).within_operation(_toid(identity))
    rows = fetch(sandbox().ledger.store, one, PageQuery("", None, "asc", 1))
    if not rows:
        raise Problem("not_found")
    return hal(presenter().operation(*rows[0]))


@bp.get("/operations/<identity>/effects")
def operation_effects(identity: str) -> Response:
    return _answer(_listing("effects").within_operation(_toid(identity)))


def _ledger(text: str) -> dict[str, Any]:
    if not (text.isascii() and text.isdigit()) or int(text[:10]) >= 2**32:
        raise bad_field("ledger_id", "ledger_id: invalid value")
    found = sandbox().ledger.store.ledger(int(text))
    if found is None:
        raise Problem("not_found")
    return found


@bp.get("/ledgers")
def ledgers() -> Response:
    return _answer(Listing("ledgers"))


@bp.get("/ledgers/<sequence>")
def ledger_record(sequence: str) -> Response:
    check_accept()
    return hal(presenter().ledger(_ledger(sequence)))


@bp.get("/ledgers/<sequence>/<any(transactions, operations, payments, effects):name>")
def ledger_history(sequence: str, name: str) -> Response:
    return _answer(_listing(name).within_ledger(int(_ledger(sequence)["sequence"])))


@bp.get("/fee_stats")
def fee_stats() -> Response:
    check_accept()
    ranks = ("max", "min", "mode", *(f"p{rank}" for rank in (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)))
    # The simulated network is never full, so everybody pays the base fee.
    fees = dict.fromkeys(ranks, str(BASE_FEE))
    body = {
        "last_ledger": str(sandbox().ledger.latest.sequence),
        "last_ledger_base_fee": str(BASE_FEE),
        "ledger_capacity_usage": "0.01",
        "fee_charged": fees,
        "max_fee": fees,
    }
    return hal(body)
