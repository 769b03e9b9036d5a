"""The writing half: submitting transactions, the friendbot, and the sandbox's own orders."""

from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from portal.kernel.addresses import is_account
from portal.sandbox import faults
from portal.sandbox.envelopes import MalformedEnvelope, read_envelope
from portal.sandbox.ledger import Ledger, LedgerFull, Ticket, TransactionRefused
from portal.sandbox.problems import Problem, bad_field
from portal.sandbox.records import as_asked_by
from portal.sandbox.web_context import check_accept, hal, presenter, sandbox

bp = Blueprint("submission", __name__)
# Horizon gives up after 30 s, and the hash in the answer lets the client go on asking.
SUBMISSION_SECONDS = 30.0


def failed(refused: TransactionRefused) -> Problem:
    return Problem(
        "transaction_failed",
        envelope_xdr=refused.envelope_xdr,
        result_codes=refused.words,
        result_xdr=refused.result_xdr,
    )


def settled(ledger: Ledger, ticket: Ticket) -> dict[str, Any]:
    """Wait for the close and return the transaction's record.

    :raises TransactionRefused: when it is in the ledger as a failed one.
    :raises TimeoutError: when the ledger did not close in time.
    """
    if not ticket.done.wait(SUBMISSION_SECONDS):
        raise TimeoutError(ticket.hash)
    found = ledger.store.transaction(ticket.hash)
    assert found is not None, ticket.hash
    record, words = found
    if words is not None:
        raise TransactionRefused(record["envelope_xdr"], words, record["result_xdr"])
    return as_asked_by(ticket.hash, record)


def _respond(ticket: Ticket, envelope_xdr: str) -> Response:
    g.submitted = {"hash": ticket.hash, "envelope_xdr": envelope_xdr}
    try:
        record = settled(sandbox().ledger, ticket)
    except TransactionRefused as refused:
        raise failed(refused) from refused
    except TimeoutError as error:
        raise Problem("transaction_submission_timeout", **g.submitted) from error
    return hal(presenter().transaction(record))


@bp.post("/transactions")
def submit() -> Response:
    check_accept()
    text = request.form.get("tx", "")
    try:
        ticket = sandbox().ledger.submit(text)
    except MalformedEnvelope as error:
        raise Problem("transaction_malformed", envelope_xdr=text) from error
    except TransactionRefused as refused:
        raise failed(refused) from refused
    return _respond(ticket, text)


@bp.post("/transactions_async")
def submit_async() -> tuple[Response, int]:
    text = request.form.get("tx", "")
    try:
        ticket = sandbox().ledger.submit(text)
    except MalformedEnvelope as error:
        raise Problem("transaction_malformed", envelope_xdr=text) from error
    except TransactionRefused as refused:
        body = {"tx_status": "ERROR", "error_result_xdr": refused.result_xdr, "hash": _hash_of(refused)}
        return jsonify(body), 400
    except LedgerFull:
        return jsonify({"tx_status": "TRY_AGAIN_LATER"}), 503
    if ticket.duplicate:
        return jsonify({"tx_status": "DUPLICATE", "hash": ticket.hash}), 409
    return jsonify({"tx_status": "PENDING", "hash": ticket.hash}), 201


def _hash_of(refused: TransactionRefused) -> str:
    return read_envelope(refused.envelope_xdr, sandbox().ledger.passphrase).hash


@bp.route("/friendbot", methods=["GET", "POST"])
def friendbot() -> Response:
    address = request.values.get("addr", "")
    if not is_account(address):
        raise bad_field("addr", "invalid address" if address else "Missing required field")
    try:
        ticket = sandbox().ledger.fund(address)
    except TransactionRefused as refused:
        raise failed(refused) from refused
    return _respond(ticket, "")


@bp.get("/sandbox/info")
def info() -> Response:
    """Say which network this is, which assets it brings along and at which rates they trade."""
    ledger = sandbox().ledger
    body = {
        "network_passphrase": ledger.passphrase,
        "close_seconds": ledger.close_seconds,
        "latest_ledger": ledger.latest.sequence,
        "wallet_url": f"{sandbox().base}/wallet",
        "friendbot_url": f"{sandbox().base}/friendbot",
        "friendbot_amount": "10000.0000000",
        **ledger.market.describe(),
    }
    return jsonify(body)


@bp.get("/sandbox/faults")
def list_faults() -> Response:
    return jsonify({"faults": sandbox().faults.describe()})


@bp.post("/sandbox/faults")
def order_fault() -> tuple[Response, int]:
    """Take one order; see the module `portal.sandbox.faults`."""
    try:
        fault = faults.read_order(request.get_json(silent=True))
        sandbox().faults.add(fault)
    except faults.BadFaultOrder as bad:
        return jsonify({"code": bad.code, "detail": bad.detail}), 422
    return jsonify(fault.describe()), 201


@bp.delete("/sandbox/faults")
def clear_faults() -> tuple[str, int]:
    sandbox().faults.clear()
    return "", 204
