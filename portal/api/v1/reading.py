"""Reads bodies and query strings: one reader for all routes, run before any model.

JSON alone, no key twice, no text that PostgreSQL cannot hold, bounded depth; then the model, which knows
no unknown member and takes amounts as strings alone.
"""

import json
import re
from typing import Any, TypeVar

from flask import g, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from portal.api.v1.errors import BadRequest, BodyTooLarge, MediaTypeRefused, ValidationRefused, problems_of
from portal.domain.idempotency.rules import Attempt, hash_of_body, key_is_valid
from portal.kernel.errors import Invalid

B = TypeVar("B", bound=BaseModel)
BODY_MAX_BYTES = 1_000_000
# The deepest body of ours has 4 levels.
DEPTH_MAX = 16
# Nothing of ours counts so far; Python would take seconds to read a number of a million digits.
INTEGER_DIGITS_MAX = 20
# PostgreSQL stores no NUL and UTF-8 has no lone surrogate; other control characters only confuse readers.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class JsonMalformed(BadRequest):
    code = "json_malformed"


class JsonDuplicateKey(BadRequest):
    code = "json_duplicate_key"


class JsonTooDeep(BadRequest):
    code = "json_too_deep"


class IdempotencyKeyInvalid(BadRequest):
    code = "idempotency_key_invalid"


class TextInvalid(Invalid):
    code = "text_invalid"


def read_body(model: type[B]) -> B:
    """Return the request's body as `model`.

    :raises MediaTypeRefused, BodyTooLarge, BadRequest, Invalid: as the body deserves.
    """
    given = _read_json()
    g.api_body = given
    try:
        return model.model_validate(given)
    except ValidationError as refusal:
        raise ValidationRefused("The body does not fit.", problems_of(refusal, given)) from refusal


def read_no_body() -> None:
    """Let a route without a body be called with none or with `{}`."""
    given = _read_json() if _raw() else {}
    g.api_body = given
    if given != {}:
        raise ValidationRefused(
            "This route takes no body.",
            [{"pointer": "", "code": "extra_forbidden", "detail": "Send no body or {}."}],
        )


def read_query(model: type[B]) -> B:
    """Return the query string as `model`; a parameter given twice is refused, not chosen from."""
    given: dict[str, str] = {}
    for name, values in request.args.lists():
        if len(values) > 1:
            raise _query_refused(name, "parameter_repeated", "This parameter is given more than once.")
        _check_text(name, f"?{name[:100]}")
        _check_text(values[0], f"?{name[:100]}")
        given[name] = values[0]
    try:
        return model.model_validate(given)
    except ValidationError as refusal:
        raise ValidationRefused(
            "The query does not fit.", problems_of(refusal, given, prefix="?")
        ) from refusal


def read_attempt() -> Attempt | None:
    """Return what the Idempotency-Key of this request stands for, after its body was read.

    :raises IdempotencyKeyInvalid: unless it is 1 to 255 printable ASCII characters.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not key_is_valid(key):
        raise IdempotencyKeyInvalid("An Idempotency-Key is 1 to 255 printable ASCII characters.")
    holder = g.api_key
    return Attempt(
        merchant_id=holder.merchant_id,
        network=holder.network,
        route=f"{request.method} {request.path}",
        key=key,
        body_hash=hash_of_body(g.api_body),
    )


def _raw() -> bytes:
    try:
        raw = request.get_data(cache=True)
    except RequestEntityTooLarge as refusal:
        raise BodyTooLarge("The body is larger than 1 MB.") from refusal
    if len(raw) > BODY_MAX_BYTES:
        raise BodyTooLarge("The body is larger than 1 MB.")
    return raw


def _read_json() -> Any:
    if request.mimetype != "application/json":
        raise MediaTypeRefused("Send JSON with Content-Type: application/json.")
    if request.mimetype_params.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise MediaTypeRefused("Send JSON in UTF-8.")
    try:
        given = json.loads(
            _raw().decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
        )
    except RecursionError as refusal:
        raise JsonTooDeep(f"The body is nested deeper than {DEPTH_MAX} levels.") from refusal
    except UnicodeDecodeError as refusal:
        raise JsonMalformed("The body is not UTF-8.") from refusal
    except ValueError as refusal:
        raise JsonMalformed(f"The body is not JSON: {refusal}") from refusal
    _check_texts(given, "", 0)
    return given


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise JsonDuplicateKey(f"The member {twice[:100]!a} is given more than once.")
    return made


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _integer(digits: str) -> int:
    if len(digits) > INTEGER_DIGITS_MAX:
        raise ValueError("a number has too many digits")
    return int(digits)


def _check_texts(value: Any, pointer: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise JsonTooDeep(f"The body is nested deeper than {DEPTH_MAX} levels.")
    if isinstance(value, str):
        _check_text(value, pointer)
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name, pointer)
            _check_texts(member, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", depth + 1)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _check_texts(member, f"{pointer}/{index}", depth + 1)


def _check_text(text: str, pointer: str) -> None:
    if _UNFIT.search(text) is not None:
        raise TextInvalid("This text holds characters that cannot be shown.", pointer=pointer)


def _query_refused(name: str, code: str, detail: str) -> ValidationRefused:
    return ValidationRefused(
        "The query does not fit.", [{"pointer": f"?{name[:100]}", "code": code, "detail": detail}]
    )
