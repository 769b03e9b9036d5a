"""An unmodified stellar_sdk.Server works against the sandbox as against Horizon."""

import threading

import pytest
from stellar_sdk import Asset, Keypair, TransactionBuilder
from stellar_sdk.exceptions import BadRequestError, NotFoundError

from tests.sandbox.cast import PASSPHRASE, paying


def result_codes(raised):
    return raised.value.extras["result_codes"]


class TestSubmitting:
    def test_a_funded_account_loads_with_its_balance(self, server, payer):
        account = server.load_account(payer.public_key)

        assert account.raw_data["balances"][-1]["balance"] == "10000.0000000"
        assert account.sequence > 0

    def test_an_unknown_account_is_not_found(self, server):
        with pytest.raises(NotFoundError):
            server.load_account(Keypair.random().public_key)

    def test_a_payment_moves_money_and_takes_the_fee(self, server, submit, payer, shop):
        record = submit(payer, paying(shop.public_key, "12.5"))

        assert record["successful"] is True
        balances = [server.load_account(key.public_key).raw_data["balances"][-1] for key in (payer, shop)]
        assert [balance["balance"] for balance in balances] == ["9987.4999900", "10012.5000000"]

    def test_a_bad_sequence_is_refused_and_not_recorded(self, server, build, payer, shop):
        envelope = build(payer, paying(shop.public_key))
        server.submit_transaction(envelope)
        stale = TransactionBuilder(server.load_account(payer.public_key), PASSPHRASE, 100)
        stale.source_account.sequence -= 1
        second = stale.append_payment_op(shop.public_key, Asset.native(), "3").set_timeout(60).build()
        second.sign(payer)

        with pytest.raises(BadRequestError) as raised:
            server.submit_transaction(second)

        assert result_codes(raised) == {"transaction": "tx_bad_seq"}
        with pytest.raises(NotFoundError):
            server.transactions().transaction(second.hash_hex()).call()

    def test_a_strangers_signature_is_refused(self, server, build, payer, shop):
        envelope = build(Keypair.random(), paying(shop.public_key), source=payer.public_key)

        with pytest.raises(BadRequestError) as raised:
            server.submit_transaction(envelope)

        assert result_codes(raised) == {"transaction": "tx_bad_auth"}

    def test_a_signature_for_another_network_is_refused(self, server, build, payer, shop):
        envelope = build(payer, paying(shop.public_key), passphrase="Another network")

        with pytest.raises(BadRequestError) as raised:
            server.submit_transaction(envelope)

        assert result_codes(raised) == {"transaction": "tx_bad_auth"}

    def test_a_needless_signature_is_refused(self, submit, payer, shop):
        with pytest.raises(BadRequestError) as raised:
            submit(payer, paying(shop.public_key), shop)

        assert result_codes(raised) == {"transaction": "tx_bad_auth_extra"}

    def test_too_small_a_fee_is_refused(self, submit, payer, shop):
        with pytest.raises(BadRequestError) as raised:
            submit(payer, paying(shop.public_key), base_fee=99)

        assert result_codes(raised) == {"transaction": "tx_insufficient_fee"}

    def test_an_underfunded_payment_is_in_the_ledger_as_failed(self, server, build, payer, shop):
        envelope = build(payer, paying(shop.public_key, "20000"))

        with pytest.raises(BadRequestError) as raised:
            server.submit_transaction(envelope)

        assert result_codes(raised) == {"transaction": "tx_failed", "operations": ["op_underfunded"]}
        record = server.transactions().transaction(envelope.hash_hex()).call()
        assert (record["successful"], record["fee_charged"]) == (False, "100")
        listed = server.transactions().for_account(payer.public_key).limit(200).call()["_embedded"]["records"]
        assert record["hash"] not in {one["hash"] for one in listed}
        operations = server.operations().for_transaction(envelope.hash_hex()).call()["_embedded"]["records"]
        assert [one["transaction_successful"] for one in operations] == [False]

    def test_one_failing_operation_undoes_the_others(self, server, submit, payer, shop):
        stranger = Keypair.random().public_key

        with pytest.raises(BadRequestError) as raised:
            submit(
                payer,
                lambda builder: (
                    builder.append_payment_op(shop.public_key, Asset.native(), "5"),
                    builder.append_payment_op(stranger, Asset.native(), "5"),
                ),
            )

        assert result_codes(raised)["operations"] == ["op_success", "op_no_destination"]
        assert server.load_account(shop.public_key).raw_data["balances"][-1]["balance"] == "10000.0000000"

    def test_the_same_envelope_twice_is_one_transaction(self, server, build, payer, shop):
        envelope = build(payer, paying(shop.public_key, "7"))

        answers = [server.submit_transaction(envelope) for _ in range(3)]

        assert len({answer["paging_token"] for answer in answers}) == 1
        assert server.load_account(shop.public_key).raw_data["balances"][-1]["balance"] == "10007.0000000"

    def test_an_async_submission_answers_at_once_and_names_duplicates(self, server, build, payer, shop):
        envelope = build(payer, paying(shop.public_key))

        assert server.submit_transaction_async(envelope)["tx_status"] == "PENDING"
        with pytest.raises(BadRequestError) as raised:
            server.submit_transaction_async(envelope)
        assert '"DUPLICATE"' in raised.value.message

    def test_an_overdue_transaction_is_refused(self, server, payer, shop):
        builder = TransactionBuilder(server.load_account(payer.public_key), PASSPHRASE, 100)
        envelope = (
            builder.append_payment_op(shop.public_key, Asset.native(), "1").add_time_bounds(0, 1000).build()
        )
        envelope.sign(payer)

        with pytest.raises(BadRequestError) as raised:
            server.submit_transaction(envelope)

        assert result_codes(raised) == {"transaction": "tx_too_late"}

    def test_a_funded_account_cannot_be_funded_again(self, sandbox, http, payer):
        answer = http.get(f"{sandbox.url}/friendbot", params={"addr": payer.public_key}, timeout=20)

        assert answer.status_code == 400
        assert answer.json()["extras"]["result_codes"]["operations"] == ["op_already_exists"]


class TestReading:
    def test_pages_join_up_without_gaps_or_repeats(self, server, submit, payer, shop):
        def add(builder):
            for number in range(1, 26):
                builder.append_payment_op(shop.public_key, Asset.native(), str(number))

        submit(payer, add)
        builder = server.payments().for_account(shop.public_key).limit(7)
        seen = []
        page = builder.call()
        while page["_embedded"]["records"]:
            seen += page["_embedded"]["records"]
            page = builder.next()

        assert [one.get("amount") for one in seen[1:]] == [f"{number}.0000000" for number in range(1, 26)]
        ids = [int(one["id"]) for one in seen]
        assert ids == sorted(set(ids))

    def test_newest_first_is_the_same_list_backwards(self, get, submit, payer, shop):
        submit(payer, paying(shop.public_key))
        path = f"/accounts/{shop.public_key}/operations"

        forwards = get(path, limit=200)["_embedded"]["records"]
        backwards = get(path, limit=200, order="desc")["_embedded"]["records"]

        assert [one["id"] for one in forwards] == [one["id"] for one in reversed(backwards)]

    def test_joined_payments_carry_their_transaction(self, server, submit, payer, shop):
        record = submit(payer, paying(shop.public_key))

        found = server.payments().for_account(shop.public_key).join("transactions").order().limit(1).call()

        joined = found["_embedded"]["records"][0]["transaction"]
        assert {key: joined[key] for key in record} == record

    def test_a_cursor_of_now_stands_behind_everything(self, server, payer):
        assert (
            server.payments().for_account(payer.public_key).cursor("now").call()["_embedded"]["records"] == []
        )

    def test_paths_price_what_a_payment_costs(self, server, payer, usdc):
        found = server.strict_receive_paths([Asset.native()], usdc, "25").call()["_embedded"]["records"]

        assert [one["source_amount"] for one in found] == ["100.0000000"]

    def test_ledgers_and_fees_are_there(self, server, sandbox):
        root = server.root().call()
        latest = server.ledgers().order().limit(1).call()["_embedded"]["records"][0]

        assert root["network_passphrase"] == PASSPHRASE
        assert latest["sequence"] >= root["history_latest_ledger"]
        assert server.ledgers().ledger(latest["sequence"]).call()["hash"] == latest["hash"]
        assert server.fetch_base_fee() == 100


class TestStreaming:
    def test_a_payment_arrives_on_the_stream(self, server, submit, payer, shop):
        arrived = []
        listening = threading.Event()

        def listen():
            listening.set()
            for record in server.payments().for_account(shop.public_key).cursor("now").stream():
                arrived.append(record)
                return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        listening.wait(5)
        record = None
        for _attempt in range(20):
            record = submit(payer, paying(shop.public_key, "2"))
            thread.join(0.3)
            if not thread.is_alive():
                break

        assert record is not None
        assert arrived[0]["amount"] == "2.0000000"
        assert arrived[0]["to"] == shop.public_key
