"""Sends forms as a browser does: with the CSRF token of a page that was opened before."""

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def send(client: FlaskClient, path: str, typed: dict[str, Any] | None = None, *, page: str = "/home") -> TestResponse:
    """POST `typed` to `path`; `page` is any page of the sender that holds a form."""
    token = _TOKEN.search(client.get(page).get_data(as_text=True))
    assert token is not None, f"{page} has no form"
    return client.post(path, data={"csrf_token": token[1], **(typed or {})})


def text_of(response: TestResponse) -> str:
    return response.get_data(as_text=True)
