"""Do something to see what comes of it, and leave no trace."""

from collections.abc import Callable
from typing import TypeVar

from portal.db import run_transaction

T = TypeVar("T")


class _Rehearsed(Exception):
    """Carries the answer out of a transaction that is rolled back by it."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer


def rehearse(work: Callable[[], T]) -> T:
    """Run `work` in a transaction that is rolled back, and return its answer.

    What a page announces is so what its button does, by the same code under the same locks. The answer must
    be plain values: rows forget what they held when their transaction is undone.
    """

    def whole() -> None:
        raise _Rehearsed(work())

    try:
        run_transaction(whole)
    except _Rehearsed as rehearsed:
        return rehearsed.answer  # type: ignore[return-value]  # it is what `work` returned
    raise AssertionError("a rehearsal always ends by its own exception")
