"""Two real servers that say what a Horizon would: money counts when both agree, and never otherwise."""

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from stellar_sdk import AccountMerge, Asset, Clawback, PathPaymentStrictSend, Payment

from portal.adapters.horizon import Horizon
from portal.adapters.second_source import ConfirmedSource
from portal.kernel.chain import ChainContradiction, ChainUnavailable, NotConfirmed
from tests.cases.served import PASSPHRASE, Served, serving
from tests.cases.signing import Signed, page

UNIT = 10_000_000
UNKNOWN = "ab" * 32


@pytest.fixture
def other() -> Iterator[Served]:
    """The second Horizon, which knows nothing but its network yet."""
    with serving() as found:
        yield found


@pytest.fixture
def pair(served: Served, other: Served) -> Callable[..., ConfirmedSource]:
    def make(above: int = 0) -> ConfirmedSource:
        first, second = (
            Horizon(each.url, passphrase=PASSPHRASE, timeout_seconds=1.0) for each in (served, other)
        )
        return ConfirmedSource(first, second, above_stroops=above)

    return make


@pytest.fixture
def both(pay: Callable[..., Signed], other: Served) -> Callable[..., Signed]:
    """Sign a payment that both serve; `differ(record, operation)` changes what the second says of it."""

    def serve(differ: Callable[[Any, Any], None] | None = None, **options: Any) -> Signed:
        signed = pay(**options)
        copy = deepcopy(signed)
        if differ is not None:
            differ(copy.record, copy.operations[0])
        copy.serve(other)
        return signed

    return serve


def host(served: Served) -> str:
    return served.url.removeprefix("http://")


class TestFindTransaction:
    def test_names_both_when_they_agree(self, pair: Any, both: Any, served: Served, other: Served) -> None:
        found = pair().find_transaction(both().hash)

        assert found.sources == (host(served), host(other))
        assert found.credits[0].stroops == 125_000_000

    def test_of_one_alone_names_one(self, horizon: Horizon, pay: Any, served: Served) -> None:
        found = horizon.find_transaction(pay().hash)

        assert found is not None and found.sources == (host(served),)

    def test_is_not_confirmed_while_the_second_lacks_it(self, pair: Any, pay: Any) -> None:
        with pytest.raises(NotConfirmed):
            pair().find_transaction(pay().hash)

    def test_is_found_by_either_hash(self, pair: Any, both: Any, chain: SimpleNamespace) -> None:
        signed = both(fee_payer=chain.stranger)

        outer, inner = (pair().find_transaction(each) for each in (signed.hash, signed.inner_hash))

        assert outer == inner
        assert len(outer.sources) == len(inner.sources) == 2

    @pytest.mark.parametrize(
        ("name", "value", "named"),
        [
            ("ledger", 8, "ledger"),
            ("created_at", "2026-11-20T12:00:05Z", "closed_at"),
            ("successful", False, "successful"),
        ],
    )
    def test_is_contradicted_by_another_account_of_it(
        self, pair: Any, both: Any, name: str, value: Any, named: str
    ) -> None:
        def differ(record: Any, operation: Any) -> None:
            record[name] = value
            if name == "successful":
                operation["transaction_successful"] = value

        signed = both(differ)

        with pytest.raises(ChainContradiction) as refusal:
            pair().find_transaction(signed.hash)

        assert "disagrees" in refusal.value.detail
        assert named in refusal.value.detail

    @pytest.mark.parametrize(
        ("name", "value"),
        [("amount", "12.6000000"), ("to", "stranger"), ("asset_type", "credit_alphanum4")],
    )
    def test_is_contradicted_by_what_the_signature_refutes(
        self, pair: Any, both: Any, chain: SimpleNamespace, name: str, value: str
    ) -> None:
        changed = chain.stranger.public_key if value == "stranger" else value
        signed = both(lambda _, operation: operation.update({name: changed}))

        with pytest.raises(ChainContradiction) as refusal:
            pair().find_transaction(signed.hash)

        assert "the second source" in refusal.value.detail

    def test_is_contradicted_by_another_received_amount(
        self, pair: Any, both: Any, chain: SimpleNamespace
    ) -> None:
        # What a path payment delivered is not signed, so one Horizon alone could invent it.
        usdc = Asset("USDC", chain.issuer.public_key)
        sent = PathPaymentStrictSend(chain.merchant.public_key, Asset.native(), "50", usdc, "7", [])
        signed = both(lambda _, operation: operation.update(amount="7.1000000"), operations=[sent])

        with pytest.raises(ChainContradiction) as refusal:
            pair().find_transaction(signed.hash)

        assert refusal.value.detail == "the second source disagrees: credits"

    def test_is_contradicted_by_another_merged_balance(
        self, pair: Any, both: Any, served: Served, other: Served, chain: SimpleNamespace
    ) -> None:
        signed = both(operations=[AccountMerge(chain.merchant.public_key)])
        for each, amount in ((served, "3.0000000"), (other, "2.0000000")):
            effect = {
                "type": "account_credited",
                "account": chain.merchant.public_key,
                "amount": amount,
                "asset_type": "native",
            }
            each.add(f"/operations/{signed.operations[0]['id']}/effects", page([effect]))

        with pytest.raises(ChainContradiction) as refusal:
            pair().find_transaction(signed.hash)

        assert refusal.value.detail == "the second source disagrees: credits, debits"

    def test_is_not_believed_from_a_second_source_of_another_network(
        self, pair: Any, both: Any, other: Served
    ) -> None:
        other.add("/", {"network_passphrase": "Another Network ; 2026", "history_latest_ledger": 9})
        signed = both()

        with pytest.raises(ChainContradiction):
            pair().find_transaction(signed.hash)

    def test_waits_while_the_second_is_away(self, pair: Any, both: Any, other: Served) -> None:
        signed = both()
        other.spoil = lambda *_: (503, {}, {"status": 503})

        with pytest.raises(ChainUnavailable) as outage:
            pair().find_transaction(signed.hash)

        assert not isinstance(outage.value, NotConfirmed)

    def test_obeys_the_second_and_goes_on_asking_the_first(
        self, pair: Any, both: Any, served: Served, other: Served
    ) -> None:
        signed, source = both(), pair()
        other.spoil = lambda *_: (429, {"Retry-After": "9"}, {"status": 429})

        for _ in range(3):
            with pytest.raises(ChainUnavailable) as outage:
                source.find_transaction(signed.hash)

        assert 8 < (outage.value.retry_after_seconds or 0) <= 9
        assert other.count("/transactions/") == 1
        assert served.count(f"/transactions/{signed.hash}/operations") == 3

    def test_that_the_first_lacks_is_nobody_elses_business(
        self, pair: Any, other: Served, pay: Any, served: Served
    ) -> None:
        signed = pay()
        served.routes.clear()
        served.add("/", {"network_passphrase": PASSPHRASE, "history_latest_ledger": 9})
        signed.serve(other)

        assert pair().find_transaction(signed.hash) is None
        assert other.requests == []

    def test_that_failed_needs_no_opinion(self, pair: Any, pay: Any, other: Served) -> None:
        found = pair().find_transaction(pay(successful=False).hash)

        assert found is not None and not found.successful
        assert other.requests == []

    def test_is_bounded_in_time_together(self, pair: Any, both: Any, other: Served) -> None:
        signed = both()
        other.delay_seconds = 0.7
        started = time.monotonic()

        with pytest.raises(ChainUnavailable):
            pair().find_transaction(signed.hash, within_seconds=1.0)

        # Three answers of the second alone take 2.1 seconds.
        assert time.monotonic() - started < 2.0


class TestThreshold:
    @pytest.mark.parametrize(
        ("amounts", "asked"),
        [(["5"], False), (["5.0000001"], True), (["1", "6"], True), (["2", "3"], False), (["2"] * 3, True)],
    )
    def test_is_what_a_transaction_may_bring_one_account_unasked(
        self, pair: Any, both: Any, other: Served, chain: SimpleNamespace, amounts: list[str], asked: bool
    ) -> None:
        paid = [Payment(chain.merchant.public_key, Asset.native(), amount) for amount in amounts]

        found = pair(above=5 * UNIT).find_transaction(both(operations=paid).hash)

        assert len(found.sources) == (2 if asked else 1)
        assert bool(other.requests) is asked

    def test_adds_up_neither_assets_nor_accounts(
        self, pair: Any, both: Any, other: Served, chain: SimpleNamespace
    ) -> None:
        usdc = Asset("USDC", chain.payer.public_key)
        paid = [
            Payment(chain.merchant.public_key, Asset.native(), "3"),
            Payment(chain.merchant.public_key, usdc, "3"),
            Payment(chain.payer.public_key, Asset.native(), "3"),
        ]

        assert len(pair(above=5 * UNIT).find_transaction(both(operations=paid).hash).sources) == 1
        assert not other.requests

    @pytest.mark.parametrize("amounts", [["6"], ["3", "3"]])
    def test_counts_what_an_issuer_takes_back(
        self, pair: Any, both: Any, other: Served, chain: SimpleNamespace, amounts: list[str]
    ) -> None:
        usdc = Asset("USDC", chain.payer.public_key)
        clawbacks = [Clawback(usdc, chain.merchant.public_key, amount) for amount in amounts]
        taken = both(operations=clawbacks, edit_operation={
            "from": chain.merchant.public_key, "asset_type": "credit_alphanum4", "asset_code": "USDC",
            "asset_issuer": chain.payer.public_key,
        })  # fmt: skip

        assert len(pair(above=5 * UNIT).find_transaction(taken.hash).sources) == 2


class TestPage:
    @pytest.fixture
    def listed(self, chain: SimpleNamespace, served: Served, other: Served) -> list[Signed]:
        """Three payments that both know, listed by the first alone: the second is asked by hash."""
        paid = [
            chain.sign(
                [Payment(chain.merchant.public_key, Asset.native(), "2")], payer=chain.payer, ledger=ledger
            )
            for ledger in (7, 8, 9)
        ]
        rows = [{**signed.operations[0], "transaction": signed.record} for signed in paid]
        for path in (f"/accounts/{chain.merchant.public_key}/payments", "/payments"):
            served.add(path, page(rows))
        for signed in paid:
            signed.serve(other)
        return paid

    @pytest.mark.parametrize("by_account", [True, False])
    def test_holds_what_both_confirm(
        self, pair: Any, listed: list[Signed], chain: SimpleNamespace, by_account: bool
    ) -> None:
        wallet, source = chain.merchant.public_key, pair()

        found = source.credits_since(wallet, "0") if by_account else source.payments_since("0", {wallet})

        assert [each.canonical_hash for each in found.transactions] == [each.hash for each in listed]
        assert all(len(each.sources) == 2 for each in found.transactions)
        assert found.refused == ()

    def test_parks_what_the_second_lacks_and_keeps_nothing_waiting(
        self, pair: Any, listed: list[Signed], other: Served, chain: SimpleNamespace
    ) -> None:
        del other.routes[f"/transactions/{listed[1].hash}"]

        found = pair().credits_since(chain.merchant.public_key, "0")

        assert [each.canonical_hash for each in found.transactions] == [listed[0].hash, listed[2].hash]
        [refused] = found.refused
        assert refused.transaction_hash == listed[1].hash
        assert refused.detail == "the second source does not have this transaction"
        assert found.cursor == listed[2].operations[0]["paging_token"]

    def test_parks_what_the_second_contradicts(
        self, pair: Any, listed: list[Signed], other: Served, chain: SimpleNamespace
    ) -> None:
        changed = {**listed[0].record, "ledger": 77}
        other.add(f"/transactions/{listed[0].hash}", changed)

        found = pair().credits_since(chain.merchant.public_key, "0")

        assert [refused.detail for refused in found.refused] == ["the second source disagrees: ledger"]

    def test_parks_everything_while_the_second_is_away(
        self, pair: Any, listed: list[Signed], other: Served, chain: SimpleNamespace
    ) -> None:
        source = pair()
        other.spoil = lambda *_: (503, {}, {"status": 503})

        found = source.credits_since(chain.merchant.public_key, "0")
        source.credits_since(chain.merchant.public_key, "0")

        assert found.transactions == ()
        assert [refused.transaction_hash for refused in found.refused] == [each.hash for each in listed]
        assert all("does not answer" in refused.detail for refused in found.refused)
        # Its breaker opened at the fifth failure, and the sixth look did not reach it.
        assert other.count("/transactions/") == 5

    def test_asks_a_slow_second_for_a_bounded_time(
        self, served: Served, other: Served, listed: list[Signed], chain: SimpleNamespace
    ) -> None:
        moments = iter([0.0, 1.0, 29.0, 31.0])
        first, second = (Horizon(each.url, passphrase=PASSPHRASE) for each in (served, other))
        source = ConfirmedSource(first, second, above_stroops=0, monotonic=lambda: next(moments))

        found = source.credits_since(chain.merchant.public_key, "0")

        assert [each.canonical_hash for each in found.transactions] == [each.hash for each in listed[:2]]
        assert [refused.detail for refused in found.refused] == ["no time is left to ask the second source"]


class TestOtherQuestions:
    def test_go_to_the_first_alone(
        self, pair: Any, served: Served, other: Served, chain: SimpleNamespace
    ) -> None:
        source = pair()
        signed = chain.sign([Payment(chain.merchant.public_key, Asset.native(), "1")], payer=chain.payer)
        served.add("/transactions", {"hash": signed.hash})

        assert source.find_transaction(UNKNOWN) is None
        assert source.account(chain.merchant.public_key) is None
        assert source.latest_cursor() == "0"
        assert source.network().latest_ledger == 9
        assert source.clawbacks_since(chain.merchant.public_key, "0").transactions == ()
        assert source.submit(signed.record["envelope_xdr"]) == signed.hash
        assert other.requests == []
