"""The text of an API key: `tgh_test_` or `tgh_live_`, a public prefix, 256 secret bits, a checksum tail.

The fixed start lets secret scanners find leaked keys; the checksum lets us refuse a mistyped one before any
look-up.
"""

import re
import secrets
import string
import zlib
from dataclasses import dataclass
from datetime import datetime

from portal.kernel.errors import Invalid

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX_ALPHABET = string.digits + string.ascii_lowercase
PREFIX_LENGTH = 8
# 62**43 is the first power above 2**256; 62**6 the first above 2**32.
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6
SECRET_BITS = 256

_SHAPE = re.compile(
    rf"tgh_(test|live)_([a-z0-9]{{{PREFIX_LENGTH}}})([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)

SCOPES = (
    "invoices:read",
    "invoices:write",
    "clients:read",
    "clients:write",
    "payments:read",
    "events:read",
)


class ScopesInvalid(Invalid):
    code = "scopes_invalid"


class ExpiryInvalid(Invalid):
    code = "expiry_invalid"


@dataclass(frozen=True, slots=True)
class ParsedKey:
    network: str
    prefix: str
    text: str


def new_prefix() -> str:
    return "".join(secrets.choice(PREFIX_ALPHABET) for _ in range(PREFIX_LENGTH))


def new_key_text(network: str, prefix: str) -> str:
    """Return the whole text of a new key; whoever calls shows it once and keeps a hash."""
    body = f"tgh_{network}_{prefix}{_base62(secrets.randbits(SECRET_BITS), SECRET_LENGTH)}"
    return body + _checksum(body)


def parse_key(text: str) -> ParsedKey | None:
    """Return the parts of a well-formed key with a good checksum, else None; touches no database."""
    shape = _SHAPE.fullmatch(text)
    if shape is None or _checksum(text[:-CHECKSUM_LENGTH]) != shape[4]:
        return None
    return ParsedKey(shape[1], shape[2], text)


def check_scopes(scopes: list[str]) -> list[str]:
    """Return the scopes in their fixed order, each once.

    :raises ScopesInvalid: when there is none or one is unknown.
    """
    if not scopes:
        raise ScopesInvalid("Choose what the key may do.")
    if not set(scopes) <= set(SCOPES):
        raise ScopesInvalid("Choose from the permissions in the list.")
    return [scope for scope in SCOPES if scope in scopes]


def is_usable(*, revoked_at: datetime | None, expires_at: datetime | None, now: datetime) -> bool:
    return revoked_at is None and (expires_at is None or now < expires_at)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        digits.append(BASE62[rest])
    return "".join(reversed(digits))
