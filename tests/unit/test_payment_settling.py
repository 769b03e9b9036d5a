"""What an invoice received is a function of the set of its credits: order and repetition change nothing."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.domain.payments.settling import Arrival, Settled, Share, flags_of, share_out, tolerance_for

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def arrival(ledger: int, stroops: int, *, is_late: bool = False, operation: int = 0) -> Arrival:
    closed_at = NOON + timedelta(seconds=5 * ledger)
    return Arrival((ledger, "ab" * 32, operation, 0), stroops, closed_at, is_late)


arrivals = st.lists(
    st.builds(arrival, st.integers(1, 9), st.integers(1, 40), operation=st.integers(0, 99)),
    max_size=6,
    unique_by=lambda each: each.place,
)
capacities, tolerances = st.integers(0, 100), st.integers(0, 10)


@given(arrivals, capacities, tolerances, st.randoms(use_true_random=False))
def test_the_order_in_which_credits_were_seen_changes_nothing(
    found: list[Arrival], capacity: int, tolerance: int, random: Random
) -> None:
    shuffled = random.sample(found, len(found))

    assert share_out(shuffled, capacity_stroops=capacity, tolerance_stroops=tolerance) == share_out(
        found, capacity_stroops=capacity, tolerance_stroops=tolerance
    )


@given(arrivals, capacities, tolerances)
def test_every_stroop_is_allocated_or_in_excess_and_the_amount_is_never_exceeded(
    found: list[Arrival], capacity: int, tolerance: int
) -> None:
    settled = share_out(found, capacity_stroops=capacity, tolerance_stroops=tolerance)

    shares = settled.shares
    assert set(shares) == {each.place for each in found}
    for each in found:
        share = shares[each.place]
        assert share.allocated_stroops + share.excess_stroops == each.stroops
        assert min(share.allocated_stroops, share.excess_stroops, share.rounding_stroops) >= 0
    allocated = sum(share.allocated_stroops for share in shares.values())
    forgiven = sum(share.rounding_stroops for share in shares.values())
    assert allocated == min(capacity, sum(each.stroops for each in found))
    assert forgiven <= tolerance
    assert allocated + forgiven <= capacity
    assert (settled.completed_at is not None) == (allocated > 0 and allocated + forgiven == capacity)


@given(arrivals, capacities, st.integers(1, 8))
def test_a_credit_behind_all_others_moves_nothing_before_it(
    found: list[Arrival], capacity: int, stroops: int
) -> None:
    last = arrival(10, stroops)

    before = share_out(found, capacity_stroops=capacity, tolerance_stroops=0).shares
    after = share_out([*found, last], capacity_stroops=capacity, tolerance_stroops=0).shares

    assert {place: share for place, share in after.items() if place != last.place} == before


def test_shares_go_in_the_order_of_the_chain() -> None:
    settled = share_out(
        [arrival(3, 50), arrival(1, 60), arrival(2, 70)], capacity_stroops=100, tolerance_stroops=0
    )

    assert settled == Settled(
        {arrival(1, 60).place: Share(60), arrival(2, 70).place: Share(40, 30), arrival(3, 50).place: Share(0, 50)},
        NOON + timedelta(seconds=10),
    )  # fmt: skip


def test_a_tolerated_rest_is_closed_by_the_last_credit_that_gave() -> None:
    settled = share_out([arrival(1, 60), arrival(2, 38)], capacity_stroops=100, tolerance_stroops=2)

    assert settled == Settled(
        {arrival(1, 60).place: Share(60), arrival(2, 38).place: Share(38, 0, 2)}, NOON + timedelta(seconds=10)
    )


def test_a_rest_beyond_the_tolerance_stays_due() -> None:
    settled = share_out([arrival(1, 97)], capacity_stroops=100, tolerance_stroops=2)

    assert settled == Settled({arrival(1, 97).place: Share(97)}, None)


def test_nothing_is_forgiven_where_nothing_was_given() -> None:
    assert share_out([], capacity_stroops=1, tolerance_stroops=1) == Settled({}, None)
    assert share_out([arrival(1, 5)], capacity_stroops=0, tolerance_stroops=9) == Settled(
        {arrival(1, 5).place: Share(0, 5)}, None
    )


@pytest.mark.parametrize(
    ("amount", "policy", "tolerance"),
    [(1_000, 0, 0), (1_000, 99, 99), (1_000, 100, 100), (1_000, 101, 100), (9, 5, 0), (19, 5, 1)],
)
def test_the_tolerance_is_a_tenth_of_the_amount_at_most(amount: int, policy: int, tolerance: int) -> None:
    assert tolerance_for(amount_stroops=amount, policy_stroops=policy) == tolerance


@pytest.mark.parametrize(
    ("is_late", "share", "flags"),
    [
        (False, Share(5), ()),
        (True, Share(1), ("late",)),
        (True, Share(0, 5), ("duplicate",)),
        (False, Share(0, 1), ("duplicate",)),
        (False, Share(1, 1), ("overpaid",)),
        (False, Share(5, 0, 1), ("short",)),
        (True, Share(4, 1), ("late", "overpaid")),
        (True, Share(5, 0, 2), ("late", "short")),
    ],
)
def test_flags_tell_what_is_special_about_a_credit(
    is_late: bool, share: Share, flags: tuple[str, ...]
) -> None:
    assert flags_of(arrival(1, 5, is_late=is_late), share) == flags
