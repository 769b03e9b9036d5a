"""Every case of what may happen on the chain, claimed by every entry, has the one verdict of its table."""

import pytest

from tests.cases import honest, hostile, unusable
from tests.cases.entries import ApiEntry, PageEntry, PortalEntry
from tests.cases.play import play
from tests.cases.table import HONEST, HOSTILE, UNUSABLE

assert hostile and honest and unusable
CASES = [*HOSTILE.values(), *HONEST.values(), *UNUSABLE.values()]
# All entries share one flow, so `make test` sends every case through one of them and a third through each
# other; `make test-long` sends the rest.
THIRDS = 3


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def a_third_of(cases, first):
    """Leave two of three cases to the long tests."""
    marked = [
        pytest.param(case, id=case.name, marks=() if place % THIRDS == first else pytest.mark.long)
        for place, case in enumerate(cases)
    ]
    return pytest.mark.parametrize("case", marked)


@each(CASES)
def test_on_the_payers_page(case, people):
    play(case, people, PageEntry(people.app))


@a_third_of(CASES, 0)
def test_over_the_api(case, people):
    play(case, people, ApiEntry(people.app))


@a_third_of(CASES, 1)
def test_by_the_merchant(case, people):
    play(case, people, PortalEntry(people.app))


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 60
    assert len(HONEST) >= 16
