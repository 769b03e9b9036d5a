"""Whatever is submitted in whatever order, no stroop of XLM appears or vanishes."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stellar_sdk import Asset, Keypair

from portal.sandbox.ledger import Ledger, TransactionRefused
from portal.sandbox.market import TOTAL_COINS, issuer_keypair
from portal.sandbox.store import Store
from tests.sandbox.cast import PASSPHRASE

USDC = Asset("USDC", issuer_keypair(PASSPHRASE).public_key)
PEOPLE = [Keypair.from_raw_ed25519_seed(bytes([number]) * 32) for number in range(1, 5)]
AMOUNTS = st.integers(1, 200_000_000_000).map(lambda stroops: f"{stroops // 10**7}.{stroops % 10**7:07d}")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pay", "trust", "buy", "send", "merge", "create", "note", "close"]),
        st.integers(0, 3),
        st.integers(0, 3),
        AMOUNTS,
    ),
    max_size=25,
)


def play(ledger, step):
    kind, giver, taker, amount = step
    source, target = PEOPLE[giver], PEOPLE[taker].public_key
    adds = {
        "pay": lambda builder: builder.append_payment_op(target, Asset.native(), amount),
        "trust": lambda builder: builder.append_change_trust_op(USDC),
        "buy": lambda builder: builder.append_path_payment_strict_receive_op(
            target, Asset.native(), "20000", USDC, amount, []
        ),
        "send": lambda builder: builder.append_path_payment_strict_send_op(
            target, USDC, amount, Asset.native(), "0.0000001", []
        ),
        "merge": lambda builder: builder.append_account_merge_op(target),
        "create": lambda builder: builder.append_create_account_op(target, amount),
        "note": lambda builder: builder.append_manage_data_op("note", amount),
    }
    if kind == "close":
        ledger.close()
        return
    try:
        ledger.submit_signed(source, adds[kind])
    except TransactionRefused:
        # A refusal must be as neutral as a payment: the sum below says whether it was.
        return


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_coins_are_conserved_on_disk_as_in_memory(folder, steps):
    path = Path(tempfile.mkdtemp(dir=folder)) / "ledger.sqlite"
    ledger = Ledger(path, passphrase=PASSPHRASE, close_seconds=60)
    for person in PEOPLE:
        ledger.fund(person.public_key)
    ledger.close()

    for step in steps:
        play(ledger, step)
    ledger.close()

    in_memory = {account.address: account for account in ledger.all_accounts()}
    on_disk = {account.address: account for account in Store(path, PASSPHRASE).accounts()}
    assert in_memory == on_disk
    assert sum(account.balance for account in on_disk.values()) + ledger.latest.fee_pool == TOTAL_COINS
    for account in on_disk.values():
        assert account.balance >= 0
        assert all(0 <= line.balance <= line.limit for line in account.trustlines.values())
