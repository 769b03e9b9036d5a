"""Stellar assets as one text: `native` for XLM, else `CODE:ISSUER`; a bare code never names an asset."""

import re

from portal.kernel.addresses import is_account
from portal.kernel.errors import Invalid

NATIVE = "native"
_CODE = re.compile(r"[A-Za-z0-9]{1,12}")


class InvalidAsset(Invalid):
    code = "asset_invalid"


def parse_asset(text: object, *, pointer: str | None = None) -> str:
    """Return the canonical text of an asset.

    :raises InvalidAsset: when it is neither `native` nor `CODE:ISSUER` with a valid G... issuer.
    """
    if text == NATIVE:
        return NATIVE
    code, separator, issuer = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not separator or _CODE.fullmatch(code) is None or not is_account(issuer):
        raise InvalidAsset("Name the asset as native or CODE:ISSUER.", pointer=pointer)
    return f"{code}:{issuer}"


def asset_code(asset: str) -> str:
    return "XLM" if asset == NATIVE else asset.partition(":")[0]


def asset_issuer(asset: str) -> str | None:
    return None if asset == NATIVE else asset.partition(":")[2]
