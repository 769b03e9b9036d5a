"""Public names of rows: a type prefix and the Crockford form of the row's ULID (seed 002's golden rule).

Rows are keyed by the same 128 bits stored as `uuid`; the uuid itself never leaves the program.
"""

import re
from uuid import UUID

from ulid import ULID

from portal.kernel.errors import NotFound

PREFIXES = frozenset(
    {
        "mer",
        "usr",
        "key",
        "cli",
        "inv",
        "lnk",
        "pay",
        "evt",
        "whk",
        "dlv",
        "jrn",
        "acc",
        "rfd",
        "vch",
        "ntc",
        "sub",
        "ext",
    }
)
# The first of 26 characters carries 3 bits, so it is at most 7.
_BODY = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


class InvalidRef(NotFound):
    """A malformed ref names nothing, which is what a caller is told of any unknown one."""

    code = "not_found"


def new_id() -> UUID:
    """Return a time-ordered 128-bit key: 48 bits of milliseconds, 80 random bits."""
    return ULID().to_uuid()


def to_ref(prefix: str, identity: UUID) -> str:
    assert prefix in PREFIXES, prefix
    return f"{prefix}_{ULID.from_uuid(identity)}"


def to_ref_or_none(prefix: str, identity: UUID | None) -> str | None:
    return None if identity is None else to_ref(prefix, identity)


def from_ref(prefix: str, text: object) -> UUID:
    """Return the row key that `text` names.

    :raises InvalidRef: when the prefix is another type's or the rest is not a ULID in canonical form.
    """
    assert prefix in PREFIXES, prefix
    head, _, body = text.partition("_") if isinstance(text, str) else ("", "", "")
    if head != prefix or _BODY.fullmatch(body) is None:
        raise InvalidRef(f"No such {prefix} reference.")
    return ULID.from_str(body).to_uuid()
