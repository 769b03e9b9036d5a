"""Every case of what may happen on the chain, found by the watcher, has the verdict that a claim of it has."""

from tests.cases.play import watch
from tests.cases.test_entries import CASES, a_third_of, each

SEEN = [case for case in CASES if case.is_seen]


@each(SEEN)
def test_by_the_stream_of_the_network(case, watched):
    watch(case, watched, "network")


@a_third_of(SEEN, 1)
def test_by_the_list_of_the_wallet(case, watched):
    watch(case, watched, "accounts")
