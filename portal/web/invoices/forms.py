"""The invoice form: rows of typed texts become a `Draft`; whatever is wrong is said beside its field.

Nothing typed is ever lost: the form keeps the texts, the draft is made of them on the side.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, tzinfo
from typing import TypeVar
from uuid import UUID

from portal.domain.clients.models import Client
from portal.domain.clients.rules import ClientInvalid, Details, details
from portal.domain.invoices import rules
from portal.domain.invoices.documents import plain
from portal.kernel.errors import Invalid, NotFound, TagihError
from portal.kernel.money import format_units, parse_amount
from portal.kernel.refs import from_ref, to_ref
from portal.web.clients.forms import TypedField
from portal.web.invoices import fields
from portal.web.typed import typed_asset

T = TypeVar("T")

TEXTS = (
    "client", "client_name", "client_email", "asset", "asset_other", "due_date", "expires_hours", "description",
    "metadata",
)  # fmt: skip
ROWS: dict[str, tuple[str, ...]] = {
    "items": ("description", "quantity", "unit_price"),
    "discounts": ("label", "kind", "value"),
    "taxes": ("label", "percent"),
}
# A row counts as blank while these say nothing: the others come prefilled.
TELLING: dict[str, tuple[str, ...]] = {
    "items": ("description", "unit_price"),
    "discounts": ("label", "value"),
    "taxes": ("label", "percent"),
}
DEFAULTS = {"quantity": "1", "kind": "percent"}
# A little above what an invoice may hold, so that too many lines are refused with all of them still there.
ROWS_READ_MAX = 250
_NAME = re.compile(r"(items|discounts|taxes)-([0-9]{1,4})-([a-z_]+)")
NEW_CLIENT, OTHER_ASSET = "new", "other"


@dataclass
class Row:
    """One line of the form with its inputs; iterates them for the error summary."""

    kind: str
    cells: dict[str, TypedField]
    form: bool = field(default=True, repr=False)
    errors: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return next(iter(self.cells.values())).id

    def __iter__(self) -> Iterator[TypedField]:
        return iter(self.cells.values())

    def __getitem__(self, name: str) -> TypedField:
        return self.cells[name]

    @property
    def is_blank(self) -> bool:
        return not any(self.cells[name].value.strip() for name in TELLING[self.kind])


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a good form says; `new_client` is a client to be written along."""

    draft: rules.Draft
    new_client: Details | None = None


class InvoiceForm:
    def __init__(self, texts: Mapping[str, str], rows: Mapping[str, list[dict[str, str]]]) -> None:
        self.fields = {name: TypedField(name, texts.get(name, "")) for name in TEXTS}
        self.rows = {
            kind: [_row(kind, at, each) for at, each in enumerate(rows.get(kind, []))] for kind in ROWS
        }
        if not self.rows["items"]:
            self.rows["items"] = [_row("items", 0, {})]
        self.form_errors: list[str] = []

    @classmethod
    def read(cls, typed: Mapping[str, str]) -> "InvoiceForm":
        """Return the form as it was sent; rows are numbered anew, gaps closed."""
        found: dict[str, dict[int, dict[str, str]]] = {kind: {} for kind in ROWS}
        for name, value in typed.items():
            match = _NAME.fullmatch(name)
            if match and match[3] in ROWS[match[1]]:
                found[match[1]].setdefault(int(match[2]), {})[match[3]] = value
        rows = {
            kind: [numbered[at] for at in sorted(numbered)][:ROWS_READ_MAX]
            for kind, numbered in found.items()
        }
        return cls({name: typed.get(name, "") for name in TEXTS}, rows)

    @classmethod
    def of(cls, draft: rules.Draft, *, zone: tzinfo) -> "InvoiceForm":
        """Return the form that says what a draft says."""
        texts = {
            "client": "" if draft.client_id is None else to_ref("cli", draft.client_id),
            "asset": draft.asset,
            "due_date": "" if draft.due_at is None else draft.due_at.astimezone(zone).date().isoformat(),
            "expires_hours": ""
            if draft.expires_in_seconds is None
            else fields.hours_text(draft.expires_in_seconds),
            "description": draft.description,
            "metadata": fields.metadata_text(draft.metadata),
        }
        items = [
            {
                "description": each.description,
                "quantity": plain(each.quantity),
                "unit_price": _short(each.unit_price),
            }
            for each in draft.items
        ]
        discounts = [
            {"label": each.label, "kind": "percent", "value": plain(each.percent)}
            if each.percent is not None
            else {"label": each.label, "kind": "amount", "value": _short(each.amount)}
            for each in draft.discounts
        ]
        taxes = [{"label": each.label, "percent": plain(each.percent)} for each in draft.taxes]
        return cls(texts, {"items": items, "discounts": discounts, "taxes": taxes})

    def __iter__(self) -> Iterator[TypedField | Row]:
        """Yield fields in the order of the page, so that the summary reads like it."""
        yield from (
            self.fields[name] for name in ("client", "client_name", "client_email", "asset", "asset_other")
        )
        for kind in ROWS:
            yield from self.rows[kind]
        yield from (self.fields[name] for name in ("due_date", "expires_hours", "description", "metadata"))

    def __getitem__(self, name: str) -> TypedField:
        return self.fields[name]

    @property
    def has_errors(self) -> bool:
        """Say whether anything was refused so far."""
        return bool(self.form_errors) or any(
            each.errors or (isinstance(each, Row) and any(cell.errors for cell in each)) for each in self
        )

    def change(self, order: str) -> None:
        """Add, remove or move a row as a button without scripts asks: "items.add", "taxes.remove.2"."""
        kind, _, rest = order.partition(".")
        verb, _, place = rest.partition(".")
        if kind not in ROWS:
            return
        rows = self.rows[kind]
        at = int(place) if place.isascii() and place.isdigit() and len(place) < 5 else -1
        if verb == "add" and len(rows) < ROWS_READ_MAX:
            rows.append(_row(kind, len(rows), {}))
        elif not 0 <= at < len(rows):
            return
        elif verb == "remove":
            del rows[at]
        elif verb == "up" and at > 0:
            rows[at - 1], rows[at] = rows[at], rows[at - 1]
        elif verb == "down" and at < len(rows) - 1:
            rows[at + 1], rows[at] = rows[at], rows[at + 1]
        values = [{name: cell.value for name, cell in row.cells.items()} for row in rows]
        self.rows[kind] = [_row(kind, place, each) for place, each in enumerate(values)]
        if not self.rows["items"]:
            self.rows["items"] = [_row("items", 0, {})]

    def parse(
        self, *, zone: tzinfo, today: date, metadata_before: dict[str, str] | None = None
    ) -> Parsed | None:
        """Return what the form says, or None after noting every error beside its field."""
        lines = self.parse_lines()
        new_client, client_id = self._new_client(), self._client_id()
        asset = self._asset()
        due = self._try("due_date", lambda text: fields.due_at(text, zone=zone, today=today))
        expires = self._try("expires_hours", fields.expires_in_seconds)
        description = self._try(
            "description",
            lambda text: fields.line_of_text(text, what="the description", longest=fields.DESCRIPTION_MAX),
        )
        facts = self._try("metadata", lambda text: fields.metadata(text, before=metadata_before))
        if lines is None or self.has_errors or asset is None:
            return None
        items, discounts, taxes = lines
        draft = rules.Draft(
            asset=asset, items=items, discounts=discounts, taxes=taxes, description=description or "",
            client_id=client_id, due_at=due, expires_in_seconds=expires,
            metadata=facts or {},
        )  # fmt: skip
        return Parsed(draft, new_client)

    def parse_lines(
        self,
    ) -> tuple[tuple[rules.Item, ...], tuple[rules.Discount, ...], tuple[rules.Tax, ...]] | None:
        """Return the lines that are not blank once their totals make an invoice, else note what is wrong."""
        kept = {kind: [row for row in rows if not row.is_blank] for kind, rows in self.rows.items()}
        if not kept["items"]:
            first = self.rows["items"][0]
            first["description"].errors.append("Write at least one line: what is sold, and its price.")
            return None
        items = [_item(row) for row in kept["items"]]
        discounts = [_discount(row) for row in kept["discounts"]]
        taxes = [_tax(row) for row in kept["taxes"]]
        good_items = tuple(each for each in items if each is not None)
        good_discounts = tuple(each for each in discounts if each is not None)
        good_taxes = tuple(each for each in taxes if each is not None)
        if len(good_items) + len(good_discounts) + len(good_taxes) < sum(len(rows) for rows in kept.values()):
            return None
        try:
            rules.totals(good_items, good_discounts, good_taxes)
        except rules.TotalsInvalid as refusal:
            self._note_totals(refusal, kept)
            return None
        return good_items, good_discounts, good_taxes

    def note(self, refusal: TagihError, *, name: str = "") -> None:
        """Put a refusal beside the field `name`, or above the form when it concerns all of it."""
        if name in self.fields:
            self.fields[name].errors.append(refusal.detail)
        else:
            self.form_errors.append(refusal.detail)

    def _note_totals(self, refusal: rules.TotalsInvalid, kept: dict[str, list[Row]]) -> None:
        _, kind, *place = (refusal.pointer or "/items").split("/")
        rows = kept.get(kind) or self.rows["items"]
        row = rows[int(place[0])] if place and place[0].isdigit() and int(place[0]) < len(rows) else rows[0]
        cell = {"items": "unit_price", "discounts": "value", "taxes": "percent"}[row.kind]
        row[cell].errors.append(refusal.detail)

    def _try(self, name: str, read: Callable[[str], T]) -> T | None:
        return _read(self.fields[name], read)

    def _asset(self) -> str | None:
        chosen = "asset_other" if self["asset"].value == OTHER_ASSET else "asset"
        return self._try(chosen, typed_asset)

    def _client_id(self) -> UUID | None:
        text = self["client"].value
        if text in {"", NEW_CLIENT}:
            return None
        try:
            return from_ref("cli", text)
        except NotFound:
            self["client"].errors.append("Choose a client of the list.")
            return None

    def _new_client(self) -> Details | None:
        """Return a client typed in place; choosing one of the list leaves the two inputs unread."""
        name, email = self["client_name"].value, self["client_email"].value
        wanted = self["client"].value == NEW_CLIENT or (not self["client"].value and (name + email).strip())
        if not wanted:
            return None
        try:
            return details(name=name, email=email)
        except ClientInvalid as refusal:
            self.note(refusal, name=f"client_{(refusal.pointer or '/name').strip('/')}")
            return None


def choice_of(client: Client) -> tuple[str, str]:
    """Return (ref, words) of a client in the select box."""
    return to_ref("cli", client.id), f"{client.name} ({client.email})" if client.email else client.name


def _row(kind: str, at: int, values: Mapping[str, str]) -> Row:
    cells = {
        name: TypedField(f"{kind}-{at}-{name}", values.get(name, DEFAULTS.get(name, "")))
        for name in ROWS[kind]
    }
    return Row(kind, cells)


def _item(row: Row) -> rules.Item | None:
    description = _read(
        row["description"],
        lambda text: _required(text, what="the description", longest=fields.DESCRIPTION_MAX),
    )
    quantity = _read(row["quantity"], fields.quantity)
    price = _read(row["unit_price"], fields.unit_price)
    if description is None or quantity is None or price is None:
        return None
    return rules.Item(description, quantity, price)


def _discount(row: Row) -> rules.Discount | None:
    label = _read(
        row["label"], lambda text: _required(text, what="what the discount is for", longest=fields.LABEL_MAX)
    )
    if row["kind"].value == "amount":
        amount = _read(row["value"], lambda text: parse_amount(text.strip()))
        return None if label is None or amount is None else rules.Discount(label, amount=amount)
    off = _read(row["value"], lambda text: fields.percent(text, may_be_zero=False))
    return None if label is None or off is None else rules.Discount(label, percent=off)


def _tax(row: Row) -> rules.Tax | None:
    label = _read(
        row["label"], lambda text: _required(text, what="the name of the tax", longest=fields.LABEL_MAX)
    )
    share = _read(row["percent"], lambda text: fields.percent(text, may_be_zero=True))
    return None if label is None or share is None else rules.Tax(label, share)


def _required(text: str, *, what: str, longest: int) -> str:
    line = fields.line_of_text(text, what=what, longest=longest)
    if not line:
        raise fields.FieldInvalid(f"Write {what}.")
    return line


def _read(cell: TypedField, read: Callable[[str], T]) -> T | None:
    try:
        return read(cell.value)
    except Invalid as refusal:
        cell.errors.append(refusal.detail)
        return None


def _short(amount: object) -> str:
    """Return an amount for an input: plain digits, zeros at the end dropped down to 2 places."""
    whole, _, fraction = format_units(amount).partition(".")  # type: ignore[arg-type]
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
