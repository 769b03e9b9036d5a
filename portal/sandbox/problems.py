"""Horizon's problem documents (RFC 7807) and the exceptions that become them."""

import json
from typing import Any

from flask import Response

from portal.kernel.errors import TagihError

_TYPE = "https://stellar.org/horizon-errors/"
_TITLES = {
    "bad_request": (400, "Bad Request", "The request you sent was invalid in some way."),
    "not_found": (
        404,
        "Resource Missing",
        (
            "The resource at the url requested was not found. This usually occurs for one of two reasons: The url "
            "requested is not valid, or no data in our database could be found with the parameters provided."
        ),
    ),
    "method_not_allowed": (
        405,
        "Method Not Allowed",
        "The resource at the url requested takes another method.",
    ),
    "not_acceptable": (
        406,
        "Not Acceptable",
        "The request does not have an acceptable response content-type.",
    ),
    "payload_too_large": (413, "Payload Too Large", "The request body is larger than this server reads."),
    "transaction_malformed": (
        400,
        "Transaction Malformed",
        (
            "Horizon could not decode the transaction envelope in this request. A transaction should be an XDR "
            "TransactionEnvelope struct encoded using base64. The envelope read from this request is echoed in the "
            "`extras.envelope_xdr` field of this response for your convenience."
        ),
    ),
    "transaction_failed": (
        400,
        "Transaction Failed",
        (
            "The transaction failed when submitted to the Stellar network. The `extras.result_codes` field on this "
            "response contains further details."
        ),
    ),
    "rate_limit_exceeded": (
        429,
        "Rate Limit Exceeded",
        (
            "The rate limit for the requesting IP address is over its alloted limit. Please wait before making "
            "another request."
        ),
    ),
    "server_error": (500, "Internal Server Error", "An error occurred while processing this request."),
    "stale_history": (
        503,
        "Historical DB Is Too Stale",
        (
            "This horizon instance is configured to reject client requests when it can determine that the history "
            "database is lagging too far behind. Please try again later."
        ),
    ),
    "timeout": (504, "Timeout", "Your request timed out before completing. Please try your request again."),
    "transaction_submission_timeout": (
        504,
        "Transaction Submission Timeout",
        (
            "Your transaction submission request has timed out. This does not necessarily mean the submission has "
            "failed. Before resubmitting, please use the transaction hash provided in `extras.hash` to poll the GET "
            "/transactions endpoint for sometime and check if it was included in a ledger."
        ),
    ),
}


class Problem(TagihError):
    """An answer of Horizon's other than the thing asked for; `name` is one of its error types."""

    code = "horizon_problem"

    def __init__(self, name: str, **extras: Any) -> None:
        super().__init__(_TITLES[name][2])
        self.name = name
        self.extras = extras


def bad_field(name: str, reason: str) -> Problem:
    return Problem("bad_request", invalid_field=name, reason=reason)


def response(problem: Problem) -> Response:
    status, title, detail = _TITLES[problem.name]
    body: dict[str, Any] = {"type": _TYPE + problem.name, "title": title, "status": status, "detail": detail}
    if problem.extras:
        body["extras"] = problem.extras
    return Response(
        json.dumps(body, ensure_ascii=False, indent=2),
        status,
        content_type="application/problem+json; charset=utf-8",
    )
