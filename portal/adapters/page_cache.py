"""Finished checkout pages in Redis, kept true by a generation per checkout token (design, section 12).

A copy counts only while it carries the token's present generation. Whoever fills reads the generation
before the rows, and one script stores the copy if it is still the same; whoever changed the rows gives the
token a new one after the commit. So neither a slow fill nor a lost key can bring an old page back: a
generation is a random word, never a count that starts again.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from sqlalchemy import event
from sqlalchemy.orm import Session

from portal.adapters import cache

# A crash between commit and drop leaves a page stale until the relay drops it; this is the bound beyond that.
PAGE_SECONDS = 60
# Far longer than any copy lives, so that an idle token costs memory for a day and no more.
GENERATION_SECONDS = 86_400
GENERATION_BYTES = 8
DROPPED_AT_ONCE_MAX = 500

# KEYS: generation, copy. ARGV: the generation that was read before the rows, the copy, its seconds.
_STORE_IF_UNCHANGED = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[2], ARGV[1] .. ARGV[2], 'EX', ARGV[3])
    return 1
end
return 0
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What Redis holds of one token: `content` is None on a miss, `generation` None when it has none."""

    generation: bytes | None = None
    content: bytes | None = None


def read(token: str, part: str) -> Held:
    """Return the copy of `part` and the generation it has to carry, in one round trip."""

    keys = (_generation_key(token), _part_key(token, part))
    answer = cache.attempt(lambda client: cast("list[bytes | None]", client.mget(keys)))
    if answer is None:
        return Held()
    generation, stored = answer
    if generation is None or stored is None or not stored.startswith(generation):
        return Held(generation)
    return Held(generation, stored[len(generation) :])


def generation(token: str) -> bytes | None:
    """Return the generation to fill under, made now if there is none; None while Redis is away."""

    def begin(client: Redis) -> bytes | None:
        key = _generation_key(token)
        with client.pipeline(transaction=False) as pipe:
            pipe.set(key, _new_generation(), ex=GENERATION_SECONDS, nx=True)
            pipe.get(key)
            return cast("bytes | None", pipe.execute()[1])

    return cache.attempt(begin)


def fill(
    token: str, part: str, *, generation: bytes | None, content: bytes, seconds: int = PAGE_SECONDS
) -> bool:
    """Store a copy unless the token's generation changed since it was read; say whether it was stored."""
    if generation is None or seconds <= 0:
        return False
    keys = (_generation_key(token), _part_key(token, part))
    return bool(
        cache.attempt(
            lambda client: cast(Any, client.eval(_STORE_IF_UNCHANGED, 2, *keys, generation, content, seconds))
        )
    )


def drop_checkout(tokens: Iterable[str]) -> bool:
    """Make every copy of these checkouts worthless; False when Redis could not be told, so tell it again."""
    pending = list(tokens)

    def drop(client: Redis) -> bool:
        for start in range(0, len(pending), DROPPED_AT_ONCE_MAX):
            with client.pipeline(transaction=False) as pipe:
                for token in pending[start : start + DROPPED_AT_ONCE_MAX]:
                    pipe.set(_generation_key(token), _new_generation(), ex=GENERATION_SECONDS)
                pipe.execute()
        return True

    return not pending or bool(cache.attempt(drop))


@event.listens_for(Session, "after_commit")
def _drop_changed(session: Session) -> None:
    """Drop the pages that the committed transaction named (`announcements.mark_checkout`)."""
    # The release of a savepoint arrives here too, and nothing is committed by it.
    if session.in_nested_transaction():
        return
    tokens = session.info.pop("changed_checkouts", None)
    if tokens:
        drop_checkout(tokens)


def _generation_key(token: str) -> str:
    return f"tagih:checkout:{{{token}}}:generation"


def _part_key(token: str, part: str) -> str:
    return f"tagih:checkout:{{{token}}}:{part}"


def _new_generation() -> str:
    return secrets.token_hex(GENERATION_BYTES)
