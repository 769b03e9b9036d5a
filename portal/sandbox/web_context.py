"""What the routes of one sandbox share: its ledger, its fault orders, its public address."""

import json
from dataclasses import dataclass
from typing import Any, cast

from flask import Response, current_app, request

from portal.sandbox.faults import Faults
from portal.sandbox.ledger import Ledger
from portal.sandbox.presentation import Presenter
from portal.sandbox.problems import Problem

EXTENSION = "sandbox"
EVENT_STREAM = "text/event-stream"
HAL = "application/hal+json; charset=utf-8"


@dataclass(slots=True)
class Sandbox:
    ledger: Ledger
    faults: Faults
    public_url: str | None

    @property
    def base(self) -> str:
        """Return the address that links begin with: the configured one, else the one asked."""
        return (self.public_url or request.host_url).rstrip("/")


def sandbox() -> Sandbox:
    return cast(Sandbox, current_app.extensions[EXTENSION])


def presenter() -> Presenter:
    return Presenter(sandbox().base)


def hal(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body, ensure_ascii=False, indent=2), status, content_type=HAL)


def wants_stream() -> bool:
    return EVENT_STREAM in request.headers.get("Accept", "")


def check_accept() -> None:
    """Refuse a client that takes neither JSON nor an event stream.

    :raises Problem: not_acceptable.
    """
    accepted = request.accept_mimetypes
    kinds = ("application/hal+json", "application/json", "application/problem+json", EVENT_STREAM)
    if request.headers.get("Accept") and not any(accepted[kind] > 0 for kind in kinds):
        raise Problem("not_acceptable")
