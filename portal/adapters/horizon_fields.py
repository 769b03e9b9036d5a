"""Read single fields of Horizon's JSON strictly: what is not exactly as Horizon writes it is refused.

Amounts are text with 7 places; a number, an exponent or a digit of another script is a contradiction.
"""

import re
from datetime import datetime
from typing import Any

from portal.kernel.assets import NATIVE
from portal.kernel.chain import ChainContradiction
from portal.kernel.clock import parse_iso
from portal.kernel.money import MAX_STROOPS

Record = dict[str, Any]
# Horizon writes every amount so; ASCII only, because \d would let other scripts' digits through.
_AMOUNT = re.compile(r"([0-9]{1,12})\.([0-9]{7})")
DIGITS = re.compile(r"[0-9]{1,20}")
UINT32_MAX = 2**32 - 1
UINT64_MAX = 2**64 - 1


def require(is_so: bool, field: str) -> None:
    if not is_so:
        raise ChainContradiction(f"{field} is missing, malformed or contradicts the envelope")


def stroops_of(text: object, field: str) -> int:
    """Return an amount of Horizon ("12.5000000") in stroops; anything else is a ChainContradiction."""
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    require(match is not None, field)
    assert match is not None
    stroops = int(match[1] + match[2])
    require(stroops <= MAX_STROOPS, field)
    return stroops


def natural(value: object, field: str) -> int:
    """Return a whole number that Horizon writes as digits or as a JSON integer."""
    if isinstance(value, str) and DIGITS.fullmatch(value) is not None:
        return int(value)
    require(type(value) is int and 0 <= value <= UINT64_MAX, field)
    assert isinstance(value, int)
    return value


def moment(text: object, field: str) -> datetime:
    try:
        return parse_iso(text if isinstance(text, str) else "")
    except ValueError as error:
        raise ChainContradiction(f"{field} is no moment") from error


def asset_of(record: Record, prefix: str = "") -> str:
    """Return the asset that `record` names in its fields `<prefix>asset_type`, `_code` and `_issuer`."""
    kind, code, issuer = (record.get(f"{prefix}asset_{part}") for part in ("type", "code", "issuer"))
    if kind == NATIVE:
        return NATIVE
    lengths = {"credit_alphanum4": range(1, 5), "credit_alphanum12": range(5, 13)}.get(str(kind), range(0))
    require(isinstance(code, str) and len(code) in lengths and isinstance(issuer, str), f"{prefix}asset_type")
    return f"{code}:{issuer}"
