"""Turns documents into answers and answers into responses; the bytes are made once and kept for replays."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Response

from portal.domain.idempotency.rules import KeptAnswer
from portal.flows.once import Outcome

JSON = "application/json"


def answer(status: int, document: Mapping[str, Any], **headers: str) -> KeptAnswer:
    """Return the answer that shows `document`; a header is named with underscores (`retry_after="1"`)."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return KeptAnswer(status, encode(document), {"Content-Type": JSON, **named})


def encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def respond(kept: KeptAnswer) -> Response:
    return Response(kept.body, kept.status, headers=list(kept.headers.items()))


def respond_once(outcome: Outcome) -> Response:
    response = respond(outcome.answer)
    if outcome.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def show(document: Mapping[str, Any]) -> Response:
    return respond(answer(200, document))
