"""The sandbox's records have the fields and JSON types of records that the public networks gave."""

import pytest
from stellar_sdk import Asset, IdMemo, MuxedAccount, TextMemo, TransactionBuilder
from stellar_sdk.exceptions import BadRequestError

from tests.sandbox.cast import PASSPHRASE, paying

# Facts of the recorded accounts and transactions, not of the shape: who holds what, which options were used.
ACCOUNT_OPTIONS = {"home_domain", "inflation_destination"}


def shape(value, where=""):
    """Return {path: type name} of a JSON value; of a list only its first element counts."""
    found = {where: type(value).__name__}
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= shape(inner, f"{where}.{key}")
    if isinstance(value, list) and value:
        found |= shape(value[0], f"{where}[]")
    return found


def assert_agrees(ours, theirs, *, ignore=()):
    mine, wanted = shape(ours), shape(theirs)
    for name in ignore:
        mine = {path: kind for path, kind in mine.items() if name not in path}
        wanted = {path: kind for path, kind in wanted.items() if name not in path}
    assert mine == wanted


class TestRecords:
    def test_an_account_agrees(self, get, recorded, submit, payer, usdc):
        submit(payer, lambda builder: builder.append_change_trust_op(usdc))

        theirs = recorded("accounts/account_testnet_credit4-lastmodtime-native-seqtime_GBLD7N.json")
        assert_agrees(get(f"/accounts/{payer.public_key}"), theirs)

    def test_an_account_that_never_paid_agrees(self, get, recorded, payer):
        theirs = recorded("accounts/account_pubnet_lastmodtime-native_GALPCC.json")
        ours = get(f"/accounts/{payer.public_key}")

        assert_agrees(ours, theirs, ignore=ACCOUNT_OPTIONS)

    def test_a_transaction_with_a_text_memo_agrees(self, recorded, submit, payer, shop):
        ours = submit(payer, paying(shop.public_key), memo=TextMemo("hello"))
        theirs = recorded("transactions/pubnet_payment_native_memo-text-NONUTF8_63f4f14b.json")

        assert_agrees(ours, theirs, ignore=("preconditions",))

    def test_a_fee_bump_with_a_muxed_source_agrees(self, server, recorded, payer, shop):
        account = server.load_account(MuxedAccount(payer.public_key, 9))
        builder = TransactionBuilder(account, PASSPHRASE, 100).append_payment_op(
            shop.public_key, Asset.native(), "1"
        )
        inner = builder.add_time_bounds(0, 0).build()
        inner.sign(payer)
        outer = TransactionBuilder.build_fee_bump_transaction(shop, 200, inner, PASSPHRASE)
        outer.sign(shop)

        ours = server.submit_transaction(outer)

        theirs = recorded("transactions/pubnet_path_receive_memo-none_feebump_muxedsource_a261c12d.json")
        assert_agrees(ours, theirs)

    def test_a_transaction_page_agrees(self, get, recorded, submit, payer, shop):
        builder_page = recorded("pages/page_transactions_pubnet_2024.json")
        submit(payer, paying(shop.public_key), memo=TextMemo("page"))

        ours = get("/transactions", limit=1, order="desc")

        assert_agrees(ours, builder_page, ignore=("max_time", "valid_before"))

    @pytest.mark.parametrize("name", ["misc/root_java_2024.json"])
    def test_the_root_agrees_in_all_but_its_links(self, get, recorded, name):
        assert_agrees(get("/"), recorded(name), ignore=("_links",))

    def test_a_ledger_agrees(self, get, recorded):
        assert_agrees(get("/ledgers/2"), recorded("misc/ledger_java_2024.json"))

    def test_fee_stats_agree(self, get, recorded):
        assert_agrees(get("/fee_stats"), recorded("misc/fee_stats_java_2024.json"))

    def test_an_asset_page_agrees(self, get, recorded, submit, payer, usdc):
        submit(payer, lambda builder: builder.append_change_trust_op(usdc))

        assert_agrees(get("/assets", limit=1), recorded("pages/page_assets_pubnet_2024.json"))

    def test_a_path_page_agrees(self, get, recorded, usdc):
        ours = get(
            "/paths/strict-send",
            source_asset_type="native",
            source_amount="0.1",
            destination_assets=f"USDC:{usdc.issuer}",
        )

        assert_agrees(ours, recorded("pages/page_strict_send_paths_pubnet_2024.json"), ignore=("path[]",))

    def test_an_effect_page_agrees(self, get, recorded, payer):
        ours = get(f"/accounts/{payer.public_key}/effects", limit=1)

        assert_agrees(ours, recorded("pages/page_effects_pubnet_2024.json"))


class TestOperations:
    @pytest.fixture
    def last(self, get):
        return lambda account: get(f"/accounts/{account.public_key}/operations", limit=1, order="desc")[
            "_embedded"
        ]["records"][0]

    def test_a_native_payment_agrees(self, recorded, submit, last, payer, shop):
        submit(payer, paying(shop.public_key))

        assert_agrees(last(payer), recorded("operations/payment_native_testnet_87d7a295_248577.json"))

    def test_a_credit_payment_agrees(self, recorded, submit, last, payer, shop):
        gold = Asset("GOLD", payer.public_key)
        submit(shop, lambda builder: builder.append_change_trust_op(gold))
        submit(payer, paying(shop.public_key, asset=gold))

        assert_agrees(last(payer), recorded("operations/payment_credit4_pubnet_7bd57f8c_313665.json"))

    def test_a_change_of_trust_agrees(self, recorded, submit, last, payer, usdc):
        submit(payer, lambda builder: builder.append_change_trust_op(usdc))

        assert_agrees(last(payer), recorded("operations/change_trust_credit4_pubnet_12a8e8f1_047105.json"))

    def test_a_new_account_agrees(self, recorded, last, payer):
        theirs = recorded("operations/create_account_testnet_749e4f89_967682.json")

        assert_agrees(last(payer), theirs, ignore=("transaction_successful",))

    def test_strict_receive_agrees(self, recorded, submit, last, payer, shop, usdc):
        submit(shop, lambda builder: builder.append_change_trust_op(usdc))
        submit(
            payer,
            lambda builder: builder.append_path_payment_strict_receive_op(
                shop.public_key, Asset.native(), "9", usdc, "1", []
            ),
        )

        theirs = recorded("operations/path_payment_strict_receive_credit4_testnet_fed2ac1a_126337.json")
        assert_agrees(last(payer), theirs)

    def test_a_muxed_strict_send_agrees(self, server, recorded, submit, last, payer, shop, usdc):
        submit(shop, lambda builder: builder.append_change_trust_op(usdc))
        target, source = MuxedAccount(shop.public_key, 3), MuxedAccount(payer.public_key, 4)
        submit(
            payer,
            lambda builder: builder.append_path_payment_strict_send_op(
                target, Asset.native(), "9", usdc, "1", [], source=source
            ),
            memo=IdMemo(1),
        )

        theirs = recorded("operations/path_payment_strict_send_credit4_muxed_testnet_cc75c169_319809.json")
        assert_agrees(last(payer), theirs)

    def test_a_muxed_merge_agrees(self, recorded, submit, last, payer, shop):
        target, source = MuxedAccount(shop.public_key, 3), MuxedAccount(payer.public_key, 4)
        submit(payer, lambda builder: builder.append_account_merge_op(target, source=source))

        assert_agrees(last(payer), recorded("operations/account_merge_muxed_testnet_c953de9f_863297.json"))


class TestErrors:
    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("/accounts/GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF", "404_not_found.json"),
            ("/nowhere", "404_not_found.json"),
            ("/payments?cursor=yesterday", "400_bad_request_cursor.json"),
            ("/payments?limit=many", "400_bad_request_limit.json"),
            ("/payments?limit=201", "400_bad_request_limit.json"),
            ("/paths/strict-receive", "400_bad_request_missing_field.json"),
        ],
    )
    def test_a_refused_request_agrees(self, get, recorded, path, name):
        ours, theirs = get(path), recorded(f"errors/{name}")

        assert_agrees(ours, theirs, ignore=("instance",))
        assert (ours["type"], ours["status"], ours["title"]) == (
            theirs["type"],
            theirs["status"],
            theirs["title"],
        )
        assert ours.get("extras", {}).get("invalid_field") == theirs.get("extras", {}).get("invalid_field")

    def test_an_unacceptable_request_agrees(self, sandbox, http, recorded):
        answer = http.get(sandbox.url, headers={"Accept": "image/png"}, timeout=20)

        assert answer.status_code == 406
        assert answer.json() == recorded("errors/406_not_acceptable.json")

    def test_a_malformed_envelope_agrees(self, sandbox, http, recorded):
        answer = http.post(f"{sandbox.url}/transactions", data={"tx": "AAAA"}, timeout=20)

        assert_agrees(answer.json(), recorded("errors/400_transaction_malformed.json"))
        assert answer.json()["extras"]["envelope_xdr"] == "AAAA"

    def test_a_refused_transaction_agrees(self, build, server, recorded, payer, shop):
        envelope = build(payer, paying(shop.public_key))
        server.submit_transaction(envelope)
        second = build(payer, paying(shop.public_key))
        second.transaction.sequence += 5
        second.signatures.clear()
        second.sign(payer)

        with pytest.raises(BadRequestError) as raised:
            server.submit_transaction(second)

        theirs = recorded("errors/400_tx_bad_seq.json")
        assert shape(raised.value.extras) == shape(theirs["extras"])
        assert raised.value.extras["result_xdr"] == theirs["extras"]["result_xdr"]

    def test_a_failed_transaction_agrees_to_the_last_byte(self, submit, recorded, payer, shop):
        theirs = recorded("errors/400_op_no_destination.json")

        with pytest.raises(BadRequestError) as raised:
            submit(payer, paying("GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF"))

        assert shape(raised.value.extras) == shape(theirs["extras"])
        assert raised.value.extras["result_xdr"] == theirs["extras"]["result_xdr"]
