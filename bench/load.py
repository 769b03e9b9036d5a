"""`python -m bench.load`: sends requests over kept connections and counts what comes back.

Reads one line of JSON (see `Order`), opens its connections, answers `ready`, waits for a second line, works
and prints a line of JSON. Plain sockets and ready-made bytes keep its own share of the machine small.
"""

import itertools
import json
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 20
# Stands for a word that differs in every request, such as the Idempotency-Key's.
UNIQUE = "@unique@"


@dataclass
class Order:
    """`lanes` holds the requests of each connection; repeated for `seconds`, or sent once when it is None."""

    port: int
    lanes: list[list[str]]
    seconds: float | None = None


@dataclass
class Tally:
    requests: int
    seconds: float
    statuses: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class LoadRefused(Exception):
    """Something else than 2xx came back, so there is nothing to compare."""


def request_text(
    method: str, path: str, *, port: int, headers: dict[str, str] | None = None, body: str = ""
) -> str:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: keep-alive"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join(lines) + "\r\n\r\n" + body


def run(order: Order) -> Tally:
    """Do `order` in a process of its own.

    :raises LoadRefused: unless every answer is 2xx.
    """
    found = run_together([("bench.load", asdict(order))])[0]
    tally = Tally(**found)
    strange = {status: count for status, count in tally.statuses.items() if not status.startswith("2")}
    if strange or not tally.requests:
        raise LoadRefused(f"{strange or 'no answers'} from port {order.port}: {order.lanes[0][0][:200]}")
    return tally


def run_together(orders: Iterable[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Start one process an order, let all go at once when each is ready, and return what they print."""
    started = []
    for module, order in orders:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        started.append(process)
    for process in started:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise LoadRefused("a load process did not start")
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate()[0]) for process in started]


class Lane(threading.Thread):
    """One connection."""

    def __init__(self, order: Order, requests: list[str]) -> None:
        super().__init__(daemon=True)
        self.order = order
        self.requests = [tuple(part.encode() for part in text.split(UNIQUE)) for text in requests]
        self.statuses: Counter[str] = Counter()
        self.socket = socket.create_connection(("127.0.0.1", order.port), TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        seconds = self.order.seconds
        ends_at = None if seconds is None else time.perf_counter() + seconds
        source = self.requests if seconds is None else itertools.cycle(self.requests)
        for parts in source:
            if ends_at is not None and time.perf_counter() >= ends_at:
                return
            self.socket.sendall(parts[0] if len(parts) == 1 else secrets.token_hex(12).encode().join(parts))
            self.statuses[self._answer()] += 1

    def _answer(self) -> str:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = received[:end].lower()
        mark = head.index(b"content-length:") + 15
        line_end = head.find(b"\r\n", mark)
        missing = int(head[mark : line_end if line_end > 0 else len(head)]) - (len(received) - end - 4)
        while missing > 0:
            missing -= len(self._more())
        return received[9:12].decode()

    def _more(self) -> bytes:
        more = self.socket.recv(262_144)
        if not more:
            raise LoadRefused("the server closed a connection")
        return more


def main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    lanes = [Lane(order, requests) for requests in order.lanes]
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    seconds = time.perf_counter() - began
    statuses: Counter[str] = Counter()
    for lane in lanes:
        statuses.update(lane.statuses)
    print(json.dumps(asdict(Tally(sum(statuses.values()), seconds, dict(statuses)))))


if __name__ == "__main__":
    main()
