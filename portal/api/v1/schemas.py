"""What requests may say; the shapes of answers are in `shapes.py`."""

from functools import partial
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from portal.api.v1.fields import (
    AmountText,
    AssetText,
    Body,
    Label,
    Line,
    MetadataKey,
    MetadataValue,
    MomentText,
    Paragraph,
    PositiveRateText,
    PriceText,
    QuantityText,
    Query,
    RateText,
    check_ref,
    ref_pattern,
)
from portal.domain.invoices.rules import ADJUSTMENTS_MAX, ITEMS_MAX

PAGE_MAX = 100
PAGE_DEFAULT = 25
CURSOR_MAX = 100
METADATA_MAX = 50
# Limits of the invoices table: a minute to a year and a day.
EXPIRES_MIN_SECONDS = 60
EXPIRES_MAX_SECONDS = 31_622_400
SEARCH_MIN_CHARACTERS = 3

Limit = Annotated[int, Field(ge=1, le=PAGE_MAX)]
# What a cursor or a hash must be is decided where it is read; these are for the document.
Cursor = Annotated[
    str,
    StringConstraints(max_length=CURSOR_MAX),
    WithJsonSchema({"type": "string", "maxLength": CURSOR_MAX, "pattern": "^[A-Za-z0-9_-]+$"}),
]
HashText = Annotated[
    str,
    StringConstraints(max_length=CURSOR_MAX),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}),
]
Needle = Annotated[str, StringConstraints(min_length=SEARCH_MIN_CHARACTERS, max_length=100)]
ClientRef = Annotated[
    str,
    AfterValidator(partial(check_ref, "cli")),
    WithJsonSchema({"type": "string", "pattern": ref_pattern("cli")}),
]
ExpiresIn = Annotated[int, Field(ge=EXPIRES_MIN_SECONDS, le=EXPIRES_MAX_SECONDS)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=METADATA_MAX)]


class ItemGiven(Body):
    """One line; its amount is quantity x unit_price, rounded half up to 7 places."""

    description: Line
    quantity: QuantityText = "1"
    unit_price: PriceText


class DiscountGiven(Body):
    """Off the subtotal: either a percent or an amount."""

    label: Label
    percent: PositiveRateText | None = None
    amount: AmountText | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.percent is None) == (self.amount is None):
            raise PydanticCustomError("discount_ambiguous", "Give either percent or amount.")
        return self


class TaxGiven(Body):
    label: Label
    percent: RateText


class InlineClient(Body):
    """A client named by the invoice itself; an email address that is known names the client that has it."""

    name: Line
    email: Annotated[str, StringConstraints(min_length=3, max_length=254)] | None = None


# Told apart by their kind, so that a refusal speaks of one of them alone.
ClientGiven = Annotated[
    Annotated[ClientRef, Tag("ref")] | Annotated[InlineClient, Tag("inline")],
    Discriminator(lambda given: "ref" if isinstance(given, str) else "inline"),
]
Items = Annotated[list[ItemGiven], Field(min_length=1, max_length=ITEMS_MAX)]
Discounts = Annotated[list[DiscountGiven], Field(max_length=ADJUSTMENTS_MAX)]
Taxes = Annotated[list[TaxGiven], Field(max_length=ADJUSTMENTS_MAX)]


class InvoiceCreate(Body):
    """`amount` alone means one line of that price; with items it must equal the total computed from them."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["amount"]}, {"required": ["items"]}]}
    )

    amount: AmountText | None = None
    items: Items | None = None
    discounts: Discounts = Field(default=[])
    taxes: Taxes = Field(default=[])
    asset: AssetText | None = Field(
        default=None, description="The merchant's default asset if it is left out."
    )
    description: Paragraph = ""
    client: ClientGiven | None = None
    due_at: MomentText | None = None
    expires_in: ExpiresIn | None = Field(
        default=None, description="Seconds an issued invoice can be paid on time."
    )
    metadata: Metadata = Field(default={})
    external_id: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    issue: bool = Field(default=False, description="Issue at once, so that it can be paid.")

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if self.amount is None and self.items is None:
            raise PydanticCustomError("amount_missing", "Give amount, items or both.")
        return self


class InvoiceUpdate(Body):
    """Changes a draft; what is left out stays. `amount` alone replaces all lines by one."""

    amount: AmountText | None = None
    items: Items | None = None
    discounts: Discounts | None = None
    taxes: Taxes | None = None
    asset: AssetText | None = None
    description: Paragraph | None = None
    client: ClientRef | None = None
    due_at: MomentText | None = None
    expires_in: ExpiresIn | None = None
    metadata: Metadata | None = None


class SubmissionCreate(Body):
    transaction_hash: HashText = Field(description="Either hash of a fee-bumped transaction.")


class Address(Body):
    line1: Line | None = None
    line2: Line | None = None
    city: Line | None = None
    region: Line | None = None
    postal_code: Line | None = None
    country: Line | None = None


class ClientUpdate(Body):
    """Changes a client; what is left out stays, null erases."""

    name: Line | None = None
    email: Annotated[str, StringConstraints(max_length=254)] | None = None
    company: Line | None = None
    tax_id: Line | None = None
    billing_address: Address | None = None
    locale: Annotated[str, StringConstraints(max_length=35)] | None = None
    terms_days: Annotated[int, Field(ge=0, le=365)] | None = None
    notes: Annotated[str, StringConstraints(max_length=5_000)] | None = None


class ClientCreate(ClientUpdate):
    name: Line


class InvoiceQuery(Query):
    status: Literal["DRAFT", "PENDING", "PAID", "EXPIRED", "CANCELLED"] | None = None
    client: ClientRef | None = None
    created_after: MomentText | None = None
    q: Needle | None = Field(
        default=None, description="Text in number, reference, description, name or email."
    )
    limit: Limit = PAGE_DEFAULT
    cursor: Cursor | None = None


class PaymentQuery(Query):
    status: Literal["CONFIRMED", "UNMATCHED", "IGNORED", "REVERSED"] | None = None
    limit: Limit = PAGE_DEFAULT
    cursor: Cursor | None = None


class ClientQuery(Query):
    q: Needle | None = None
    limit: Limit = PAGE_DEFAULT
    cursor: Cursor | None = None


class EventQuery(Query):
    after: Annotated[int, Field(ge=0, le=2**62)] = Field(
        default=0, description="The sequence of the last event seen."
    )
    limit: Limit = PAGE_DEFAULT
