"""`python -m bench`: print goal, measured and verdict of each goal, and write them to bench/results.json."""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from bench import checkout, footprint, invoices, relay, start
from bench.measure import ROUNDS, Result
from bench.stack import Stack, make_folder

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="", help="codes, comma-separated: T1,T2,T3,T7,T9,T10")
    parser.add_argument("--start", action="store_true", help="also the time from `make run` to the link")
    parser.add_argument(
        "--clone", action="store_true", help="with --start: from a clean clone too, which installs"
    )
    chosen = parser.parse_args()
    wanted = set(filter(None, chosen.only.split(","))) or {"T1", "T2", "T3", "T7", "T9", "T10"}
    began = time.perf_counter()
    results: list[Result] = []
    try:
        for result in _measure(wanted, with_start=chosen.start, with_clone=chosen.clone):
            print(line_of(result), flush=True)
            results.append(result)
    finally:
        # What was measured before something broke is kept.
        _write(results, time.perf_counter() - began)


def _measure(wanted: set[str], *, with_start: bool, with_clone: bool) -> Iterator[Result]:
    if with_start:
        yield from start.measure_start(clone=with_clone)
    with Stack(make_folder()) as stack:
        if wanted & {"T1", "T2", "T9", "T10"}:
            yield from _measure_server(stack, wanted)
        if "T3" in wanted:
            yield from invoices.measure_posts(stack)
        if "T7" in wanted:
            yield _after_an_event(stack)
        if "T9" in wanted:
            yield footprint.measure_import(stack)


def _measure_server(stack: Stack, wanted: set[str]) -> Iterator[Result]:
    server = stack.serve("wsgi:app", workers=1, threads=checkout.LANES)
    paths = checkout.issue_pages(stack, server, 1)
    if "T9" in wanted:
        yield footprint.measure_memory(stack, server, paths)
    if "T10" in wanted:
        yield checkout.measure_weight(server, paths[0])
    if wanted & {"T1", "T2"}:
        paths = checkout.issue_pages(stack, server, checkout.COLD_PAGES)
        yield from checkout.measure_pages(stack, server, paths)
    stack.end(server)


def _after_an_event(stack: Stack) -> Result:
    with stack.superuser() as connection:
        found = connection.execute("SELECT 1 FROM events WHERE type = 'invoice.issued' LIMIT 1").fetchone()
    if found is None:
        server = stack.serve("wsgi:app", workers=1, threads=1)
        checkout.issue_pages(stack, server, 1)
        stack.end(server)
    return relay.measure_relay(stack)


def line_of(result: Result) -> str:
    goal = f"{result.want} {result.goal:g} {result.unit}"
    measured = f"{result.measured:.2f} {result.unit}"
    verdict = "met" if result.is_met else "MISSED"
    return f"{result.code:4} {result.what:44} {goal:16} {measured:>11}  {verdict:7} {result.detail}"


def _write(results: list[Result], seconds: float) -> None:
    print(f"\nMedians of {ROUNDS} interleaved rounds, {seconds:.0f} s in all, {os.cpu_count()} cores.")
    document = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "seconds": round(seconds, 1),
        "results": [result.as_json() for result in results],
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
