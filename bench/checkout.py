"""T1, T2: the checkout page, warm and cold, against a bare Flask and Jinja page. T10: what the page weighs."""

import gzip
import re
import urllib.request
from urllib.parse import urlsplit

import redis

from bench import bare, load
from bench.load import Order, request_text
from bench.measure import Result, side_by_side
from bench.stack import Stack, WebServer

SECONDS = 0.8
WARM_PAGES = 20
COLD_PAGES = 120
LANES = 4
KIB = 1024
BODY = {
    "asset": "native",
    "description": "Coffee for a month",
    "items": [
        {"description": "Arabica, 250 g", "quantity": "3", "unit_price": "42"},
        {"description": "Robusta, 1 kg", "quantity": "1", "unit_price": "61.5"},
    ],
    "taxes": [{"label": "PPN", "percent": "11"}],
    "issue": True,
}


def issue_pages(stack: Stack, server: WebServer, count: int) -> list[str]:
    """Return the paths of `count` new checkout pages, spread over the merchants."""
    made = [stack.api(server, stack.merchants[n % len(stack.merchants)], BODY) for n in range(count)]
    return [urlsplit(str(invoice["checkout_url"])).path for invoice in made]


def measure_pages(stack: Stack, server: WebServer, paths: list[str]) -> list[Result]:
    templates = stack.folder / "bare"
    page = _get(server, paths[0])[0]
    bare.write_template(page.decode(), templates)
    other = stack.serve("bench.bare:app", workers=1, threads=LANES, BENCH_BARE=str(templates))
    size = len(_get(other, paths[0])[0])
    assert abs(size - len(page)) <= len(page) * 0.02, (size, len(page))
    cache = redis.Redis.from_url(stack.environment["REDIS_URL"])

    def rate(at: WebServer, lanes: list[list[str]], seconds: float | None) -> float:
        return load.run(Order(at.port, lanes, seconds)).rate

    def lanes_of(at: WebServer, count: int) -> list[list[str]]:
        texts = [request_text("GET", path, port=at.port) for path in paths[:count]]
        return [texts[lane::LANES] for lane in range(LANES)]

    def warm() -> float:
        stack.note_watcher()
        return rate(server, lanes_of(server, WARM_PAGES), SECONDS)

    def cold() -> float:
        stack.note_watcher()
        cache.flushdb()
        return rate(server, lanes_of(server, COLD_PAGES), None)

    def plain() -> float:
        return rate(other, lanes_of(other, WARM_PAGES), SECONDS)

    results = []
    for code, what, goal, ours in (
        ("T1", "checkout page, cached, of a bare page", 0.60, warm),
        ("T2", "checkout page, cold, of a bare page", 0.30, cold),
    ):
        found = side_by_side(ours, plain)
        detail = f"{found.ours:.0f}/s of {found.other:.0f}/s, {len(page)} bytes"
        results.append(Result(code, what, goal, found.ratio, "x", "at least", detail))
    stack.end(other)
    return results


def measure_weight(server: WebServer, path: str) -> Result:
    page, _ = _get(server, path)
    text = page.decode()
    parts = [("html", page)]
    names = re.findall(r'<(?:link|script)[^>]*?(?:href|src)="([^"]+\.(?:css|js)[^"]*)"', text)
    parts += [(name, _get(server, name)[0]) for name in names]
    foreign = [name for name in names if not name.startswith("/")]
    sizes = {name: len(gzip.compress(content, 6)) for name, content in parts}
    kind = {
        suffix: sum(size for name, size in sizes.items() if suffix in name)
        for suffix in ("html", ".css", ".js")
    }
    detail = ", ".join(f"{name.strip('.')} {size / KIB:.1f}" for name, size in kind.items())
    detail += f" KiB; other hosts asked: {len(foreign)}; fonts apart"
    return Result(
        "T10", "checkout, HTML+CSS+JS compressed", 40, sum(sizes.values()) / KIB, "KiB", "at most", detail
    )


def _get(server: WebServer, path: str) -> tuple[bytes, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=20) as answer:
        return answer.read(), answer.headers["Content-Type"]
