"""Every case of what may happen on the chain, claimed by every entry, has the one verdict of its table."""

import pytest

from tests.cases import honest, hostile, unusable
from tests.cases.entries import ApiEntry, PageEntry, PortalEntry
from tests.cases.play import play, wait_out
from tests.cases.table import HONEST, HOSTILE, UNUSABLE

assert hostile and honest and unusable
CASES = [*HOSTILE.values(), *HONEST.values(), *UNUSABLE.values()]
# All entries share one flow, so `make test` sends every case through one of them and a sixth through each
# other; `make test-long` sends the rest.
PARTS = 6


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def a_part_of(cases, first, parts=PARTS):
    """Leave all but every `parts`-th case to the long tests."""
    marked = [
        pytest.param(case, id=case.name, marks=() if place % parts == first else pytest.mark.long)
        for place, case in enumerate(cases)
    ]
    return pytest.mark.parametrize("case", marked)


@each(CASES)
def test_on_the_payers_page(case, people):
    play(case, people, PageEntry(people.app))


@a_part_of(CASES, 0)
def test_over_the_api(case, people):
    play(case, people, ApiEntry(people.app))


@a_part_of(CASES, 1)
def test_by_the_merchant(case, people):
    play(case, people, PortalEntry(people.app))


HEALING = [case for case in UNUSABLE.values() if case.heals]


@a_part_of(HEALING, 2, parts=9)
def test_a_claim_that_had_to_wait_is_settled_by_the_worker(case, people, people_theatre):
    wait_out(case, people, PageEntry(people.app), people_theatre.inspector)


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 60
    assert len(HONEST) >= 16
