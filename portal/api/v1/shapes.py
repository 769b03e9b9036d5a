"""The shapes of answers, for the OpenAPI document alone: documents are made by the domain packages."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Amount = str


class Shape(BaseModel):
    """Answers may grow members; a client that refuses unknown ones breaks itself."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


class ProblemPlace(Shape):
    pointer: str = Field(description="RFC 6901 pointer into the body, or ?name of a query parameter.")
    code: str
    detail: str


class Problem(Shape):
    """RFC 9457; `code` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemPlace]
    request_id: str


class Rule(Shape):
    code: str
    ok: bool


class Submission(Shape):
    object: Literal["submission"]
    id: str
    state: Literal["CHECKING", "ACCEPTED", "REJECTED", "NOT_FOUND"]
    code: str | None
    transaction_hash: str
    payment: str | None
    invoice: str
    rules: list[Rule]
    created_at: str
    updated_at: str


class SubmissionProblem(Problem):
    """A refusal of a transaction; the submission that was recorded is its extension member."""

    submission: Submission | None = None


class PayTo(Shape):
    address: str
    muxed_address: str
    memo_type: Literal["id"]
    memo: str
    uri: str = Field(description="SEP-7 payment request.")


class InvoiceSummary(Shape):
    object: Literal["invoice"]
    id: str
    network: Literal["test", "live"]
    number: str | None
    status: Literal["DRAFT", "PENDING", "PAID", "EXPIRED", "CANCELLED"]
    settlement: Literal["UNPAID", "PARTIAL", "PAID", "OVERPAID"]
    subtotal: Amount
    amount: Amount
    amount_received: Amount
    amount_due: Amount
    overpaid_by: Amount
    asset: str
    description: str
    client: str | None
    link: str | None
    external_id: str | None
    pay_to: PayTo | None
    flags: list[str]
    issued_at: str | None
    due_at: str | None
    expires_in: int
    expires_at: str | None
    paid_at: str | None
    metadata: dict[str, str]
    checkout_url: str
    created_at: str
    updated_at: str


class Item(Shape):
    description: str
    quantity: str
    unit_price: Amount
    amount: Amount


class Adjustment(Shape):
    label: str
    percent: str | None
    amount: Amount


class Invoice(InvoiceSummary):
    items: list[Item]
    discounts: list[Adjustment]
    taxes: list[Adjustment]


class Allocation(Shape):
    invoice: str
    source: str
    amount: Amount


class Payment(Shape):
    object: Literal["payment"]
    id: str
    network: Literal["test", "live"]
    status: Literal["CONFIRMED", "UNMATCHED", "IGNORED", "REVERSED"]
    reason: str | None
    invoice: str | None
    client: str | None
    transaction_hash: str
    operation_index: int
    credit_index: int
    asset: str
    amount: Amount
    sender: str = Field(alias="from")
    to: str
    muxed_id: str | None
    memo_type: str
    memo: str | None
    ledger: int
    closed_at: str
    flags: list[str]
    allocations: list[Allocation]
    refunded: Amount
    rules: list[Rule]
    created_at: str


class Client(Shape):
    object: Literal["client"]
    id: str
    name: str
    email: str | None
    company: str | None
    tax_id: str | None
    billing_address: dict[str, str]
    locale: str | None
    terms_days: int | None
    notes: str | None
    metadata: dict[str, Any]
    archived_at: str | None
    created_at: str
    updated_at: str


class EventData(Shape):
    object: dict[str, Any]


class Event(Shape):
    object: Literal["event"]
    id: str
    sequence: int
    type: str
    network: Literal["test", "live"]
    created_at: str
    data: EventData


class _List(Shape):
    object: Literal["list"]
    has_more: bool
    next_cursor: str | None


class InvoiceList(_List):
    data: list[InvoiceSummary]


class PaymentList(_List):
    data: list[Payment]


class ClientList(_List):
    data: list[Client]


class EventList(_List):
    data: list[Event]
