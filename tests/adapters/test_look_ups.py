"""A few look-ups at once: the next one waits while Horizon is quick, and is sent away while it is slow."""

import threading
from contextlib import ExitStack

import pytest

from portal.adapters import look_ups
from portal.adapters.look_ups import SLOW_SECONDS, LookUps
from portal.kernel.chain import ChainUnavailable


class Clock:
    """A monotonic clock that moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def take(places: LookUps, taken: ExitStack, count: int) -> None:
    for _ in range(count):
        taken.enter_context(places.place())


def is_full(places: LookUps) -> bool:
    try:
        with places.place():
            return False
    except ChainUnavailable:
        return True


def patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(look_ups, "PATIENCE_SECONDS", seconds)


def test_a_place_that_was_left_is_free_again(clock: Clock) -> None:
    places = LookUps(2, monotonic=clock)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), ExitStack() as taken:
            take(places, taken, 2)
            raise ZeroDivisionError

    assert not is_full(places)


def test_one_more_waits_for_its_turn_while_horizon_is_quick(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(monkeypatch, 20)
    places, held, leave = LookUps(1, monotonic=clock), threading.Event(), threading.Event()

    def hold() -> None:
        with places.place():
            held.set()
            leave.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(20)
    threading.Timer(0.05, leave.set).start()

    assert not is_full(places)
    holder.join()


def test_nobody_waits_once_a_look_up_was_slow(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    places = LookUps(1, monotonic=clock)
    with places.place():
        clock.now += 3
    # Whoever waited now would wait for a minute, and this test with it.
    patience(monkeypatch, 60)

    with places.place():
        assert is_full(places)


def test_nobody_waits_once_somebody_waited_in_vain(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    places = LookUps(1, monotonic=clock)
    with places.place():
        patience(monkeypatch, 0.01)
        assert is_full(places)
        patience(monkeypatch, 60)
        assert is_full(places)


def test_being_sent_away_is_no_sign_of_a_slow_horizon(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    places = LookUps(1, monotonic=clock)
    patience(monkeypatch, 0.01)
    with places.place():
        assert is_full(places)
        clock.now += SLOW_SECONDS - 1
        assert is_full(places)
        clock.now += 1

        # The place is still taken, but waiting is allowed again: it is noted anew only after a wait.
        assert is_full(places)
        assert places._slow_until == clock.now + SLOW_SECONDS
