"""A small HTTP server that answers as Horizon does, with whatever a test lays down."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PASSPHRASE = "Tagih Tests ; 2026"
PROBLEM_404 = {
    "type": "https://stellar.org/horizon-errors/not_found",
    "title": "Resource Missing",
    "status": 404,
}
# What redirects lead to has everything the server has itself.
ELSEWHERE = "/elsewhere"
Spoil = Callable[[str, int, Any], tuple[int, dict[str, str], Any]]


@dataclass
class Served:
    """What the double answers to a path: (status, headers, body); a body may be a function of the query.

    `spoil(path, status, body)` gives another answer in its place, to everything but the root.
    """

    routes: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    delay_seconds: float = 0.0
    drip: bool = False
    spoil: Spoil | None = None
    url: str = ""

    def add(self, path: str, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.routes[path] = (status, headers or {}, body)

    def count(self, part: str) -> int:
        return sum(part in line for line in self.requests)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = self.routes.get(path.removeprefix(ELSEWHERE), (404, {}, PROBLEM_404))
        if callable(body):
            body = body(query)
        if self.spoil is not None and path != "/":
            status, headers, body = self.spoil(path, status, body)
        return status, headers, body if isinstance(body, bytes) else json.dumps(body).encode()


def page(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {"_links": {}, "_embedded": {"records": records}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.served.requests.append(f"{self.command} {self.path}")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        status, headers, octets = self.served.answer(parts.path, query)
        time.sleep(self.served.delay_seconds)
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            if self.served.drip:
                for position in range(len(octets)):
                    self.wfile.write(octets[position : position + 1])
                    time.sleep(0.05)
            else:
                self.wfile.write(octets)
        except OSError:
            self.close_connection = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are kept in `served`."""


@contextmanager
def serving() -> Iterator[Served]:
    """Run the double on a port of its own; it knows its network and nothing else yet."""
    found = Served()
    found.add("/", {"network_passphrase": PASSPHRASE, "history_latest_ledger": 9})
    handler = type("Handler", (_Handler,), {"served": found, "disable_nagle_algorithm": True})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield found
    server.shutdown()
    server.server_close()
