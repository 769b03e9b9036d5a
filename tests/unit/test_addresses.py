"""Addresses agree with the SDK's, whatever is typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Keypair, MuxedAccount, StrKey

from portal.kernel.addresses import demux, is_account, muxed

KEYS = st.binary(min_size=32, max_size=32)
IDS = st.integers(min_value=0, max_value=2**64 - 1)
PAIR = Keypair.from_raw_ed25519_seed(bytes(range(32)))
ACCOUNT = PAIR.public_key


@given(KEYS, IDS)
def test_an_account_and_an_id_become_the_sdks_muxed_address_and_come_back(key, muxed_id):
    account = StrKey.encode_ed25519_public_key(key)
    address = muxed(account, muxed_id)
    assert is_account(account)
    assert address == MuxedAccount(account, muxed_id).account_muxed
    assert demux(address) == (account, muxed_id)
    assert demux(account) == (account, None)


@given(KEYS, st.integers(min_value=0, max_value=55), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_mistyped_letter_is_judged_as_the_sdk_does(key, place, letter):
    account = StrKey.encode_ed25519_public_key(key)
    typed = account[:place] + letter + account[place + 1 :]
    assert is_account(typed) == StrKey.is_valid_ed25519_public_key(typed)


@pytest.mark.parametrize(
    "text",
    ["", "G", ACCOUNT.lower(), ACCOUNT + "A", ACCOUNT[:-1], f" {ACCOUNT}", f"{ACCOUNT}\n", PAIR.secret,
     "M" + "A" * 68, muxed(ACCOUNT, 7)[:-1] + "B", "M" + ACCOUNT[1:], "Ġ" + ACCOUNT[1:]],
)  # fmt: skip
def test_anything_else_is_no_address(text):
    assert not is_account(text)
    with pytest.raises(ValueError, match="is no address"):
        demux(text)


def test_an_account_that_is_none_has_no_muxed_address():
    with pytest.raises(ValueError, match="is no account"):
        muxed("GABC", 1)
