"""A Horizon that is slow, broken, hostile or tired never proves anything and never holds a thread."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from stellar_sdk import Asset, Keypair, Payment

from portal.adapters import horizon_http
from portal.adapters.horizon import Horizon
from portal.adapters.horizon_budget import LocalBudget
from portal.adapters.horizon_http import HorizonHttp
from portal.kernel.chain import ChainContradiction, ChainUnavailable, SubmissionRefused

HASH = "ab" * 32
PATH = f"/transactions/{HASH}"
LARGE = b'{"x":"' + b"a" * (2 * 1024 * 1024) + b'"}'


class Clock:
    """A monotonic clock that moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestAnswer:
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, b"<html>It works!</html>"),
            (200, b""),
            (200, b'{"hash": "ab'),
            (200, b"[]"),
            (200, b"null"),
            (200, b'{"ledger": NaN}'),
            (200, b'{"ledger": 1e999}'),
            (200, b'{"successful": true, "successful": false}'),
            (200, b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
            (200, b'{"x": ' + b"9" * 5_000 + b"}"),
            (200, b'{"x": "\xff"}'),
            (200, LARGE),
            (301, {"status": 301}),
            (302, {"status": 302}),
            (403, {"status": 403}),
            (404, b"<html>404</html>"),
            (404, {"status": 200}),
            (410, {"status": 410}),
            (500, {"status": 500}),
            (503, {"status": 503}),
            (504, {"status": 504}),
        ],
    )
    def test_that_is_not_whole_json_is_unavailable(
        self, horizon: Horizon, served: Any, status: int, body: Any
    ) -> None:
        served.add(PATH, body, status=status, headers={"Location": f"{served.url}/elsewhere"})

        with pytest.raises(ChainUnavailable) as refusal:
            horizon.find_transaction(HASH)

        assert refusal.value.code == "horizon_unavailable"
        assert served.count("/elsewhere") == 0

    def test_of_a_dead_server_is_unavailable(self) -> None:
        horizon = Horizon("http://127.0.0.1:9", passphrase="x", timeout_seconds=0.5)

        with pytest.raises(ChainUnavailable):
            horizon.find_transaction(HASH)

    @pytest.mark.parametrize("drip", [False, True])
    def test_that_comes_slowly_is_given_up_in_time(self, served: Any, drip: bool) -> None:
        served.delay_seconds, served.drip = (0.0, True) if drip else (4.0, False)
        http = HorizonHttp(served.url, timeout_seconds=0.3, budget=LocalBudget(per_second=100, burst=10))
        started = time.monotonic()

        with pytest.raises(ChainUnavailable):
            http.get("/")

        assert time.monotonic() - started < 3.0

    def test_of_several_requests_is_bounded_together(self, horizon: Horizon, served: Any) -> None:
        served.delay_seconds = 2.0
        started = time.monotonic()

        with pytest.raises(ChainUnavailable):
            horizon.find_transaction(HASH, within_seconds=2.5)

        # Two of its requests alone take four seconds.
        assert time.monotonic() - started < 3.8

    def test_of_an_account_is_bounded_as_well(self, horizon: Horizon, served: Any) -> None:
        served.delay_seconds = 2.0
        started = time.monotonic()

        with pytest.raises(ChainUnavailable):
            horizon.account(Keypair.random().public_key, within_seconds=0.5)

        assert time.monotonic() - started < 1.8

    def test_survives_a_kept_connection_that_the_server_closed(self, horizon: Horizon, served: Any) -> None:
        served.add("/", {"network_passphrase": "Tagih Tests ; 2026", "history_latest_ledger": 9}, headers={})
        assert horizon.network().latest_ledger == 9
        served.routes["/"][1]["Connection"] = "close"

        assert horizon.network().latest_ledger == 9
        assert horizon.network().latest_ledger == 9


@pytest.fixture
def raw() -> Iterator[Callable[..., str]]:
    """Return a function that serves these pieces, whatever is asked, a pause after each, and its address."""
    servers = []

    def serve(*pieces: bytes, pause_seconds: float = 0.0) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def answer(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(65_536)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause_seconds)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield serve
    for server in servers:
        server.close()


OK = b"HTTP/1.1 200 OK\r\n"


class TestWire:
    @pytest.mark.parametrize(
        "pieces",
        [
            (b"",),
            (b"not HTTP at all\r\n\r\n",),
            (OK,),
            (OK + b"Content-Length: 40\r\n\r\n", b'{"network_passphrase": "x"}'),
            (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\n{}\r\n"),
            (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n{}\r\n0\r\n\r\n"),
            (OK + b"Content-Length: -1\r\n\r\n",),
            (OK + b"Content-Length: 2, 3\r\n\r\n", b"{}"),
            (OK + b"Content-Encoding: gzip\r\nContent-Length: 22\r\n\r\n", gzip.compress(b"{}")),
            (OK, *[b"X-Padding: " + b"a" * 60_000 + b"\r\n"] * 200),
            (OK + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",),
            (b"HTTP/1.1 100 Continue\r\n\r\n" * 50,),
            (b"HTTP/1.1 204 No Content\r\n\r\n",),
        ],
    )
    def test_that_breaks_off_or_lies_is_unavailable(
        self, raw: Callable[..., str], pieces: tuple[bytes, ...]
    ) -> None:
        http = HorizonHttp(raw(*pieces), timeout_seconds=2, budget=LocalBudget())

        with pytest.raises(ChainUnavailable) as refusal:
            http.get("/")

        assert refusal.value.code == "horizon_unavailable"

    @pytest.mark.parametrize("prefix", [b"", OK + b"X-Slow: ", OK + b"Content-Length: 900\r\n\r\n"])
    def test_that_drips_is_given_up_in_time_wherever_it_drips(
        self, raw: Callable[..., str], prefix: bytes
    ) -> None:
        http = HorizonHttp(
            raw(prefix, *[b"a"] * 100, pause_seconds=0.1), timeout_seconds=0.4, budget=LocalBudget()
        )
        started = time.monotonic()

        with pytest.raises(ChainUnavailable):
            http.get("/")

        # To the end it would take ten seconds; each byte alone comes well in time.
        assert time.monotonic() - started < 3

    def test_that_never_ends_is_given_up_at_two_megabytes(self, raw: Callable[..., str]) -> None:
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        http = HorizonHttp(
            raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 10_000),
            timeout_seconds=20,
            budget=LocalBudget(),
        )

        with pytest.raises(horizon_http.BodyTooLarge):
            http.get("/")


class TestPace:
    def test_of_429_is_obeyed_until_its_time_has_passed(self, served: Any) -> None:
        clock = Clock()
        http = HorizonHttp(
            served.url,
            timeout_seconds=1,
            budget=LocalBudget(per_second=100, burst=10, monotonic=clock),
            monotonic=clock,
        )
        served.add("/fee_stats", {"status": 429}, status=429, headers={"Retry-After": "7"})

        with pytest.raises(ChainUnavailable) as first:
            http.get("/fee_stats")
        clock.now += 6.9
        with pytest.raises(ChainUnavailable):
            http.get("/")
        clock.now += 0.2
        answer = http.get("/")

        assert first.value.retry_after_seconds == 7
        assert answer.status == 200
        assert len(served.requests) == 2

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            # Horizon's own way: the whole allowance of 101 is back in 101 seconds, one request in one.
            ({"X-Ratelimit-Limit": "101", "X-Ratelimit-Reset": "101"}, 1),
            ({"X-Ratelimit-Reset": "8"}, 8),
            ({"X-Ratelimit-Reset": "soon"}, 5),
            ({"X-Ratelimit-Limit": "0", "X-Ratelimit-Reset": "99999"}, 300),
        ],
    )
    def test_slows_down_after_the_last_answer_of_an_allowance(
        self, served: Any, headers: dict[str, str], seconds: float
    ) -> None:
        clock = Clock()
        budget = LocalBudget(per_second=100, burst=10, monotonic=clock)
        http = HorizonHttp(served.url, timeout_seconds=1, budget=budget, monotonic=clock)
        served.add("/last", {"is": "good"}, headers={"X-Ratelimit-Remaining": "0", **headers})

        answer = http.get("/last")
        with pytest.raises(ChainUnavailable) as refusal:
            http.get("/")
        clock.now += seconds

        assert answer.status == 200
        assert refusal.value.retry_after_seconds == pytest.approx(seconds)
        assert http.get("/").status == 200

    def test_is_kept_while_something_of_the_allowance_is_left(self, served: Any) -> None:
        http = HorizonHttp(served.url, timeout_seconds=1, budget=LocalBudget(monotonic=Clock()))
        headers = {"X-Ratelimit-Remaining": "1", "X-Ratelimit-Limit": "2", "X-Ratelimit-Reset": "900"}
        served.add("/more", {"is": "good"}, headers=headers)

        assert [http.get("/more").status for _ in range(3)] == [200] * 3

    def test_of_the_bucket_refuses_what_would_wait_too_long(self, served: Any) -> None:
        clock = Clock()
        http = HorizonHttp(
            served.url,
            timeout_seconds=1,
            budget=LocalBudget(per_second=1, burst=2, monotonic=clock),
            monotonic=clock,
        )

        http.get("/")
        http.get("/")
        with pytest.raises(ChainUnavailable):
            http.get("/")
        clock.now += 1

        assert http.get("/").status == 200


class TestBreaker:
    def test_opens_after_five_failures_and_lets_one_probe_through(self, served: Any) -> None:
        clock = Clock()
        http = HorizonHttp(
            served.url,
            timeout_seconds=1,
            budget=LocalBudget(per_second=99, burst=99, monotonic=clock),
            monotonic=clock,
        )
        served.add("/bad", {"status": 500}, status=500)
        for _ in range(5):
            with pytest.raises(ChainUnavailable):
                http.get("/bad")

        with pytest.raises(ChainUnavailable):
            http.get("/")
        assert len(served.requests) == 5
        clock.now += 2.1
        with pytest.raises(ChainUnavailable):
            http.get("/bad")
        clock.now += 2.1
        with pytest.raises(ChainUnavailable):
            http.get("/")
        assert len(served.requests) == 6
        clock.now += 2.1

        assert http.get("/").status == 200
        assert http.get("/").status == 200

    def test_is_not_moved_by_transactions_that_are_not_there(self, horizon: Horizon, served: Any) -> None:
        assert [horizon.find_transaction(HASH) for _ in range(8)] == [None] * 8


class TestSubmit:
    def signed(self, chain: SimpleNamespace) -> Any:
        return chain.sign([Payment(chain.merchant.public_key, Asset.native(), "1")], payer=chain.payer)

    def test_returns_the_hash(self, horizon: Horizon, served: Any, chain: SimpleNamespace) -> None:
        signed = self.signed(chain)
        served.add("/transactions", {"hash": signed.hash})

        assert horizon.submit(signed.record["envelope_xdr"]) == signed.hash

    def test_tells_why_the_network_refused(
        self, horizon: Horizon, served: Any, chain: SimpleNamespace
    ) -> None:
        codes = {"transaction": "tx_failed", "operations": ["op_underfunded"]}
        served.add("/transactions", {"status": 400, "extras": {"result_codes": codes}}, status=400)

        with pytest.raises(SubmissionRefused) as refusal:
            horizon.submit(self.signed(chain).record["envelope_xdr"])

        assert refusal.value.result_codes == ("tx_failed", "op_underfunded")

    def test_is_never_repeated(self, horizon: Horizon, served: Any, chain: SimpleNamespace) -> None:
        served.add("/transactions", {"status": 504}, status=504)

        with pytest.raises(ChainUnavailable):
            horizon.submit(self.signed(chain).record["envelope_xdr"])

        assert served.count("POST") == 1

    def test_refuses_what_is_no_envelope(self, horizon: Horizon, served: Any) -> None:
        with pytest.raises(ChainContradiction):
            horizon.submit("AAAA")

        assert served.count("POST") == 0


class TestAccount:
    def test_that_does_not_exist_is_none(self, horizon: Horizon, chain: SimpleNamespace) -> None:
        assert horizon.account(chain.merchant.public_key) is None

    def test_shows_balances_flags_and_signers(
        self, horizon: Horizon, served: Any, chain: SimpleNamespace
    ) -> None:
        wallet, issuer = chain.merchant.public_key, chain.issuer.public_key
        usdc = {"asset_type": "credit_alphanum4", "asset_code": "USDC", "asset_issuer": issuer}
        record = {
            "account_id": wallet,
            "sequence": "42",
            "balances": [
                {**usdc, "balance": "3.0000000", "limit": "10.0000000", "is_authorized": False},
                {"asset_type": "liquidity_pool_shares", "balance": "1.0000000"},
                {"asset_type": "native", "balance": "20.5000000", "selling_liabilities": "1.0000000"},
            ],
            "flags": {"auth_required": True},
            "thresholds": {"low_threshold": 1, "med_threshold": 2, "high_threshold": 3},
            "signers": [{"key": wallet, "weight": 1}],
            "data": {"config.memo_required": "MQ=="},
        }
        served.add(f"/accounts/{wallet}", record)

        state = horizon.account(wallet)

        assert state is not None
        assert (state.sequence, state.medium_threshold, state.memo_required) == (42, 2, True)
        assert (state.auth_required, state.home_domain) == (True, None)
        native, trustline = state.holding("native"), state.holding(f"USDC:{issuer}")
        assert native is not None and native.balance_stroops == 205_000_000 and native.authorized
        assert trustline is not None and not trustline.authorized and trustline.limit_stroops == 100_000_000
        assert len(state.balances) == 2

    def test_of_somebody_else_is_refused(self, horizon: Horizon, served: Any, chain: SimpleNamespace) -> None:
        record = {"account_id": chain.stranger.public_key, "sequence": "1", "balances": [], "signers": []}
        served.add(f"/accounts/{chain.merchant.public_key}", record)

        with pytest.raises(ChainContradiction):
            horizon.account(chain.merchant.public_key)


def test_the_largest_body_is_two_megabytes(served: Any) -> None:
    http = HorizonHttp(served.url, timeout_seconds=2, budget=LocalBudget(per_second=99, burst=99))
    served.add("/fits", b'{"x":"' + b"a" * (horizon_http.BODY_BYTES_MAX - 8) + b'"}')

    assert http.get("/fits").status == 200


def test_a_hash_that_is_no_hash_asks_for_no_other_path(
    horizon: Horizon, served: Any, pay: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError):
        horizon.find_transaction("../accounts")

    assert served.requests == []
