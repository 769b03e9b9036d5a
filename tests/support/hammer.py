"""Sends many requests at once from a process of its own: `python -m tests.support.hammer < orders.json`.

Reads {"threads": n, "requests": [{"url", "headers", "json" | "form"}]} and prints the statuses as JSON.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import requests


def main() -> None:
    orders = json.load(sys.stdin)
    barrier = Barrier(orders["threads"])
    shares = [orders["requests"][index :: orders["threads"]] for index in range(orders["threads"])]

    def send(share):
        barrier.wait()
        session = requests.Session()
        statuses = []
        for order in share:
            answer = session.post(
                order["url"], headers=order.get("headers"), json=order.get("json"), data=order.get("form"),
                allow_redirects=False, timeout=60,
            )  # fmt: skip
            statuses.append(answer.status_code)
        return statuses

    with ThreadPoolExecutor(orders["threads"]) as pool:
        print(json.dumps([status for statuses in pool.map(send, shares) for status in statuses]))


if __name__ == "__main__":
    main()
