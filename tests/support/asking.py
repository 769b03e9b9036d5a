"""Asks a Horizon from a process of its own: `python -m tests.support.asking REDIS_URL HORIZON_URL PER_SECOND`.

Reads a path a line and answers each with a line: the status, or `refused` and how many seconds to wait.
"""

import sys

from redis import Redis

from portal.adapters.horizon_budget import SharedBudget
from portal.adapters.horizon_http import HorizonHttp
from portal.extensions import redis
from portal.kernel.chain import ChainUnavailable


def main() -> None:
    redis_url, horizon_url, per_second = sys.argv[1:]
    redis.client = Redis.from_url(redis_url)
    budget = SharedBudget(horizon_url.partition("://")[2], per_second=float(per_second))
    http = HorizonHttp(horizon_url, timeout_seconds=3, budget=budget)
    for line in sys.stdin:
        try:
            print(http.get(line.strip()).status, flush=True)
        except ChainUnavailable as outage:
            print("refused", outage.retry_after_seconds, flush=True)


if __name__ == "__main__":
    main()
