"""Stellar addresses (strkey, SEP-23): G... accounts and M... muxed accounts.

Written here although stellar-sdk has it too: every page that shows an address needs these few lines, and the
SDK would cost each web process 25 MiB. A property test holds them against it.
"""

import re
from base64 import b32decode, b32encode
from binascii import crc_hqx
from functools import lru_cache

# Version bytes of SEP-23: the letter that the address begins with, in the upper five bits.
_ACCOUNT, _MUXED = 6 << 3, 12 << 3
_KEY_BYTES, _ID_BYTES = 32, 8
_SHAPE = re.compile(r"G[A-Z2-7]{55}")
_MUXED_SHAPE = re.compile(r"M[A-Z2-7]{68}")


@lru_cache(maxsize=4096)
def is_account(text: str) -> bool:
    """Say whether `text` is a G... address with a good checksum."""
    return _SHAPE.fullmatch(text) is not None and _decode(_ACCOUNT, text) is not None


@lru_cache(maxsize=4096)
def muxed(account: str, muxed_id: int) -> str:
    """Return the M... address of `account` with the 64-bit id `muxed_id`."""
    key = _decode(_ACCOUNT, account) if _SHAPE.fullmatch(account) else None
    if key is None:
        raise ValueError(f"{account} is no account")
    return _encode(_MUXED, key + muxed_id.to_bytes(_ID_BYTES, "big"))


def demux(text: str) -> tuple[str, int | None]:
    """Return (G... account, muxed id or None) of a G... or M... address; ValueError for anything else."""
    if is_account(text):
        return text, None
    payload = _decode(_MUXED, text) if _MUXED_SHAPE.fullmatch(text) else None
    if payload is None:
        raise ValueError(f"{text[:80]!r} is no address")
    return _encode(_ACCOUNT, payload[:_KEY_BYTES]), int.from_bytes(payload[_KEY_BYTES:], "big")


def _encode(version: int, payload: bytes) -> str:
    body = bytes([version]) + payload
    return b32encode(body + crc_hqx(body, 0).to_bytes(2, "little")).rstrip(b"=").decode()


def _decode(version: int, text: str) -> bytes | None:
    """Return the payload of an address of the right shape, or None when it is mistyped."""
    raw = b32decode(text + "=" * (-len(text) % 8))
    payload = raw[1:-2]
    # Writing it again finds a wrong version, a wrong checksum and bits beyond the last byte, all at once.
    return payload if raw[0] == version and _encode(version, payload) == text else None
