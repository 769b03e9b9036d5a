"""The watcher's pages: whole transactions in order, and a cursor that never skips."""

from types import SimpleNamespace
from typing import Any

import pytest
from stellar_sdk import Address, Asset, BumpSequence, Clawback, InvokeHostFunction, Payment, scval, xdr

from portal.adapters.horizon import Horizon
from portal.kernel.chain import ChainContradiction, ChainUnavailable


def rows(*signed: Any, joined: bool = True) -> list[dict[str, Any]]:
    """Return the records of a payments page: only operations that pay are listed there."""
    return [
        {**row, "transaction": one.record} if joined else row
        for one in signed
        for row in one.operations
        if row["type"] != "bump_sequence"
    ]


class Shop:
    """Signs payments for the merchant and serves them as one page."""

    def __init__(self, chain: SimpleNamespace, served: Any) -> None:
        self.chain, self.served = chain, served
        self.wallet: str = chain.merchant.public_key
        self.path = f"/accounts/{self.wallet}/payments"

    def paid(self, ledger: int, *, to: str | None = None, operations: list[Any] | None = None) -> Any:
        payments = operations or [Payment(to or self.wallet, Asset.native(), "1")]
        signed = self.chain.sign(payments, payer=self.chain.payer, ledger=ledger)
        signed.serve(self.served)
        return signed

    def list(self, *records: dict[str, Any]) -> None:
        self.served.add(self.path, self.chain.page(list(records)))
        self.served.add("/payments", self.chain.page(list(records)))


@pytest.fixture
def shop(chain: SimpleNamespace, served: Any) -> Shop:
    return Shop(chain, served)


class TestPage:
    def test_of_joined_payments_needs_one_request(self, horizon: Horizon, shop: Shop) -> None:
        first, second = shop.paid(7), shop.paid(8)
        shop.list(*rows(first, second))

        found = horizon.credits_since(shop.wallet, "0")

        assert [each.canonical_hash for each in found.transactions] == [first.hash, second.hash]
        assert found.cursor == second.operations[0]["paging_token"]
        assert (found.records, found.is_full, found.refused) == (2, False, ())
        assert found.last_closed_at is not None
        assert shop.served.count("/transactions/") == 0
        assert "join=transactions" in shop.served.requests[-1]

    def test_completes_a_transaction_of_which_it_shows_a_part(self, horizon: Horizon, shop: Shop) -> None:
        mixed = shop.paid(7, operations=[BumpSequence(1), Payment(shop.wallet, Asset.native(), "2")])
        shop.list(*rows(mixed))

        [found] = horizon.credits_since(shop.wallet, "0").transactions

        assert [(credit.operation_index, credit.stroops) for credit in found.credits] == [(1, 20_000_000)]

    def test_gives_the_same_transaction_joined_or_fetched(self, horizon: Horizon, shop: Shop) -> None:
        signed = shop.paid(7, operations=[Payment(shop.wallet, Asset.native(), "2") for _ in range(3)])
        shop.list(*rows(signed))
        joined = horizon.credits_since(shop.wallet, "0").transactions
        shop.list(*rows(signed, joined=False))

        assert horizon.credits_since(shop.wallet, "0").transactions == joined
        assert joined == (horizon.find_transaction(signed.hash),)

    def test_of_a_transaction_that_began_before_the_cursor_brings_it_whole(
        self, horizon: Horizon, shop: Shop
    ) -> None:
        signed = shop.paid(7, operations=[Payment(shop.wallet, Asset.native(), "2") for _ in range(3)])
        shop.list(*rows(signed)[1:])

        [found] = horizon.credits_since(shop.wallet, signed.operations[0]["paging_token"]).transactions

        assert len(found.credits) == 3

    def test_of_the_network_asks_only_for_watched_addresses(self, horizon: Horizon, shop: Shop) -> None:
        foreign = shop.paid(7, to=shop.chain.stranger.public_key)
        ours = shop.paid(8)
        shop.list(*rows(foreign, ours, joined=False))

        found = horizon.payments_since("0", frozenset({shop.wallet}))

        assert [each.canonical_hash for each in found.transactions] == [ours.hash]
        assert found.records == 2
        assert shop.served.count(foreign.hash) == 0

    def test_leaves_out_what_the_wallet_itself_pays(self, horizon: Horizon, shop: Shop) -> None:
        shop.list(*rows(shop.paid(7, to=shop.chain.stranger.public_key)))

        found = horizon.credits_since(shop.wallet, "0")

        assert (found.transactions, found.records) == ((), 1)

    def test_parks_a_record_that_contradicts_itself_and_goes_on(self, horizon: Horizon, shop: Shop) -> None:
        bad, good = shop.paid(7), shop.paid(8)
        records = rows(bad, good)
        records[0]["amount"] = "2.0000000"
        shop.list(*records)

        found = horizon.credits_since(shop.wallet, "0")

        assert [each.transaction_hash for each in found.refused] == [bad.hash]
        assert [each.canonical_hash for each in found.transactions] == [good.hash]
        assert found.cursor == good.operations[0]["paging_token"]

    def test_ends_before_a_transaction_that_cannot_be_had_now(self, horizon: Horizon, shop: Shop) -> None:
        first, second = shop.paid(7), shop.paid(8)
        shop.list(*rows(first), *rows(second, joined=False))
        shop.served.add(f"/transactions/{second.hash}", {"status": 503}, status=503)

        found = horizon.credits_since(shop.wallet, "0")

        assert [each.canonical_hash for each in found.transactions] == [first.hash]
        assert found.cursor == first.operations[0]["paging_token"]
        assert found.is_full, "the rest is still to come: this is not the end of what there is"
        shop.list(*rows(second, joined=False))
        with pytest.raises(ChainUnavailable):
            horizon.credits_since(shop.wallet, found.cursor)

    def test_that_is_too_large_is_asked_for_in_smaller_pieces(self, horizon: Horizon, shop: Shop) -> None:
        signed = shop.paid(7)

        def sized(query: dict[str, str]) -> Any:
            if "join" in query and int(query["limit"]) > 10:
                return b'{"x":"' + b"a" * 2_200_000 + b'"}'
            return shop.chain.page(rows(signed))

        shop.served.add(shop.path, sized)

        assert len(horizon.credits_since(shop.wallet, "0").transactions) == 1

    def test_that_runs_backwards_is_refused(self, horizon: Horizon, shop: Shop) -> None:
        shop.list(*rows(shop.paid(7)))

        with pytest.raises(ChainContradiction):
            horizon.credits_since(shop.wallet, str(9 << 32))

    def test_parks_a_record_whose_hash_is_none(self, horizon: Horizon, shop: Shop) -> None:
        good = shop.paid(8)
        bad = {**rows(shop.paid(7), joined=False)[0], "transaction_hash": "../accounts"}
        shop.list(bad, *rows(good))

        found = horizon.credits_since(shop.wallet, "0")

        assert [each.transaction_hash for each in found.refused] == ["../accounts"]
        assert [each.canonical_hash for each in found.transactions] == [good.hash]

    def test_names_what_it_parks_by_what_a_database_can_keep(self, horizon: Horizon, shop: Shop) -> None:
        shop.list(*({**row, "transaction_hash": "\0" * 200} for row in rows(shop.paid(7))))

        [found] = horizon.credits_since(shop.wallet, "0").refused

        assert found.transaction_hash == r"\x00" * 20

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"_embedded": {"records": "none"}},
            {"_embedded": {"records": ["x"]}},
            {"_embedded": {"records": [{"paging_token": "now", "transaction_hash": "ab"}]}},
            {"_embedded": {"records": [{"paging_token": str(2**63), "transaction_hash": "ab"}]}},
        ],
    )
    def test_that_is_no_page_is_unavailable(self, horizon: Horizon, shop: Shop, body: Any) -> None:
        shop.served.add(shop.path, body)

        with pytest.raises(ChainUnavailable):
            horizon.credits_since(shop.wallet, "0")

    def test_of_a_wallet_that_was_never_funded_is_empty(self, horizon: Horizon, shop: Shop) -> None:
        found = horizon.credits_since(shop.wallet, "5")

        assert (found.transactions, found.cursor, found.records) == ((), "5", 0)

    def test_that_is_full_says_so(self, horizon: Horizon, shop: Shop) -> None:
        shop.list(*rows(shop.paid(7), shop.paid(8)))

        assert horizon.credits_since(shop.wallet, "0", limit=2).is_full


class TestClawbacks:
    def test_are_read_in_one_order_with_what_was_paid(self, horizon: Horizon, shop: Shop) -> None:
        usdc = Asset("USDC", shop.chain.payer.public_key)
        paid = shop.paid(7)
        sent = shop.paid(8, to=shop.chain.stranger.public_key)
        taken = shop.paid(9, operations=[Clawback(usdc, shop.wallet, "5")])
        elsewhere = shop.paid(10, operations=[Clawback(usdc, shop.chain.stranger.public_key, "5")])
        listed = shop.chain.page(rows(paid, sent, taken, elsewhere))
        shop.served.add(f"/accounts/{shop.wallet}/operations", listed)

        found = horizon.clawbacks_since(shop.wallet, "0")

        assert [each.canonical_hash for each in found.transactions] == [paid.hash, taken.hash]
        [debit] = found.transactions[1].debits
        assert (debit.kind, debit.source, debit.stroops) == ("clawback", shop.wallet, 50_000_000)
        assert found.cursor == elsewhere.operations[0]["paging_token"]

    def test_by_a_contract_are_among_the_payments(self, horizon: Horizon, shop: Shop) -> None:
        signed = shop.paid(7, operations=[a_contract_call()])
        signed.operations[0]["asset_balance_changes"] = [
            {
                "asset_type": "credit_alphanum4",
                "asset_code": "USDC",
                "asset_issuer": shop.chain.issuer.public_key,
            }
            | {"type": "clawback", "from": shop.wallet, "amount": "1.0000000"}
        ]
        shop.list(*rows(signed))

        [found] = horizon.payments_since("0", frozenset({shop.wallet})).transactions

        assert [(debit.kind, debit.source) for debit in found.debits] == [("clawback", shop.wallet)]


def a_contract_call() -> InvokeHostFunction:
    contract = Address("CA66Q2WFBND6V4UEB7RD4SAXSVIWMD6RA4X3U32ELVFGXV5PJK4T4VSZ").to_xdr_sc_address()
    call = xdr.InvokeContractArgs(contract, scval.to_symbol("clawback").sym, [])
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT
    return InvokeHostFunction(xdr.HostFunction(kind, invoke_contract=call))


class TestCursor:
    def test_is_that_of_the_newest_payment(self, horizon: Horizon, shop: Shop) -> None:
        signed = shop.paid(7)
        shop.list(*rows(signed))

        assert horizon.latest_cursor() == signed.operations[0]["paging_token"]

    def test_is_zero_where_nothing_happened(self, horizon: Horizon, shop: Shop) -> None:
        shop.list()

        assert horizon.latest_cursor() == "0"
        assert horizon.latest_cursor(shop.chain.stranger.public_key) == "0"
