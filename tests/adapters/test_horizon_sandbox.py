"""The reader and the bundled sandbox, which share no code, agree about every kind of payment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from stellar_sdk import (
    AccountMerge,
    Asset,
    BumpSequence,
    HashMemo,
    IdMemo,
    Keypair,
    MuxedAccount,
    PathPaymentStrictSend,
    Payment,
    Server,
    TextMemo,
    TransactionBuilder,
)

from portal.adapters.horizon import Horizon
from portal.kernel.chain import SubmissionRefused
from portal.sandbox.server import RunningSandbox, start_in_thread

PASSPHRASE = "Tagih Reader Tests ; 2026"


class Town:
    """A sandbox with a merchant and two payers."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.horizon = Horizon(sandbox.url, passphrase=PASSPHRASE)
        self.server = Server(sandbox.url)
        self._friendbot = f"{sandbox.url}/friendbot"
        self.payer, self.other, self.merchant = self.account(), self.account(), self.account()

    def account(self) -> Keypair:
        keypair = Keypair.random()
        requests.get(self._friendbot, {"addr": keypair.public_key}, timeout=10).raise_for_status()
        return keypair

    def envelope(
        self, payer: Keypair, *operations: Any, memo: Any = None, fee_payer: Keypair | None = None
    ) -> str:
        builder = TransactionBuilder(self.server.load_account(payer.public_key), PASSPHRASE, base_fee=100)
        for operation in operations:
            builder.append_operation(operation)
        if memo is not None:
            builder.add_memo(memo)
        envelope: Any = builder.set_timeout(60).build()
        envelope.sign(payer)
        if fee_payer is not None:
            envelope = TransactionBuilder.build_fee_bump_transaction(fee_payer, 200, envelope, PASSPHRASE)
            envelope.sign(fee_payer)
        return str(envelope.to_xdr())


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    path: Path = tmp_path_factory.mktemp("sandbox") / "ledger.sqlite"
    sandbox = start_in_thread(path, passphrase=PASSPHRASE, close_seconds=0.05)
    yield Town(sandbox)
    sandbox.stop()


def test_a_fee_bumped_payment_is_found_by_both_hashes(town: Town) -> None:
    payment = Payment(town.merchant.public_key, Asset.native(), "1.5")
    outer = town.horizon.submit(town.envelope(town.payer, payment, memo=IdMemo(483927), fee_payer=town.other))

    found = town.horizon.find_transaction(outer)

    assert found is not None and len(found.hashes) == 2
    assert town.horizon.find_transaction(found.hashes[1]) == found
    assert [credit.stroops for credit in found.credits] == [15_000_000]
    assert found.memo == "483927"


def test_the_watcher_sees_each_kind_of_payment_once(town: Town) -> None:
    wallet = town.merchant.public_key
    cursor = town.horizon.latest_cursor()
    submit = town.horizon.submit
    muxed = Payment(MuxedAccount(wallet, 2**60), Asset.native(), "2")
    swap = PathPaymentStrictSend(wallet, Asset.native(), "3", Asset.native(), "3", [])
    hashes = [
        submit(town.envelope(town.payer, BumpSequence(0), muxed, memo=TextMemo(b"\xff1"))),
        submit(town.envelope(town.payer, swap, memo=HashMemo(b"7" * 32))),
    ]

    page = town.horizon.credits_since(wallet, cursor)

    assert [each.canonical_hash for each in page.transactions] == hashes
    assert page.refused == ()
    assert [each.credits[0].muxed_id for each in page.transactions] == [2**60, None]
    assert town.horizon.payments_since(cursor, frozenset({wallet})).transactions == page.transactions
    assert town.horizon.credits_since(wallet, page.cursor).records == 0


def test_a_merged_account_brings_what_it_had(town: Town) -> None:
    leaver = town.account()
    before = town.horizon.account(leaver.public_key)
    merge = AccountMerge(town.merchant.public_key)
    merged = town.horizon.submit(town.envelope(leaver, merge, fee_payer=town.payer))

    found = town.horizon.find_transaction(merged)

    assert before is not None and found is not None
    assert [credit.stroops for credit in found.credits] == [before.balances[0].balance_stroops]
    assert town.horizon.account(leaver.public_key) is None


def test_a_refused_payment_names_its_codes(town: Town) -> None:
    too_much = Payment(town.merchant.public_key, Asset.native(), "99999999")

    with pytest.raises(SubmissionRefused) as refusal:
        town.horizon.submit(town.envelope(town.payer, too_much))

    assert refusal.value.result_codes == ("tx_failed", "op_underfunded")
