"""One table that turns failures into problem documents (RFC 9457); every refusal under /api/ is one."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from flask import Response, current_app, g
from pydantic import ValidationError
from sqlalchemy.exc import DataError, IntegrityError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from portal.api.v1.answers import encode, respond
from portal.db import constraint_of
from portal.domain.idempotency.rules import KeptAnswer
from portal.extensions import site
from portal.kernel import errors

PROBLEM = "application/problem+json"
EXTERNAL_ID_UNIQUE = "uq_invoices_merchant_id_network_external_id"
# A database or network that is away is usually back within seconds.
UNAVAILABLE_RETRY_SECONDS = 10


class BadRequest(errors.TagihError):
    """The request cannot be read as what it says it is: 400."""

    code = "bad_request"


class BodyTooLarge(errors.TagihError):
    code = "body_too_large"


class MediaTypeRefused(errors.TagihError):
    code = "media_type_refused"


class ExternalIdTaken(errors.Conflict):
    code = "external_id_taken"


class ValidationRefused(errors.Invalid):
    """The body or the query breaks its model; `problems` has one entry a place, each with its pointer."""

    code = "validation_failed"

    def __init__(self, detail: str, problems: Sequence[dict[str, str]]) -> None:
        super().__init__(detail)
        self.problems = list(problems)


STATUS_OF_FAMILY: dict[type[errors.TagihError], int] = {
    BadRequest: 400,
    BodyTooLarge: 413,
    MediaTypeRefused: 415,
    errors.Invalid: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Denied: 403,
    errors.Unauthenticated: 401,
    errors.Limited: 429,
    errors.Unavailable: 503,
}
# What werkzeug and Flask refuse by themselves, before a view is reached.
CODE_OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    414: "uri_too_long",
    415: "media_type_refused",
    429: "rate_limited",
    431: "headers_too_large",
    500: "internal_error",
    503: "unavailable",
}
# The library's own words for these say nothing of what to do.
DETAIL_OF_TYPE = {
    "extra_forbidden": "There is no member of this name.",
    "missing": "This member is required.",
    "string_type": "Write this as a string in quotes; amounts and quantities are never numbers.",
    "int_type": "Write this as a whole number without quotes.",
    "bool_type": "Write true or false without quotes.",
    "dict_type": "Write this as an object.",
    "model_type": "Write this as an object.",
    "list_type": "Write this as an array.",
}
DETAIL_OF_STATUS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    413: "The body is larger than 1 MB.",
    500: "Something went wrong on our side; nothing was half done. Quote the request_id when you report it.",
}


def handle(failure: Exception) -> Response:
    """Answer any failure of a request under /api/."""
    if isinstance(failure, errors.TagihError):
        return respond(_of_family(failure))
    if isinstance(failure, HTTPException):
        return _of_http(failure)
    current_app.logger.error("an unforeseen failure reached the API", exc_info=failure)
    return respond(problem(500, code="internal_error", detail=DETAIL_OF_STATUS[500]))


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    problems: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    **extensions: Any,
) -> KeptAnswer:
    """Return a problem document; `extensions` are further members, such as the refused submission."""
    document = {
        "type": f"{site.public_base_url}/api/docs#{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": list(problems),
        "request_id": g.get("request_id", ""),
        **extensions,
    }
    return KeptAnswer(status, encode(document), {"Content-Type": PROBLEM, **(headers or {})})


def of_integrity(failure: IntegrityError) -> errors.TagihError | None:
    """Return what a unique key's refusal means to the caller, if it is one that a caller can cause."""
    if constraint_of(failure) == EXTERNAL_ID_UNIQUE:
        return ExternalIdTaken("Another invoice has this external_id.", pointer="/external_id")
    return None


def problems_of(refusal: ValidationError, given: Any, *, prefix: str = "/") -> list[dict[str, str]]:
    """Return one entry for each place that a model refused, by RFC 6901 pointers into what was sent."""
    return [
        {
            "pointer": _pointer(each["loc"], given, prefix),
            "code": each["type"],
            "detail": DETAIL_OF_TYPE.get(each["type"], each["msg"]),
        }
        for each in refusal.errors(include_url=False, include_context=False, include_input=False)
    ]


def status_of(failure: errors.TagihError) -> int:
    """Return the status of the nearest family of a failure."""
    for family in type(failure).__mro__:
        if family in STATUS_OF_FAMILY:
            return STATUS_OF_FAMILY[family]
    return 500


def _of_family(failure: errors.TagihError) -> KeptAnswer:
    status = status_of(failure)
    headers: dict[str, str] = {}
    wait = getattr(failure, "retry_after_seconds", None)
    if wait is None and status == 503:
        wait = UNAVAILABLE_RETRY_SECONDS
    if wait is not None:
        headers["Retry-After"] = str(max(1, round(wait)))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="api", Basic realm="api", charset="UTF-8"'
    scope = getattr(failure, "scope", None)
    if scope is not None:
        headers["WWW-Authenticate"] = f'Bearer realm="api", error="insufficient_scope", scope="{scope}"'
    problems = getattr(failure, "problems", [])
    if failure.pointer is not None:
        problems = [{"pointer": failure.pointer, "code": failure.code, "detail": failure.detail}]
    return problem(status, code=failure.code, detail=failure.detail, problems=problems, headers=headers)


def _of_http(failure: HTTPException) -> Response:
    status = failure.code or 500
    # Redirects travel as exceptions too.
    if status < 400 or failure.response is not None:
        return cast(Response, Response.force_type(failure.get_response()))
    cause = getattr(failure, "original_exception", None)
    if isinstance(cause, IntegrityError) and (known := of_integrity(cause)) is not None:
        return respond(_of_family(known))
    if isinstance(cause, DataError):
        # A value that no model foresaw and no column holds: the caller's to mend, ours to know of.
        current_app.logger.error("a value passed the models and not the database", exc_info=cause)
        return respond(problem(422, code="invalid", detail="A value is out of range."))
    code = CODE_OF_STATUS.get(status, "bad_request" if status < 500 else "internal_error")
    detail = DETAIL_OF_STATUS.get(status, failure.description or HTTPStatus(status).phrase)
    headers = {}
    if isinstance(failure, MethodNotAllowed) and failure.valid_methods:
        headers["Allow"] = ", ".join(sorted(failure.valid_methods))
    if status == 503:
        headers["Retry-After"] = str(UNAVAILABLE_RETRY_SECONDS)
    return respond(problem(status, code=code, detail=detail, headers=headers))


def _pointer(place: tuple[int | str, ...], given: Any, prefix: str) -> str:
    """Return the pointer to `place`, leaving out the steps that name a branch of a model, not a member."""
    steps: list[str] = []
    here = given
    for index, step in enumerate(place):
        is_member = isinstance(here, dict) and step in here
        if is_member or (isinstance(here, list) and isinstance(step, int) and step < len(here)):
            here = here[step]
        elif not isinstance(here, dict) or index < len(place) - 1 or step == "[key]":
            continue
        steps.append(str(step).replace("~", "~0").replace("/", "~1"))
    return prefix + "/".join(steps) if steps else ("" if prefix == "/" else prefix)
