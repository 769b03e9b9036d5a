"""Stellar addresses (strkey, SEP-23): G... accounts and M... muxed accounts.

The strkey code of stellar-sdk is used, imported on first use: the package is large and most processes
that only show pages never need it.
"""

import re
from functools import lru_cache

_SHAPE = re.compile(r"G[A-Z2-7]{55}")


@lru_cache(maxsize=4096)
def is_account(text: str) -> bool:
    """Say whether `text` is a G... address with a good checksum."""
    if _SHAPE.fullmatch(text) is None:
        return False
    from stellar_sdk import StrKey

    return StrKey.is_valid_ed25519_public_key(text)


@lru_cache(maxsize=4096)
def muxed(account: str, muxed_id: int) -> str:
    """Return the M... address of `account` with the 64-bit id `muxed_id`."""
    from stellar_sdk import MuxedAccount

    return MuxedAccount(account, muxed_id).account_muxed or account


def demux(text: str) -> tuple[str, int | None]:
    """Return (G... account, muxed id or None) of a G... or M... address; ValueError for anything else."""
    if is_account(text):
        return text, None
    from stellar_sdk import MuxedAccount

    account = MuxedAccount.from_account(text)
    return account.account_id, account.account_muxed_id
