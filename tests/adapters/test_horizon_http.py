"""A Horizon that is slow, broken, hostile or tired never proves anything and never holds a thread."""

import time
from collections.abc import Callable
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
