"""When a claimed hash is looked for again: by its age while it is absent, soon while nobody can tell."""

from datetime import timedelta

import pytest

from portal.domain.payments.submissions import after_outage, next_attempt_at
from tests.support.builders import NOON

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("age", "delay"),
    [(0 * SECOND, SECOND), (4 * SECOND, SECOND), (20 * SECOND, 5 * SECOND), (MINUTE, 10 * SECOND), (48 * HOUR, 10 * SECOND)],
)  # fmt: skip
def test_an_outage_is_waited_out_in_steps_that_grow_to_ten_seconds(age: timedelta, delay: timedelta) -> None:
    assert after_outage(started_at=NOON - age, not_before=None, now=NOON) == NOON + delay


@pytest.mark.parametrize(("seconds", "delay"), [(0.01, SECOND), (3, 3 * SECOND), (300, 300 * SECOND)])
def test_a_source_that_says_when_to_come_back_is_obeyed(seconds: float, delay: timedelta) -> None:
    not_before = NOON + timedelta(seconds=seconds)

    assert after_outage(started_at=NOON, not_before=not_before, now=NOON) == NOON + delay


@pytest.mark.parametrize(
    ("age", "attempts", "delay"),
    [
        (SECOND, 1, 2 * SECOND),
        (MINUTE, 5, 30 * SECOND),
        (MINUTE, 6, MINUTE),
        (15 * MINUTE, 20, MINUTE),
        (16 * MINUTE, 21, 10 * MINUTE),
        (23 * HOUR, 200, 10 * MINUTE),
    ],
)
def test_what_is_not_on_the_ledger_is_looked_for_less_and_less(
    age: timedelta, attempts: int, delay: timedelta
) -> None:
    assert next_attempt_at(started_at=NOON - age, attempts=attempts, now=NOON) == NOON + delay


def test_what_is_not_on_the_ledger_for_a_day_is_given_up() -> None:
    assert next_attempt_at(started_at=NOON - 24 * HOUR, attempts=300, now=NOON) is None
