"""Field types that requests share: amounts and rates are strings, texts are bounded, times have a zone."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from portal.kernel.assets import parse_asset
from portal.kernel.clock import parse_iso
from portal.kernel.errors import TagihError
from portal.kernel.money import parse_amount
from portal.kernel.refs import from_ref

AMOUNT_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,7})?$"
QUANTITY_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"
PERCENT_PATTERN = r"^(100(\.0{1,6})?|[0-9]{1,2}(\.[0-9]{1,6})?)$"
ASSET_PATTERN = r"^(native|[A-Za-z0-9]{1,12}:G[A-Z2-7]{55})$"
REF_BODY = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
# Dates outside are slips of the keyboard.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class Body(BaseModel):
    """A request's body or a part of it: exact types, no member that is not ours."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Query(BaseModel):
    """A query string: every value is text, so numbers are read from text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def ref_pattern(prefix: str) -> str:
    return f"^{prefix}_{REF_BODY}$"


def check_ref(prefix: str, text: str) -> str:
    try:
        from_ref(prefix, text)
    except TagihError as refusal:
        raise _refused("ref_invalid", f"This is not a reference that begins with {prefix}_.") from refusal
    return text


def _refused(code: str, detail: str) -> PydanticCustomError:
    # The braces of a message would be read as its own template.
    return PydanticCustomError(code, "{detail}", {"detail": detail})


def _amount(text: str) -> str:
    try:
        parse_amount(text)
    except TagihError as refusal:
        raise _refused(refusal.code, refusal.detail) from refusal
    return text


def _asset(text: str) -> str:
    try:
        return parse_asset(text)
    except TagihError as refusal:
        raise _refused(refusal.code, refusal.detail) from refusal


def _price(text: str) -> str:
    return text if re.fullmatch(r"0{1,12}(\.0{1,7})?", text) else _amount(text)


def _quantity(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", text) is None or Decimal(text) == 0:
        raise _refused(
            "quantity_invalid", "Write the quantity in plain digits above zero, with at most 6 decimals."
        )
    return text


def _rate(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text) is None or Decimal(text) > 100:
        raise _refused(
            "percent_invalid", "Write the percent in plain digits, 0 to 100, with at most 6 decimals."
        )
    return text


def _positive_rate(text: str) -> str:
    if Decimal(_rate(text)) == 0:
        raise _refused("percent_invalid", "The percent must be above zero.")
    return text


def _moment(text: str) -> str:
    try:
        moment = parse_iso(text)
    except (ValueError, OverflowError) as refusal:
        raise _refused(
            "time_invalid", "Write the time as RFC 3339 with its zone, such as 2026-11-20T08:00:00Z."
        ) from (refusal)
    if not EARLIEST <= moment <= LATEST:
        raise _refused("time_invalid", "The time is not within the years 2000 to 2199.")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise _refused("text_blank", "Write some text.")
    return text


def _text_schema(pattern: str, example: str) -> Any:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


AmountText = Annotated[str, AfterValidator(_amount), _text_schema(AMOUNT_PATTERN, "148.50")]
PriceText = Annotated[str, AfterValidator(_price), _text_schema(AMOUNT_PATTERN, "42")]
QuantityText = Annotated[str, AfterValidator(_quantity), _text_schema(QUANTITY_PATTERN, "3")]
RateText = Annotated[str, AfterValidator(_rate), _text_schema(PERCENT_PATTERN, "11")]
PositiveRateText = Annotated[str, AfterValidator(_positive_rate), _text_schema(PERCENT_PATTERN, "5")]
AssetText = Annotated[str, AfterValidator(_asset), _text_schema(ASSET_PATTERN, "native")]
MomentText = Annotated[
    str,
    AfterValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-12-01T00:00:00Z"]}),
]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_not_blank)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_not_blank)]
Paragraph = Annotated[str, StringConstraints(max_length=2_000)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40)]
MetadataValue = Annotated[str, StringConstraints(max_length=500)]
