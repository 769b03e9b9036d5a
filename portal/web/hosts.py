"""Refuses requests for other hosts than ours, before anything of Flask reads them.

Flask's own TRUSTED_HOSTS leaves a refused request without addresses, so no error page could be made of it.
"""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.sansio.utils import host_is_trusted

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PROBLEM = {
    "type": "about:blank",
    "title": "Bad Request",
    "status": 400,
    "code": "host_unknown",
    "detail": "This server does not answer for that host name.",
}


class TrustedHosts:
    """WSGI middleware; stands inside the one that reads a trusted proxy's headers."""

    def __init__(self, app: "WSGIApplication", hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = list(hosts)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        if host_is_trusted(host, self._hosts):
            return self._app(environ, start_response)
        is_api = str(environ.get("PATH_INFO", "")).startswith("/api/")
        body = json.dumps(PROBLEM) if is_api else f"{PROBLEM['detail']}\n"
        kind = "application/problem+json" if is_api else "text/plain; charset=utf-8"
        start_response("400 Bad Request", [("Content-Type", kind), ("X-Content-Type-Options", "nosniff")])
        return [body.encode()]
