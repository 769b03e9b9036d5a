"""T9: memory of a web worker after 1,000 requests, and what importing the app costs."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from bench import load
from bench.load import UNIQUE, Order, request_text
from bench.measure import Result, side_by_side
from bench.stack import ROOT, Stack, WebServer, api_headers

REQUESTS = 1_000
_LINE = re.compile(r"import time:\s+\d+ \|\s+(\d+) \|(\s*)([\w.]+)")
_OWN = {"portal", "config", "wsgi", "bench"}


def measure_memory(stack: Stack, server: WebServer, paths: list[str]) -> Result:
    """Send 1,000 requests of different kinds to a fresh worker and read its memory."""
    port, merchant = server.port, stack.merchants[0]
    headers = {"Authorization": api_headers(merchant)["Authorization"]}
    body = '{"amount":"12.5","asset":"native","description":"Hello","issue":true}'
    kinds = [
        request_text("GET", paths[0], port=port),
        request_text("GET", f"{paths[0]}/status", port=port),
        request_text("GET", "/login", port=port),
        request_text("GET", "/api/v1/invoices", port=port, headers=headers),
        request_text(
            "POST", "/api/v1/invoices", port=port, headers=headers | {"Idempotency-Key": UNIQUE}, body=body
        ),
    ]
    lanes = [kinds * (REQUESTS // 4 // len(kinds)) for _ in range(4)]
    load.run(Order(port, lanes))
    mib = server.resident_mib()
    return Result(
        "T9", "memory of a worker, 1,000 requests", 120, mib, "MiB", "at most", "pages, status, API"
    )


def measure_import(stack: Stack) -> Result:
    """Time `import wsgi` beside the import of the four libraries that take most of it, in fresh processes."""
    environment = stack.child_environment()

    def seconds(code: str) -> float:
        timed = f"import time; began = time.perf_counter(); {code}; print(time.perf_counter() - began)"
        done = subprocess.run(
            [sys.executable, "-c", timed],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return float(done.stdout)

    largest = _largest(environment)
    found = side_by_side(lambda: seconds("import wsgi"), lambda: seconds("import " + ", ".join(largest)))
    detail = f"{found.ours:.2f} s of {found.other:.2f} s for {', '.join(largest)}"
    return Result(
        "T9i", "importing the app of its 4 largest libraries", 1.3, found.ratio, "x", "at most", detail
    )


def _largest(environment: dict[str, str]) -> list[str]:
    """Return the four libraries whose import from our own modules takes longest, with all they bring along."""
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import wsgi"],
        cwd=ROOT, env=environment, check=True, capture_output=True, text=True,
    ).stderr  # fmt: skip
    # Children are printed before their parents, so from the end it reads as a tree.
    lines = [match for match in map(_LINE.match, reversed(report.splitlines())) if match is not None]
    spent: dict[str, int] = defaultdict(int)
    parents: dict[int, str] = {}
    for match in lines:
        depth, name = len(match[2]), match[3].partition(".")[0]
        parents[depth] = name
        if name not in _OWN and (depth == 1 or parents.get(depth - 2) in _OWN):
            spent[name] += int(match[1])
    packages = (
        Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    )
    libraries = [name for name in spent if (packages / name).is_dir()]
    return sorted(libraries, key=lambda name: -spent[name])[:4]
