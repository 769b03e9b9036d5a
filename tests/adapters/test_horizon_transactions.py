"""What a transaction brought is read from its envelope and Horizon's JSON, and only if they agree."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from stellar_sdk import (
    AccountMerge,
    Address,
    Asset,
    BumpSequence,
    Claimant,
    Clawback,
    CreateAccount,
    CreateClaimableBalance,
    HashMemo,
    IdMemo,
    InvokeHostFunction,
    MuxedAccount,
    PathPaymentStrictReceive,
    PathPaymentStrictSend,
    Payment,
    ReturnHashMemo,
    TextMemo,
    scval,
    xdr,
)

from portal.adapters.horizon import Horizon
from portal.kernel.chain import ChainContradiction, ChainUnavailable


class TestFindTransaction:
    def test_returns_none_while_the_ledger_does_not_have_it(self, horizon: Horizon) -> None:
        assert horizon.find_transaction("ab" * 32) is None

    def test_reads_a_payment(self, horizon: Horizon, pay: Callable[..., Any], chain: SimpleNamespace) -> None:
        signed = pay(memo=IdMemo(483927))

        found = horizon.find_transaction(signed.hash)

        assert found is not None
        assert (found.canonical_hash, found.hashes, found.ledger) == (signed.hash, (signed.hash,), 7)
        assert (found.memo_type, found.memo, found.memo_bytes) == ("id", "483927", None)
        [credit] = found.credits
        assert (credit.operation_index, credit.credit_index, credit.kind) == (0, 0, "payment")
        assert (credit.source, credit.destination) == (chain.payer.public_key, chain.merchant.public_key)
        assert (credit.asset, credit.stroops, credit.muxed_id) == ("native", 125_000_000, None)
        assert found.raw["operations"] == signed.operations

    def test_knows_a_fee_bump_by_both_hashes(
        self, horizon: Horizon, pay: Callable[..., Any], chain: SimpleNamespace
    ) -> None:
        signed = pay(fee_payer=chain.stranger)

        by_outer, by_inner = (
            horizon.find_transaction(signed.hash),
            horizon.find_transaction(signed.inner_hash),
        )

        assert by_outer is not None and by_outer == by_inner
        assert by_outer.hashes == (signed.hash, signed.inner_hash)
        assert by_outer.source_account == chain.payer.public_key

    def test_shows_a_failed_transaction_without_credits_and_without_asking_for_operations(
        self, horizon: Horizon, pay: Callable[..., Any], served: Any
    ) -> None:
        found = horizon.find_transaction(pay(successful=False).hash)

        assert found is not None
        assert (found.successful, found.credits, found.debits) == (False, (), ())
        assert served.count("/operations") == 0

    @pytest.mark.parametrize(
        ("memo", "expected"),
        [
            (TextMemo(b"#4829 1307"), ("text", "#4829 1307", b"#4829 1307")),
            (TextMemo(b""), ("text", "", b"")),
            (TextMemo(b"48\x0029"), ("text", "48\ufffd29", b"48\x0029")),
            (TextMemo(b"\xff\xfe1"), ("text", "\ufffd\ufffd1", b"\xff\xfe1")),
            (HashMemo(b"7" * 32), ("hash", (b"7" * 32).hex(), b"7" * 32)),
            (ReturnHashMemo(b"8" * 32), ("return", (b"8" * 32).hex(), b"8" * 32)),
            (IdMemo(2**64 - 1), ("id", str(2**64 - 1), None)),
        ],
    )
    def test_reads_every_kind_of_memo(
        self, horizon: Horizon, pay: Callable[..., Any], memo: Any, expected: tuple[str, str, bytes | None]
    ) -> None:
        found = horizon.find_transaction(pay(memo=memo).hash)

        assert found is not None
        assert (found.memo_type, found.memo, found.memo_bytes) == expected
        assert "\0" not in str(found.raw)

    def test_reads_operation_57_of_100_although_the_server_pages_by_ten(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any
    ) -> None:
        others = [BumpSequence(1) for _ in range(99)]
        operations = [*others[:56], Payment(chain.merchant.public_key, Asset.native(), "3"), *others[56:]]
        signed = chain.sign(operations, payer=chain.payer)
        signed.serve(served)
        after = {row["paging_token"]: index + 1 for index, row in enumerate(signed.operations)}

        def ten(query: dict[str, str]) -> Any:
            start = after.get(query.get("cursor", ""), 0)
            return chain.page(signed.operations[start : start + 10])

        served.add(f"/transactions/{signed.hash}/operations", ten)

        found = horizon.find_transaction(signed.hash)

        assert found is not None
        assert [(credit.operation_index, credit.stroops) for credit in found.credits] == [(56, 30_000_000)]


class TestCredits:
    def read(self, horizon: Horizon, served: Any, signed: Any) -> Any:
        signed.serve(served)
        found = horizon.find_transaction(signed.hash)
        assert found is not None
        return found

    def test_of_muxed_addresses_carry_their_ids(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any
    ) -> None:
        wallet = chain.merchant.public_key
        operations = [
            Payment(MuxedAccount(wallet, number), Asset.native(), "1") for number in (11, 2**64 - 1)
        ]

        found = self.read(horizon, served, chain.sign(operations, payer=chain.payer))

        assert [(credit.destination, credit.muxed_id) for credit in found.credits] == [
            (wallet, 11),
            (wallet, 2**64 - 1),
        ]

    def test_of_path_payments_are_what_arrived(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any
    ) -> None:
        wallet, usdc = chain.merchant.public_key, Asset("USDC", chain.issuer.public_key)
        operations = [
            PathPaymentStrictSend(wallet, Asset.native(), "50", usdc, "7", []),
            PathPaymentStrictReceive(wallet, Asset.native(), "60", usdc, "8", []),
        ]
        signed = chain.sign(operations, payer=chain.payer)
        signed.operations[0]["amount"] = "7.2500000"
        signed.operations[1]["source_amount"] = "55.0000000"

        found = self.read(horizon, served, signed)

        asset = f"USDC:{chain.issuer.public_key}"
        assert [(credit.asset, credit.stroops) for credit in found.credits] == [
            (asset, 72_500_000),
            (asset, 80_000_000),
        ]
        assert [(debit.asset, debit.stroops) for debit in found.debits] == [
            ("native", 500_000_000),
            ("native", 550_000_000),
        ]

    def test_of_a_created_account_are_its_starting_balance(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any
    ) -> None:
        operations = [CreateAccount(chain.merchant.public_key, "2.5")]

        found = self.read(horizon, served, chain.sign(operations, payer=chain.payer))

        assert [(credit.kind, credit.stroops) for credit in found.credits] == [("create_account", 25_000_000)]

    def test_of_a_merged_account_come_from_its_effect(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any
    ) -> None:
        wallet = chain.merchant.public_key
        signed = chain.sign([AccountMerge(MuxedAccount(wallet, 77))], payer=chain.payer)
        effects = [
            {"type": "account_debited", "account": chain.payer.public_key, "amount": "9.0000000"},
            {"type": "account_credited", "account": wallet, "asset_type": "native", "amount": "9.0000000"},
            {"type": "account_removed", "account": chain.payer.public_key},
        ]
        served.add(f"/operations/{signed.operations[0]['id']}/effects", chain.page(effects))

        found = self.read(horizon, served, signed)

        assert [(credit.kind, credit.stroops, credit.muxed_id) for credit in found.credits] == [
            ("account_merge", 90_000_000, 77)
        ]

    def test_of_a_merged_account_are_unknown_without_its_effect(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any
    ) -> None:
        signed = chain.sign([AccountMerge(chain.merchant.public_key)], payer=chain.payer)
        served.add(f"/operations/{signed.operations[0]['id']}/effects", chain.page([]))

        with pytest.raises(ChainContradiction):
            self.read(horizon, served, signed)

    def test_are_not_claimable_balances_and_clawbacks_which_only_take(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any
    ) -> None:
        wallet, usdc = chain.merchant.public_key, Asset("USDC", chain.payer.public_key)
        operations = [
            CreateClaimableBalance(Asset.native(), "4", [Claimant(wallet)]),
            Clawback(usdc, wallet, "5"),
        ]

        found = self.read(horizon, served, chain.sign(operations, payer=chain.payer))

        assert found.credits == ()
        assert [(debit.kind, debit.source, debit.asset, debit.stroops) for debit in found.debits] == [
            ("create_claimable_balance", chain.payer.public_key, "native", 40_000_000),
            ("clawback", wallet, f"USDC:{chain.payer.public_key}", 50_000_000),
        ]

    @pytest.mark.parametrize("edit", [{"from": "stranger"}, {"amount": "4.0000000"}, {"asset_code": "USDT"}])
    def test_of_a_clawback_are_those_that_were_signed(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any, edit: dict[str, str]
    ) -> None:
        usdc = Asset("USDC", chain.payer.public_key)
        signed = chain.sign([Clawback(usdc, chain.merchant.public_key, "5")], payer=chain.payer)
        signed.operations[0].update(edit)

        with pytest.raises(ChainContradiction):
            self.read(horizon, served, signed)

    def test_of_a_contract_call_are_its_transfers_to_accounts(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any
    ) -> None:
        wallet, payer, issuer = chain.merchant.public_key, chain.payer.public_key, chain.issuer.public_key
        contract = "CA66Q2WFBND6V4UEB7RD4SAXSVIWMD6RA4X3U32ELVFGXV5PJK4T4VSZ"
        usdc = {"asset_type": "credit_alphanum4", "asset_code": "USDC", "asset_issuer": issuer}
        call = InvokeHostFunction(
            xdr.HostFunction(
                xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT,
                invoke_contract=xdr.InvokeContractArgs(
                    Address(contract).to_xdr_sc_address(), scval.to_symbol("pay").sym, []
                ),
            )
        )
        signed = chain.sign([call], payer=chain.payer)
        big = "9" * 30 + ".0000000"
        signed.operations[0]["asset_balance_changes"] = [
            {**usdc, "type": "transfer", "from": payer, "to": contract, "amount": "2.0000000"},
            {**usdc, "type": "mint", "to": contract, "amount": big},
            {**usdc, "type": "transfer", "from": contract, "to": wallet, "amount": "2.0000000"}
            | {"destination_muxed_id": "483927"},
            {"asset_type": "native", "type": "transfer", "from": payer, "to": wallet, "amount": "1.5000000"},
            {**usdc, "type": "burn", "from": contract, "amount": big},
            {**usdc, "type": "clawback", "from": wallet, "amount": "0.5000000"},
        ]

        found = self.read(horizon, served, signed)

        assert [
            (credit.credit_index, credit.source, credit.asset, credit.stroops, credit.muxed_id)
            for credit in found.credits
        ] == [
            (0, contract, f"USDC:{issuer}", 20_000_000, 483927),
            (1, payer, "native", 15_000_000, None),
        ]
        assert [(debit.kind, debit.source) for debit in found.debits] == [
            ("contract_transfer", payer),
            ("contract_transfer", payer),
            ("clawback", wallet),
        ]


class TestContradiction:
    @pytest.mark.parametrize(
        "edit",
        [
            {"hash": "cd" * 32},
            {"hash": None},
            {"successful": "true"},
            {"successful": 1},
            {"successful": None},
            {"source_account": "[source_address]"},
            {"operation_count": 2},
            {"operation_count": "1"},
            {"ledger": "7"},
            {"ledger": True},
            {"ledger": -7},
            {"ledger": 2**32},
            {"ledger": 10**30},
            {"created_at": "yesterday"},
            {"created_at": "2026-11-20T12:00:00"},
            {"created_at": None},
            {"created_at": "0001-01-01T00:00:00+14:00"},
            {"created_at": "9999-12-31T23:59:59-14:00"},
            {"memo_type": "text"},
            {"memo": "482913077416"},
            {"memo": 483927},
            {"memo_type": "none", "memo": None},
            {"fee_bump_transaction": {"hash": "cd" * 32}},
            {"inner_transaction": None},
            {"envelope_xdr": "AAAA"},
            {"envelope_xdr": "%%%"},
            {"envelope_xdr": None},
            {"envelope_xdr": "A" * 500_000},
        ],
    )
    def test_of_the_transaction_is_refused(
        self, horizon: Horizon, pay: Callable[..., Any], edit: dict[str, Any]
    ) -> None:
        signed = pay(memo=IdMemo(483927), edit=edit)

        with pytest.raises(ChainContradiction):
            horizon.find_transaction(signed.hash)

    @pytest.mark.parametrize(
        "edit",
        [
            {"amount": "12.6000000"},
            {"amount": 12.5},
            {"amount": 125},
            {"amount": "12.5"},
            {"amount": "1e3"},
            {"amount": "NaN"},
            {"amount": "-12.5000000"},
            {"amount": "\uff11\uff12.5000000"},
            {"amount": "999999999999.0000000"},
            {"amount": None},
            {"amount": ["12.5000000"]},
            {"to": "GBZG3SMBL6FPLYYNQP6DMVZHDHCDIR4J4GYRGKE5BYRVLBYN364RBL5S"},
            {"from": "GBZG3SMBL6FPLYYNQP6DMVZHDHCDIR4J4GYRGKE5BYRVLBYN364RBL5S"},
            {"source_account": "GBZG3SMBL6FPLYYNQP6DMVZHDHCDIR4J4GYRGKE5BYRVLBYN364RBL5S"},
            {"to_muxed_id": "5"},
            {"asset_type": "credit_alphanum4", "asset_code": "XLM", "asset_issuer": "G"},
            {"asset_type": None},
            {"type": "path_payment_strict_send"},
            {"type_i": 2},
            {"transaction_hash": "cd" * 32},
            {"transaction_successful": False},
            {"transaction_successful": "true"},
            {"id": "x"},
            {"id": 7},
        ],
    )
    def test_of_an_operation_is_refused(
        self, horizon: Horizon, pay: Callable[..., Any], edit: dict[str, Any]
    ) -> None:
        signed = pay(edit_operation=edit)

        with pytest.raises(ChainContradiction):
            horizon.find_transaction(signed.hash)

    @pytest.mark.parametrize("change", ["missing", "extra", "text", "swapped"])
    def test_of_the_list_of_operations_is_refused(
        self, horizon: Horizon, chain: SimpleNamespace, served: Any, change: str
    ) -> None:
        payments = [Payment(chain.merchant.public_key, Asset.native(), "1") for _ in range(2)]
        signed = chain.sign(payments, payer=chain.payer)
        rows = {
            "missing": signed.operations[:1],
            "extra": [*signed.operations, signed.operations[1]],
            "text": ["payment", signed.operations[1]],
            "swapped": signed.operations[::-1],
        }[change]
        signed.serve(served)
        served.add(
            f"/transactions/{signed.hash}/operations",
            lambda query: chain.page([] if "cursor" in query else rows),
        )

        with pytest.raises(ChainContradiction):
            horizon.find_transaction(signed.hash)

    @pytest.mark.parametrize(
        "edit",
        [
            {"amount": "6.9999999"},
            {"source_amount": "49.0000000"},
            {"source_asset_type": "credit_alphanum4", "source_asset_code": "X", "source_asset_issuer": "G"},
            {"asset_code": "usdc"},
        ],
    )
    def test_of_a_path_payment_is_refused(
        self, horizon: Horizon, chain: SimpleNamespace, pay: Callable[..., Any], edit: dict[str, Any]
    ) -> None:
        usdc = Asset("USDC", chain.issuer.public_key)
        operation = PathPaymentStrictSend(chain.merchant.public_key, Asset.native(), "50", usdc, "7", [])
        signed = pay(operations=[operation], edit_operation=edit)

        with pytest.raises(ChainContradiction):
            horizon.find_transaction(signed.hash)

    def test_of_the_asked_hash_is_refused_although_horizon_echoes_it(
        self, horizon: Horizon, pay: Callable[..., Any], served: Any
    ) -> None:
        signed = pay()
        asked = "cd" * 32
        served.add(f"/transactions/{asked}", {**signed.record, "hash": asked, "id": asked})

        with pytest.raises(ChainContradiction):
            horizon.find_transaction(asked)

    def test_of_another_networks_transaction_is_refused(
        self, horizon: Horizon, pay: Callable[..., Any]
    ) -> None:
        signed = pay(passphrase="Public Global Stellar Network ; September 2015")

        with pytest.raises(ChainContradiction):
            horizon.find_transaction(signed.hash)

    def test_of_the_configured_network_refuses_to_verify_at_all(
        self, horizon: Horizon, pay: Callable[..., Any], served: Any
    ) -> None:
        signed = pay()
        served.add("/", {"network_passphrase": "Another ; 2026", "history_latest_ledger": 9})

        with pytest.raises(ChainContradiction):
            horizon.find_transaction(signed.hash)

        assert served.count("/transactions") == 0

    def test_of_a_nesting_beyond_reason_is_refused(self, horizon: Horizon, pay: Callable[..., Any]) -> None:
        nested: Any = []
        for _ in range(200):
            nested = [nested]
        signed = pay(edit={"extra": nested})

        with pytest.raises((ChainContradiction, ChainUnavailable)):
            horizon.find_transaction(signed.hash)
