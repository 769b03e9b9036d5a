"""Answers a repeated request once: the effect and the answer kept for it are one commit or none.

The key's lock is taken first inside the effect's transaction, its row is inserted last. Whatever another
request with the same key did meanwhile, the first committed answer is the one that everybody gets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from portal.db import release
from portal.domain.idempotency import queries, service
from portal.domain.idempotency.rules import Attempt, KeptAnswer
from portal.kernel.errors import TagihError


@dataclass(frozen=True, slots=True)
class Outcome:
    """`replayed` says that the answer was given before and nothing was done now."""

    answer: KeptAnswer
    replayed: bool


class _Answered(Exception):
    """Carries an answer found under the lock out of the effect's transaction."""

    def __init__(self, answer: KeptAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Hooks:
    """What an effect calls inside its transaction: `prepare` first, `finish` with its answer last."""

    def __init__(self, attempt: Attempt | None, now: datetime) -> None:
        self._attempt = attempt
        self._now = now
        self._answer: KeptAnswer | None = None

    def prepare(self) -> None:
        """Hold the key; an answer found by then ends the transaction."""
        if self._attempt is not None and (known := service.hold(self._attempt)) is not None:
            raise _Answered(known)

    def finish(self, answer: KeptAnswer) -> None:
        if self._attempt is not None:
            service.keep(self._attempt, answer, now=self._now)
        self._answer = answer

    @property
    def answer(self) -> KeptAnswer:
        assert self._answer is not None, "an effect ends with finish()"
        return self._answer


def answer_once(
    attempt: Attempt | None, effect: Callable[[Hooks], object], *, now: datetime, asks_network: bool = False
) -> Outcome:
    """Run `effect` unless its key has an answer, and return the answer.

    `effect` opens one transaction that calls the hooks; an answer it refuses by raising is not kept. An
    effect that `asks_network` is looked up before it begins.

    :raises IdempotencyInProgress: while another request with this key runs.
    :raises IdempotencyMismatch: when the key was first used with another body.
    """
    hooks = Hooks(attempt, now)
    if attempt is not None and asks_network and (known := queries.find_answer(attempt)) is not None:
        return Outcome(known, replayed=True)
    try:
        effect(hooks)
    except _Answered as answered:
        return Outcome(answered.answer, replayed=True)
    except (TagihError, IntegrityError):
        # A first request that committed between our look and our lock makes ours fail on its own effect
        # (the external id is taken, the draft is issued): what it was answered is our answer too.
        release()
        if attempt is None or (known := queries.find_answer(attempt)) is None:
            raise
        return Outcome(known, replayed=True)
    return Outcome(hooks.answer, replayed=False)
