"""One Horizon, many processes: they share its pace, obey its 429 together and probe it one at a time."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from portal.adapters import cache
from portal.adapters.horizon_budget import FAILURES_MAX, Admission, Budget, LocalBudget, SharedBudget
from portal.adapters.horizon_http import HorizonHttp
from portal.extensions import redis
from portal.kernel.chain import ChainUnavailable

PER_SECOND = 1.0
# `burst_of(1.0)`: what goes out at once before the pace counts.
BURST = 50


class Clock:
    """A monotonic clock that moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def use_redis(monkeypatch: pytest.MonkeyPatch, url: str) -> Redis:
    client = Redis.from_url(url, socket_timeout=5)
    monkeypatch.setattr(redis, "client", client)
    cache.pause.end()
    return client


@pytest.fixture
def shared(base_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """The Redis of this test, with nothing known of any Horizon."""
    client = use_redis(monkeypatch, base_environment["REDIS_URL"])
    forget(client)
    yield client
    forget(client)
    client.close()


def forget(client: Redis) -> None:
    for key in client.scan_iter("tagih:horizon:*"):
        client.delete(key)


def fail(budget: Budget, times: int = FAILURES_MAX) -> None:
    for _ in range(times):
        budget.enter(0)
        budget.failed()


def refusal(budget: Budget) -> ChainUnavailable:
    with pytest.raises(ChainUnavailable) as refused:
        budget.enter(0)
    return refused.value


def processes(count: int) -> list[SharedBudget]:
    """What as many processes hold: each a budget and a local fallback of its own, one name."""
    return [SharedBudget("test/horizon.example", per_second=PER_SECOND) for _ in range(count)]


class TestLocalBudget:
    def test_lets_one_ask_when_the_door_opens(self) -> None:
        clock = Clock()
        budget = LocalBudget(per_second=1, burst=10, monotonic=clock)

        budget.close(60)
        clock.now += 60

        assert budget.enter(0).wait_seconds == 0
        assert refusal(budget).retry_after_seconds == pytest.approx(1)

    def test_slows_the_next_request_down_without_refusing_it(self) -> None:
        clock = Clock()
        budget = LocalBudget(per_second=100, burst=10, monotonic=clock)

        budget.slow(1.2)

        assert budget.enter(1.5).wait_seconds == pytest.approx(1.2)

    def test_never_obeys_for_longer_than_five_minutes(self) -> None:
        clock = Clock()
        budget = LocalBudget(monotonic=clock)

        budget.close(86_400)
        clock.now += 301

        assert budget.enter(0) == Admission(0, False)

    def test_counts_every_thread(self) -> None:
        clock = Clock()
        budget = LocalBudget(per_second=1, burst=50, monotonic=clock)

        assert admitted_at_once([budget] * 8, asks=20) == 50


def admitted_at_once(budgets: list[Any], asks: int) -> int:
    """Let a thread per budget ask `asks` times and return how many were let in without waiting."""
    let_in: list[int] = []
    barrier = threading.Barrier(len(budgets))

    def ask(budget: Budget) -> None:
        barrier.wait()
        for _ in range(asks):
            try:
                budget.enter(0)
            except ChainUnavailable:
                continue
            let_in.append(1)

    threads = [threading.Thread(target=ask, args=(budget,)) for budget in budgets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(let_in)


class TestSharedBudget:
    def test_is_one_bucket_for_all_processes(self, shared: Redis) -> None:
        # The bucket fills by one a second; a slow machine must not turn that into a failure.
        assert BURST <= admitted_at_once(processes(4), asks=30) <= BURST + 20

    def test_closes_the_door_of_all(self, shared: Redis) -> None:
        first, second = processes(2)

        first.close(7)

        assert 6 < (refusal(second).retry_after_seconds or 0) <= 7
        assert 6 < (refusal(first).retry_after_seconds or 0) <= 7

    def test_slows_all(self, shared: Redis) -> None:
        first, second = processes(2)

        first.slow(1.0)

        assert 0.5 < second.enter(1.5).wait_seconds <= 1.0

    def test_opens_the_breaker_by_the_failures_of_all_together(self, shared: Redis) -> None:
        first, second, third = processes(3)

        fail(first, 3)
        fail(second, 2)

        assert 0 < (refusal(third).retry_after_seconds or 0) <= 2

    def test_lets_one_process_probe_at_a_time(self, shared: Redis) -> None:
        first, second = processes(2)
        fail(first)
        open_the_door(shared)

        probe = first.enter(0)
        waiting = refusal(second)
        first.succeeded(probe)

        assert probe.is_watched
        assert "probed" in waiting.detail
        assert not second.enter(0).is_watched

    def test_lets_one_of_many_probe_at_the_same_moment(self, shared: Redis) -> None:
        everybody = processes(4)
        fail(everybody[0])
        open_the_door(shared)

        assert admitted_at_once(everybody, asks=5) == 1

    def test_survives_a_redis_that_forgot_its_scripts(self, shared: Redis) -> None:
        first, second = processes(2)
        first.close(60)

        shared.script_flush()

        assert refusal(second).retry_after_seconds

    def test_rests_longer_after_a_probe_that_failed(self, shared: Redis) -> None:
        first, second = processes(2)
        fail(first)
        open_the_door(shared)

        second.enter(0)
        second.failed()

        assert 2 < (refusal(first).retry_after_seconds or 0) <= 4

    def test_forgets_a_probe_whose_process_died(self, shared: Redis) -> None:
        first, second = processes(2)
        fail(first)
        open_the_door(shared)
        first.enter(0)

        [key] = shared.scan_iter("tagih:horizon:*")
        # Its ten seconds are over.
        shared.hset(key, "probing_until", int(time.time() * 1000) - 1)

        assert second.enter(0).is_watched

    def test_does_not_stay_closed_when_the_clock_of_redis_is_set_back(self, shared: Redis) -> None:
        [budget] = processes(1)
        budget.enter(0)
        [key] = shared.scan_iter("tagih:horizon:*")

        tomorrow = int(time.time() * 1000) + 86_400_000
        shared.hset(key, mapping={"closed_until": tomorrow, "filled_at": tomorrow})

        assert budget.enter(0).wait_seconds == 0

    def test_keeps_one_door_per_horizon(self, shared: Redis) -> None:
        one, other = (SharedBudget(f"test/{host}", per_second=9) for host in ("one.example", "two.example"))

        one.close(60)

        assert other.enter(0).wait_seconds == 0

    def test_outlives_what_it_says_and_no_longer(self, shared: Redis) -> None:
        [budget] = processes(1)
        budget.close(300)

        [key] = shared.scan_iter("tagih:horizon:*")

        assert 300_000 < shared.pttl(key) <= 900_000

    def test_obeys_what_it_was_told_itself_when_redis_was_flushed(self, shared: Redis) -> None:
        [budget] = processes(1)
        budget.close(60)

        forget(shared)

        assert refusal(budget).retry_after_seconds


def open_the_door(client: Redis) -> None:
    """Let the rest of an open breaker be over."""
    [key] = client.scan_iter("tagih:horizon:*")
    client.hset(key, "closed_until", 0)


class TestWithoutRedis:
    def test_each_process_goes_on_by_itself_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = use_redis(monkeypatch, "redis://127.0.0.1:9")
        asked: list[object] = []
        real = client.execute_command
        monkeypatch.setattr(client, "execute_command", lambda *a, **o: asked.append(a) or real(*a, **o))
        first, second = processes(2)

        let_in = admitted_at_once([first], asks=BURST + 10)
        second.close(60)

        assert BURST <= let_in <= BURST + 2
        assert refusal(second).retry_after_seconds
        # One failed call a second and process, not one a request.
        assert len(asked) <= 3

    def test_the_breaker_of_each_process_opens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        use_redis(monkeypatch, "redis://127.0.0.1:9")
        first, second = processes(2)

        fail(first)

        assert refusal(first).retry_after_seconds
        assert second.enter(0).wait_seconds == 0

    def test_that_is_killed_a_closed_door_stays_closed(
        self, monkeypatch: pytest.MonkeyPatch, private_services: Callable[..., Any], served: Any
    ) -> None:
        servers = private_services("valkey")
        client = use_redis(monkeypatch, servers.urls()["REDIS_URL"])
        heard, other = (HorizonHttp(served.url, timeout_seconds=1, budget=budget) for budget in processes(2))
        for _ in range(20):
            other.get("/")
        calls = client.info("commandstats")
        served.add("/busy", {"status": 429}, status=429, headers={"Retry-After": "60"})
        with pytest.raises(ChainUnavailable):
            heard.get("/busy")
        asked = len(served.requests)

        with pytest.raises(ChainUnavailable):
            other.get("/")
        os.kill(servers.valkey.process.pid, signal.SIGKILL)
        servers.valkey.process.wait()
        with pytest.raises(ChainUnavailable):
            heard.get("/")

        assert len(served.requests) == asked == 21
        # What the other one heard is gone with Redis; it goes on by itself.
        assert other.get("/").status == 200
        # Twenty good answers took twenty round trips, and one for the script's text.
        assert calls["cmdstat_evalsha"]["calls"] == 20
        assert calls["cmdstat_eval"]["calls"] == 1


class TestTwoProcesses:
    """Real processes, a real Redis, a real server."""

    @pytest.fixture
    def asker(
        self, shared: Redis, base_environment: dict[str, str], served: Any
    ) -> Iterator[Callable[[], "Asker"]]:
        started: list[Asker] = []

        def start() -> Asker:
            started.append(Asker(base_environment["REDIS_URL"], served.url))
            return started[-1]

        yield start
        for each in started:
            each.stop()

    def test_a_429_to_one_is_obeyed_by_both_until_its_time_has_passed(self, asker: Any, served: Any) -> None:
        first, second = asker(), asker()
        assert (first.ask("/"), second.ask("/")) == ("200", "200")
        served.add("/busy", {"status": 429}, status=429, headers={"Retry-After": "2"})

        heard = first.ask("/busy")
        refused = second.ask("/")
        asked = len(served.requests)
        time.sleep(2.1)
        after = second.ask("/")

        assert heard == "refused 2.0"
        assert refused.startswith("refused")
        assert (asked, after) == (3, "200")

    def test_five_failures_between_them_leave_horizon_in_peace(self, asker: Any, served: Any) -> None:
        first, second = asker(), asker()
        served.add("/bad", {"status": 503}, status=503)

        for ask in (first.ask, second.ask, first.ask, second.ask, first.ask):
            ask("/bad")
        answers = [first.ask("/"), second.ask("/")]

        assert all(answer.startswith("refused") for answer in answers)
        assert len(served.requests) == 5

    def test_an_allowance_that_is_used_up_slows_both(self, asker: Any, served: Any) -> None:
        first, second = asker(), asker()
        # As Horizon counts: 100 more in 100 seconds, so one a second.
        headers = {"X-Ratelimit-Remaining": "0", "X-Ratelimit-Limit": "100", "X-Ratelimit-Reset": "100"}
        served.add("/last", {"is": "the last of this allowance"}, headers=headers)
        second.ask("/")

        first.ask("/last")
        started = time.monotonic()
        answer = second.ask("/")

        # It waits for its turn and is served: an answer that was not refused is nobody's outage.
        assert answer == "200"
        assert time.monotonic() - started > 0.5


class Asker:
    """`tests.support.asking` as a running process."""

    def __init__(self, redis_url: str, horizon_url: str) -> None:
        command = [sys.executable, "-m", "tests.support.asking", redis_url, horizon_url, "100"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, path: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def stop(self) -> None:
        self._process.communicate(timeout=10)
