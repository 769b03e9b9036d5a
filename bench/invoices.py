"""T3: `POST /api/v1/invoices` against the same rows written by raw psycopg, 8 connections each."""

import json
import pickle
from typing import Any

from bench import load, raw
from bench.load import UNIQUE, Order, request_text
from bench.measure import Result, side_by_side
from bench.stack import CONNECTIONS, Stack, WebServer, api_headers

SECONDS = 1.5
WORKERS = 2
BODY: dict[str, Any] = {
    "asset": "native",
    "description": "Coffee for a month",
    "items": [
        {"description": "Arabica, 250 g", "quantity": "3", "unit_price": "42"},
        {"description": "Robusta, 1 kg", "quantity": "1", "unit_price": "61.5"},
    ],
    "taxes": [{"label": "PPN", "percent": "11"}],
    "metadata": {"shop": "3"},
}


def measure_posts(stack: Stack) -> list[Result]:
    server = stack.serve("wsgi:app", workers=WORKERS, threads=CONNECTIONS // WORKERS)
    results = []
    for code, issue in (("T3", True), ("T3d", False)):
        body = BODY | {"issue": issue}
        plans = _capture(stack, server, body, issue=issue)
        lanes = [
            [
                request_text(
                    "POST",
                    "/api/v1/invoices",
                    port=server.port,
                    headers={
                        "Authorization": api_headers(merchant)["Authorization"],
                        "Idempotency-Key": UNIQUE,
                    },
                    body=json.dumps(body),
                )
            ]
            for merchant in stack.merchants
        ]

        def through_api(lanes: list[list[str]] = lanes) -> float:
            return load.run(Order(server.port, lanes, SECONDS)).rate

        def by_psycopg(plans: list[str] = plans) -> float:
            share = CONNECTIONS // WORKERS
            orders = [
                {
                    "dsn": stack.environment["DATABASE_URL"],
                    "plans": plans[n * share : (n + 1) * share],
                    "seconds": SECONDS,
                }
                for n in range(WORKERS)
            ]
            found = load.run_together([("bench.raw", order) for order in orders])
            return sum(each["count"] / each["seconds"] for each in found)

        found = side_by_side(through_api, by_psycopg)
        what = f"POST invoices ({'issued' if issue else 'draft'}) of raw psycopg"
        rows = sum(len(table.rows) for table in pickle.loads(bytes.fromhex(plans[0])).tables)
        detail = f"{found.ours:.0f}/s of {found.other:.0f}/s, {rows} rows each"
        results.append(Result(code, what, 0.35, found.ratio, "x", "at least", detail))
    stack.end(server)
    return results


def _capture(stack: Stack, server: WebServer, body: dict[str, Any], *, issue: bool) -> list[str]:
    """Let the API write one invoice for each merchant and return how to write such rows again."""
    plans = []
    with stack.superuser() as connection:
        for merchant in stack.merchants:
            stack.api(server, merchant, body)  # the accounts and the counter exist from here on
            before = raw.rows_of(connection, merchant.merchant_id)
            stack.api(server, merchant, body)
            after = raw.rows_of(connection, merchant.merchant_id)
            plan = raw.Plan(merchant.merchant_id, merchant.user_id, raw.new_rows(before, after), issue)
            plans.append(pickle.dumps(plan).hex())
    return plans
