"""What people type into forms where the API wants one spelling."""

from portal.kernel.assets import InvalidAsset, parse_asset

NATIVE_WORDS = frozenset({"xlm", "native"})


def typed_asset(text: str) -> str:
    """Return the canonical asset of what was typed.

    :raises InvalidAsset: in words for people, who know the native asset as XLM.
    """
    asked = text.strip()
    if asked.lower() in NATIVE_WORDS:
        return "native"
    try:
        return parse_asset(asked)
    except InvalidAsset as refusal:
        raise InvalidAsset(
            "Write XLM, or the code and the issuer's address, such as USDC:GA5Z..."
        ) from refusal
