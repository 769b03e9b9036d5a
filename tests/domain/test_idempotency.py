"""Kept answers: written with the effect, met by whoever comes second."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from portal.db import enter_tenant, release, run_transaction
from portal.domain.idempotency import queries, service
from portal.domain.idempotency.rules import (
    Attempt,
    IdempotencyInProgress,
    IdempotencyMismatch,
    KeptAnswer,
    hash_of_body,
    key_is_valid,
)
from portal.extensions import db
from portal.flows.once import answer_once
from portal.kernel.errors import Conflict
from tests.support.builders import NOON, make_shop

ANSWER = KeptAnswer(201, b'{"id":"inv_1"}', {"Location": "/x"})


@pytest.fixture
def attempt(as_web) -> Attempt:
    shop = make_shop(wallet=False)
    shop.enter()
    return Attempt(shop.id, "test", "POST /api/v1/invoices", "k", hash_of_body({"amount": "1"}))


def changed(attempt: Attempt, **fields) -> Attempt:
    values = {
        name: getattr(attempt, name) for name in ("merchant_id", "network", "route", "key", "body_hash")
    }
    return Attempt(**{**values, **fields})


def effect_of(answer: KeptAnswer, *, before=lambda: None):
    def effect(hooks) -> None:
        def work() -> None:
            hooks.prepare()
            before()
            hooks.finish(answer)

        run_transaction(work)

    return effect


class TestAnswerOnce:
    def test_keeps_the_answer_of_the_first_request(self, attempt):
        first = answer_once(attempt, effect_of(ANSWER), now=NOON)
        again = answer_once(attempt, effect_of(KeptAnswer(500, b"never")), now=NOON)

        assert (first.answer, first.replayed) == (ANSWER, False)
        assert (again.answer, again.replayed) == (ANSWER, True)

    def test_runs_the_effect_each_time_without_a_key(self, as_web):
        ran = []

        for _ in range(2):
            assert not answer_once(None, effect_of(ANSWER, before=lambda: ran.append(1)), now=NOON).replayed

        assert len(ran) == 2

    def test_looks_before_an_effect_that_asks_the_network(self, attempt):
        answer_once(attempt, effect_of(ANSWER), now=NOON)
        asked = []

        outcome = answer_once(attempt, asked.append, now=NOON, asks_network=True)

        assert outcome.answer == ANSWER and asked == []

    def test_keeps_nothing_of_an_effect_that_raised(self, attempt):
        def refuse() -> None:
            raise Conflict("not now")

        with pytest.raises(Conflict):
            answer_once(attempt, effect_of(ANSWER, before=refuse), now=NOON)

        assert queries.find_answer(attempt) is None

    def test_refuses_another_body(self, attempt):
        answer_once(attempt, effect_of(ANSWER), now=NOON)
        other = changed(attempt, body_hash=hash_of_body({"amount": "2"}))

        for asks_network in (False, True):
            with pytest.raises(IdempotencyMismatch):
                answer_once(other, effect_of(ANSWER), now=NOON, asks_network=asks_network)

    def test_a_second_request_is_told_to_wait_while_the_first_runs(self, attempt, web_app):
        held, ended = Event(), Event()

        def run_first() -> None:
            with web_app.app_context():
                enter_tenant(merchant_id=attempt.merchant_id)

                def wait() -> None:
                    held.set()
                    assert ended.wait(10)

                answer_once(attempt, effect_of(ANSWER, before=wait), now=NOON)

        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(run_first)
            assert held.wait(10)
            with pytest.raises(IdempotencyInProgress):
                answer_once(attempt, effect_of(ANSWER), now=NOON)
            ended.set()
            first.result()

        assert answer_once(attempt, effect_of(ANSWER), now=NOON).replayed

    def test_the_effect_of_a_request_that_lost_is_undone(self, attempt, web_app):
        """The first request commits after the second looked and before it took the lock."""

        def commit_first() -> None:
            with web_app.app_context():
                enter_tenant(merchant_id=attempt.merchant_id)
                run_transaction(lambda: service.keep(attempt, ANSWER, now=NOON))

        def overtake() -> None:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(commit_first).result()

        mine = effect_of(KeptAnswer(201, b"mine"), before=overtake)
        outcome = answer_once(attempt, mine, now=NOON)

        assert (outcome.answer, outcome.replayed) == (ANSWER, True)

    def test_a_stranger_sees_no_kept_answer(self, attempt):
        answer_once(attempt, effect_of(ANSWER), now=NOON)
        release()
        make_shop(wallet=False).enter()

        assert queries.find_answer(attempt) is None
        db.session.rollback()


class TestRules:
    @pytest.mark.parametrize("key", ["k", " ~", "k" * 255])
    def test_takes_printable_ascii(self, key):
        assert key_is_valid(key)

    @pytest.mark.parametrize("key", ["", "k" * 256, "\n", "caf\u00e9", "\x7f", "\uff11"])
    def test_refuses_anything_else(self, key):
        assert not key_is_valid(key)

    def test_every_part_of_an_attempt_makes_another_lock(self, attempt):
        others = [
            changed(attempt, network="live"),
            changed(attempt, route="POST /api/v1/clients"),
            changed(attempt, key="l"),
        ]

        assert len({each.lock_id for each in (attempt, *others)}) == 4
        assert changed(attempt, body_hash="other").lock_id == attempt.lock_id

    def test_a_body_is_the_same_in_any_order_of_members(self):
        assert hash_of_body({"a": 1, "b": [1, 2]}) == hash_of_body({"b": [1, 2], "a": 1})
        assert hash_of_body({"a": [1, 2]}) != hash_of_body({"a": [2, 1]})
        assert hash_of_body({"a": "1"}) != hash_of_body({"a": 1})
