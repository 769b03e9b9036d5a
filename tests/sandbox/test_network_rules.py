"""The simulated ledger keeps the network's rules: fee-bumps, muxed accounts, memos, trust, merges, signers."""

import base64
import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from stellar_sdk import (
    Asset,
    AuthorizationFlag,
    Claimant,
    HashMemo,
    IdMemo,
    Keypair,
    MuxedAccount,
    ReturnHashMemo,
    Server,
    Signer,
    TextMemo,
    TransactionBuilder,
    TrustLineFlags,
)
from stellar_sdk import xdr as sx
from stellar_sdk.exceptions import BadRequestError, NotFoundError

from tests.sandbox.cast import PASSPHRASE, paying


def operation_codes(raised):
    return raised.value.extras["result_codes"].get("operations")


def balance_of(server, keypair, code=None):
    for line in server.load_account(keypair.public_key).raw_data["balances"]:
        if line.get("asset_code") == code:
            return line["balance"]
    return None


class TestFeeBump:
    @pytest.fixture
    def bumped(self, server, build, payer, shop, fund):
        sponsor = fund()
        inner = build(payer, paying(shop.public_key, "9"))
        outer = TransactionBuilder.build_fee_bump_transaction(sponsor, 200, inner, PASSPHRASE)
        outer.sign(sponsor)
        server.submit_transaction(outer)
        return inner, outer, sponsor

    def test_both_hashes_find_it_and_are_echoed(self, server, bumped):
        inner, outer, sponsor = bumped

        by_outer = server.transactions().transaction(outer.hash_hex()).call()
        by_inner = server.transactions().transaction(inner.hash_hex()).call()

        assert (by_outer["hash"], by_inner["hash"]) == (outer.hash_hex(), inner.hash_hex())
        assert by_outer["paging_token"] == by_inner["paging_token"]
        assert by_inner["fee_bump_transaction"]["hash"] == outer.hash_hex()
        assert by_outer["inner_transaction"]["hash"] == inner.hash_hex()
        assert by_inner["signatures"] == by_inner["inner_transaction"]["signatures"]
        assert by_outer["fee_account"] == sponsor.public_key
        assert (by_outer["fee_charged"], by_outer["max_fee"]) == ("200", "400")

    def test_the_sponsor_pays_the_fee(self, server, bumped, payer):
        assert balance_of(server, bumped[2]) == "9999.9999800"
        assert balance_of(server, payer) == "9991.0000000"

    def test_operations_are_listed_under_both_hashes(self, server, bumped):
        inner, outer, _sponsor = bumped

        listed = [
            server.operations().for_transaction(envelope.hash_hex()).call()["_embedded"]["records"]
            for envelope in (inner, outer)
        ]

        assert listed[0] == listed[1]
        assert listed[0][0]["transaction_hash"] == outer.hash_hex()

    def test_a_failed_inner_transaction_is_named(self, server, build, payer, shop):
        inner = build(payer, paying(shop.public_key, "99999"))
        outer = TransactionBuilder.build_fee_bump_transaction(shop, 200, inner, PASSPHRASE)
        outer.sign(shop)

        with pytest.raises(BadRequestError) as raised:
            server.submit_transaction(outer)

        assert raised.value.extras["result_codes"] == {
            "transaction": "tx_fee_bump_inner_failed",
            "inner_transaction": "tx_failed",
            "operations": ["op_underfunded"],
        }
        result = sx.TransactionResult.from_xdr(raised.value.extras["result_xdr"])
        assert result.result.inner_result_pair.transaction_hash.hash.hex() == inner.hash_hex()


class TestMemos:
    @pytest.mark.parametrize(
        ("memo", "kind", "text"),
        [
            (TextMemo("Grüße"), "text", "Grüße"),
            (TextMemo(""), "text", ""),
            (IdMemo(2**64 - 1), "id", "18446744073709551615"),
            (HashMemo(b"\x01" * 32), "hash", base64.b64encode(b"\x01" * 32).decode()),
            (ReturnHashMemo(b"\x02" * 32), "return", base64.b64encode(b"\x02" * 32).decode()),
        ],
    )
    def test_each_type_is_shown_as_horizon_does(self, submit, payer, shop, memo, kind, text):
        record = submit(payer, paying(shop.public_key), memo=memo)

        assert (record["memo_type"], record["memo"]) == (kind, text)

    def test_no_memo_has_no_memo_field(self, submit, payer, shop):
        record = submit(payer, paying(shop.public_key))

        assert record["memo_type"] == "none"
        assert "memo" not in record

    def test_text_that_is_no_utf8_keeps_its_bytes(self, submit, payer, shop):
        raw = b'\xe8"<r\xfe\xeb\xcf8\x9d\x9by'

        record = submit(payer, paying(shop.public_key), memo=TextMemo(raw))

        assert base64.b64decode(record["memo_bytes"]) == raw
        assert record["memo"] == '\ufffd"<r\ufffd\ufffd\ufffd8\ufffd\ufffdy'


class TestMuxedAccounts:
    def test_ids_are_shown_beside_the_account(self, server, submit, payer, shop):
        target = MuxedAccount(shop.public_key, 482913077415)

        record = submit(payer, paying(target))

        operation = server.operations().for_transaction(record["hash"]).call()["_embedded"]["records"][0]
        assert operation["to"] == shop.public_key
        assert operation["to_muxed"] == target.account_muxed
        assert operation["to_muxed_id"] == "482913077415"
        effects = server.effects().for_transaction(record["hash"]).call()["_embedded"]["records"]
        assert effects[0]["account_muxed_id"] == "482913077415"

    def test_a_muxed_source_is_shown(self, server, payer, shop):
        account = server.load_account(MuxedAccount(payer.public_key, 7))
        envelope = (
            TransactionBuilder(account, PASSPHRASE, 100)
            .append_payment_op(shop.public_key, Asset.native(), "1")
            .set_timeout(60)
            .build()
        )
        envelope.sign(payer)

        record = server.submit_transaction(envelope)

        assert record["source_account"] == payer.public_key
        assert record["account_muxed_id"] == "7"


class TestMerge:
    def test_the_rest_moves_and_its_amount_is_in_the_effects(self, server, submit, payer, shop):
        record = submit(payer, lambda builder: builder.append_account_merge_op(shop.public_key))

        effects = server.effects().for_transaction(record["hash"]).call()["_embedded"]["records"]
        assert [effect["type"] for effect in effects] == [
            "account_debited",
            "account_credited",
            "account_removed",
        ]
        assert effects[1]["amount"] == "9999.9999900"
        assert balance_of(server, shop) == "19999.9999900"

    def test_history_of_a_merged_account_stays(self, server, submit, payer, shop):
        submit(payer, lambda builder: builder.append_account_merge_op(shop.public_key))

        records = server.payments().for_account(payer.public_key).call()["_embedded"]["records"]

        assert [record["type"] for record in records] == ["create_account", "account_merge"]


class TestTrust:
    def test_an_asset_needs_a_trustline(self, submit, payer, shop, usdc):
        with pytest.raises(BadRequestError) as raised:
            submit(payer, paying(shop.public_key, asset=usdc))

        assert operation_codes(raised) == ["op_no_trust"]

    def test_a_limit_holds(self, submit, payer, shop):
        gold = Asset("GOLD", payer.public_key)
        submit(shop, lambda builder: builder.append_change_trust_op(gold, "100"))
        submit(payer, paying(shop.public_key, "100", gold))

        with pytest.raises(BadRequestError) as raised:
            submit(payer, paying(shop.public_key, "0.0000001", gold))

        assert operation_codes(raised) == ["op_line_full"]

    def test_an_issuer_may_ask_to_authorize_and_claw_back(self, server, submit, payer, shop):
        gold = Asset("GOLD", payer.public_key)
        flags = (
            AuthorizationFlag.AUTHORIZATION_REQUIRED
            | AuthorizationFlag.AUTHORIZATION_REVOCABLE
            | AuthorizationFlag.AUTHORIZATION_CLAWBACK_ENABLED
        )
        submit(payer, lambda builder: builder.append_set_options_op(set_flags=flags))
        submit(shop, lambda builder: builder.append_change_trust_op(gold))
        with pytest.raises(BadRequestError) as raised:
            submit(payer, paying(shop.public_key, asset=gold))
        assert operation_codes(raised) == ["op_not_authorized"]

        authorized = TrustLineFlags.AUTHORIZED_FLAG
        submit(
            payer,
            lambda builder: builder.append_set_trust_line_flags_op(
                shop.public_key, gold, set_flags=authorized
            ),
        )
        submit(payer, paying(shop.public_key, "10", gold))
        submit(payer, lambda builder: builder.append_clawback_op(gold, shop.public_key, "4"))

        assert balance_of(server, shop, "GOLD") == "6.0000000"

    def test_path_payments_convert_at_the_fixed_rate(self, server, sandbox, submit, payer, shop, usdc):
        submit(shop, lambda builder: builder.append_change_trust_op(usdc))

        received = submit(
            payer,
            lambda builder: builder.append_path_payment_strict_receive_op(
                shop.public_key, Asset.native(), "100", usdc, "12.5", []
            ),
        )
        sent = submit(
            payer,
            lambda builder: builder.append_path_payment_strict_send_op(
                shop.public_key, Asset.native(), "10", usdc, "1", []
            ),
        )

        operations = [
            server.operations().for_transaction(record["hash"]).call()["_embedded"]["records"][0]
            for record in (received, sent)
        ]
        assert (operations[0]["source_amount"], operations[0]["amount"]) == ("50.0000000", "12.5000000")
        assert (operations[1]["source_amount"], operations[1]["amount"]) == ("10.0000000", "2.5000000")
        assert balance_of(server, shop, "USDC") == "15.0000000"

    def test_a_price_above_the_limit_is_refused(self, submit, payer, shop, usdc):
        submit(shop, lambda builder: builder.append_change_trust_op(usdc))

        with pytest.raises(BadRequestError) as raised:
            submit(
                payer,
                lambda builder: builder.append_path_payment_strict_receive_op(
                    shop.public_key, Asset.native(), "3.9999999", usdc, "1", []
                ),
            )

        assert operation_codes(raised) == ["op_over_source_max"]


class TestSigners:
    def test_weights_must_reach_the_threshold(self, submit, payer, shop):
        second = Keypair.random()
        signer = Signer.ed25519_public_key(second.public_key, 1)
        submit(
            payer,
            lambda builder: builder.append_set_options_op(med_threshold=2, high_threshold=2, signer=signer),
        )

        with pytest.raises(BadRequestError) as raised:
            submit(payer, paying(shop.public_key))
        both = submit(payer, paying(shop.public_key), second)

        assert operation_codes(raised) == ["op_bad_auth"]
        assert both["successful"] is True

    def test_another_source_must_sign_its_operation(self, submit, payer, shop):
        def from_the_shop(builder):
            builder.append_payment_op(payer.public_key, Asset.native(), "5", source=shop.public_key)

        with pytest.raises(BadRequestError) as raised:
            submit(payer, from_the_shop)

        assert operation_codes(raised) == ["op_bad_auth"]
        assert submit(payer, from_the_shop, shop)["successful"] is True


class TestOtherOperations:
    def test_the_reserve_cannot_be_spent(self, submit, payer, shop):
        with pytest.raises(BadRequestError) as raised:
            submit(payer, paying(shop.public_key, "9999.5"))

        assert operation_codes(raised) == ["op_underfunded"]

    def test_data_is_kept_and_shown(self, server, submit, payer):
        submit(payer, lambda builder: builder.append_manage_data_op("config.memo_required", "1"))

        data = server.load_account(payer.public_key).raw_data["data"]

        assert data == {"config.memo_required": base64.b64encode(b"1").decode()}

    def test_a_claimable_balance_is_announced_and_credits_nobody(self, server, submit, payer, shop):
        record = submit(
            payer,
            lambda builder: builder.append_create_claimable_balance_op(
                Asset.native(), "25", [Claimant(shop.public_key)]
            ),
        )

        operation = server.operations().for_transaction(record["hash"]).call()["_embedded"]["records"][0]
        assert operation["claimants"][0]["destination"] == shop.public_key
        assert balance_of(server, shop) == "10000.0000000"

    def test_what_the_sandbox_does_not_know_is_said(self, submit, payer, usdc):
        with pytest.raises(BadRequestError) as raised:
            submit(payer, lambda builder: builder.append_manage_buy_offer_op(Asset.native(), usdc, "1", "4"))

        assert operation_codes(raised) == ["op_not_supported"]

    def test_a_payment_of_nothing_is_malformed(self, sandbox, http, build, payer, shop):
        envelope = build(payer, paying(shop.public_key, "1"))
        raw = envelope.to_xdr_object()
        raw.v1.tx.operations[0].body.payment_op.amount = sx.Int64(0)
        payload = sx.TransactionSignaturePayload(
            sx.Hash(hashlib.sha256(PASSPHRASE.encode()).digest()),
            sx.TransactionSignaturePayloadTaggedTransaction(sx.EnvelopeType.ENVELOPE_TYPE_TX, tx=raw.v1.tx),
        )
        digest = hashlib.sha256(payload.to_xdr_bytes()).digest()
        raw.v1.signatures = [payer.sign_decorated(digest).to_xdr_object()]

        answer = http.post(f"{sandbox.url}/transactions", data={"tx": raw.to_xdr()}, timeout=20)

        assert answer.json()["extras"]["result_codes"]["operations"] == ["op_malformed"]

    def test_concurrent_submissions_are_one_transaction(self, sandbox, server, build, payer, shop):
        envelope = build(payer, paying(shop.public_key, "20"))

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: Server(sandbox.url).submit_transaction(envelope), range(16)))

        assert len({answer["paging_token"] for answer in answers}) == 1
        assert balance_of(server, shop) == "10020.0000000"

    def test_several_payments_of_one_account_fit_one_ledger(self, server, payer, shop):
        account = server.load_account(payer.public_key)
        for _number in range(10):
            builder = TransactionBuilder(account, PASSPHRASE, 100)
            envelope = builder.append_payment_op(shop.public_key, Asset.native(), "1").set_timeout(60).build()
            envelope.sign(payer)
            answer = server.submit_transaction_async(envelope)
        while True:
            with contextlib.suppress(NotFoundError):
                server.transactions().transaction(answer["hash"]).call()
                break

        assert balance_of(server, shop) == "10010.0000000"
