"""Counts the requests of each key in Redis; when Redis is away nobody is turned away."""

from dataclasses import dataclass
from datetime import datetime

from flask import Response, current_app, g
from redis.exceptions import RedisError

from portal.extensions import redis
from portal.kernel.errors import Limited

WINDOW_SECONDS = 60
# 500 a second is more than one till or one import sends and less than what a runaway loop does to the others.
REQUESTS_PER_WINDOW = 30_000
# Each of these may ask Horizon, whose own budget all merchants share.
NETWORK_REQUESTS_PER_WINDOW = 3_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a key's requests in this window."""

    limit: int
    remaining: int
    reset_seconds: int


def take_one(key_ref: str, *, asks_network: bool, now: datetime) -> None:
    """Count this request against its key.

    :raises Limited: when the window's requests are used up.
    """
    seconds = int(now.timestamp())
    window, passed = divmod(seconds, WINDOW_SECONDS)
    reset = WINDOW_SECONDS - passed
    limit = _limit(asks_network)
    name = f"api:{{{key_ref}}}:{'network' if asks_network else 'any'}:{window}"
    try:
        with redis.client.pipeline(transaction=False) as pipe:
            pipe.incr(name)
            pipe.expire(name, WINDOW_SECONDS * 2)
            used = int(pipe.execute()[0])
    except RedisError:
        # Counting protects the others' share; it is not worth refusing a merchant's payments for.
        return
    g.api_allowance = Allowance(limit, max(0, limit - used), reset)
    if used > limit:
        raise Limited(f"This key has used its {limit} requests a minute.", retry_after_seconds=reset)


def show_allowance(response: Response) -> Response:
    allowance: Allowance | None = g.get("api_allowance")
    if allowance is not None:
        response.headers["RateLimit-Limit"] = str(allowance.limit)
        response.headers["RateLimit-Remaining"] = str(allowance.remaining)
        response.headers["RateLimit-Reset"] = str(allowance.reset_seconds)
    return response


def _limit(asks_network: bool) -> int:
    if asks_network:
        return int(current_app.config.get("API_NETWORK_REQUESTS_PER_MINUTE", NETWORK_REQUESTS_PER_WINDOW))
    return int(current_app.config.get("API_REQUESTS_PER_MINUTE", REQUESTS_PER_WINDOW))
