"""How many look-ups a web process has under way at once, so that a slow Horizon never holds all its threads."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from portal.kernel.chain import ChainUnavailable

# A look-up takes a tenth of a second where Horizon is well, so several take their turn in this time.
PATIENCE_SECONDS = 1.0
# Longer than any look-up: while they go on being slow, nobody waits for one.
SLOW_SECONDS = 10.0


class LookUps:
    """A few places: one more waits a second for its turn while Horizon is quick, and not at all once it is slow."""

    def __init__(self, places: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._places = BoundedSemaphore(places)
        self._monotonic = monotonic
        self._slow_until = 0.0

    @contextmanager
    def place(self) -> Iterator[float]:
        """Hold one place and yield the seconds it was waited for.

        :raises ChainUnavailable: when all are taken.
        """
        asked = self._monotonic()
        is_patient = asked >= self._slow_until
        if not self._places.acquire(timeout=PATIENCE_SECONDS if is_patient else 0):
            if is_patient:
                self._note_slow()
            raise ChainUnavailable("enough look-ups are under way")
        began = self._monotonic()
        try:
            yield began - asked
        finally:
            self._places.release()
            if self._monotonic() - began >= PATIENCE_SECONDS:
                self._note_slow()

    def _note_slow(self) -> None:
        self._slow_until = self._monotonic() + SLOW_SECONDS
