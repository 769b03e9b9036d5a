"""To which invoices a person gives a payment: typed rows become parts; what is wrong is said beside its field."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from portal.domain.invoices.documents import plain
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.queries import InvoiceNotFound
from portal.domain.payments.decisions import PARTS_MAX, Part
from portal.kernel.errors import Conflict, TagihError
from portal.kernel.money import InvalidAmount, format_units, parse_amount
from portal.kernel.refs import to_ref
from portal.web.clients.forms import TypedField

ROWS_SHOWN = 3
_PLAIN = re.compile(r"[0-9]{1,20}\.[0-9]{7}")
_NAME = re.compile(r"parts-([0-9]{1,3})-(invoice|amount|allocated)")

Find = Callable[[str], Invoice]
Refuse = Callable[[Invoice], Conflict | None]


@dataclass
class PartRow:
    """One invoice and how much it gets; an empty amount takes the rest. `allocated` is what was announced."""

    invoice: TypedField
    amount: TypedField
    allocated: str = ""
    chosen: Invoice | None = None

    @property
    def is_blank(self) -> bool:
        return not self.invoice.value.strip() and not self.amount.value.strip()


class MatchForm:
    """Iterates its inputs, so that the error summary can be made of it.

    `is_single` where one invoice gets all; `status` is what a refusal is answered with.
    """

    def __init__(self, rows: list[PartRow], *, is_single: bool = False, note: str = "") -> None:
        self.rows = rows
        self.is_single = is_single
        self.note = note
        self.form_errors: list[str] = []
        self.status = 422

    @classmethod
    def read(cls, typed: Mapping[str, str]) -> "MatchForm":
        """Return the form as it was sent: `invoice` alone, or numbered rows, numbered anew without gaps."""
        note = typed.get("note", "")
        if "invoice" in typed:
            return cls([_row("", typed["invoice"], "")], is_single=True, note=note)
        found: dict[int, dict[str, str]] = {}
        for name, value in typed.items():
            match = _NAME.fullmatch(name)
            if match:
                found.setdefault(int(match[1]), {})[match[2]] = value
        rows = [
            _row(f"parts-{at}-", row.get("invoice", ""), row.get("amount", ""), row.get("allocated", ""))
            for at, row in enumerate(found[number] for number in sorted(found)[:PARTS_MAX])
        ]
        return cls(rows, note=note)

    def __iter__(self) -> Iterator[TypedField]:
        for row in self.rows:
            yield row.invoice
            yield row.amount

    def add_rows(self, most: int = ROWS_SHOWN) -> None:
        """Add empty rows, up to the limit of parts."""
        for at in range(len(self.rows), min(len(self.rows) + most, PARTS_MAX)):
            self.rows.append(_row(f"parts-{at}-", "", ""))

    @property
    def may_grow(self) -> bool:
        return len(self.rows) < PARTS_MAX

    def announced(self) -> dict[UUID, Decimal]:
        """Return what each chosen invoice was said to get, in units; what makes no sense is left out."""
        said = {}
        for row in self.rows:
            if row.chosen is not None and _PLAIN.fullmatch(row.allocated):
                said[row.chosen.id] = Decimal(row.allocated)
        return said

    def parse(self, *, left: Decimal, find: Find, refuse: Refuse) -> list[Part] | None:
        """Return the parts that share `left` out, or None after noting what is wrong beside its field."""
        rows = [row for row in self.rows if not row.is_blank]
        if not rows:
            self._first().invoice.errors.append("Name an invoice by its number or its reference.")
            return None
        for row in rows:
            self._choose(row, rows, find, refuse)
        amounts = self._amounts(rows, left)
        if any(field.errors for field in self):
            return None
        return [Part(row.chosen.id, amounts[at]) for at, row in enumerate(rows) if row.chosen is not None]

    def refused(self, refusal: TagihError) -> None:
        """Note a refusal that is about no single field."""
        self.form_errors.append(refusal.detail)
        self.status = 409 if isinstance(refusal, Conflict) else 422

    def settle(self, parts: list[Part]) -> None:
        """Put refs and whole amounts where names and gaps were typed, so that the form can be sent on."""
        amounts = {part.invoice_id: part.amount for part in parts}
        self.rows = [row for row in self.rows if row.chosen is not None and row.chosen.id in amounts]
        for at, row in enumerate(self.rows):
            assert row.chosen is not None, row
            row.invoice = TypedField(f"parts-{at}-invoice", to_ref("inv", row.chosen.id))
            row.amount = TypedField(f"parts-{at}-amount", format_units(amounts[row.chosen.id]))

    def _first(self) -> PartRow:
        if not self.rows:
            self.add_rows()
        return self.rows[0]

    def _choose(self, row: PartRow, rows: list[PartRow], find: Find, refuse: Refuse) -> None:
        if not row.invoice.value.strip():
            row.invoice.errors.append("Name the invoice that gets this amount.")
            return
        try:
            row.chosen = find(row.invoice.value)
        except InvoiceNotFound:
            row.invoice.errors.append("You have no such invoice. Write its number or its reference.")
            return
        refusal = refuse(row.chosen)
        if refusal is not None:
            row.invoice.errors.append(refusal.detail)
            self.status = 409
        elif sum(1 for other in rows if other.chosen is not None and other.chosen.id == row.chosen.id) > 1:
            row.invoice.errors.append("This invoice stands in another row already.")

    def _amounts(self, rows: list[PartRow], left: Decimal) -> list[Decimal]:
        """Return the amount of each row, zero where one is wrong."""
        amounts = []
        for row in rows:
            try:
                text = row.amount.value.strip()
                amounts.append(parse_amount(text) if text else Decimal(0))
            except InvalidAmount as refusal:
                row.amount.errors.append(refusal.detail)
                amounts.append(Decimal(0))
        if any(row.amount.errors for row in rows):
            return amounts
        rest = left - sum(amounts, Decimal(0))
        gaps = [at for at, row in enumerate(rows) if not row.amount.value.strip()]
        for at in gaps[1:]:
            rows[at].amount.errors.append("One amount alone may stay empty: it takes the rest.")
        if len(gaps) == 1 and rest > 0:
            amounts[gaps[0]] = rest
        elif len(gaps) == 1:
            rows[gaps[0]].amount.errors.append("Nothing is left for this one.")
        elif not gaps and rest != 0:
            rows[-1].amount.errors.append(_off_by(rest, left))
        return amounts


def _off_by(rest: Decimal, left: Decimal) -> str:
    too = f"{plain(rest)} is missing" if rest > 0 else f"that is {plain(-rest)} too much"
    return f"The amounts must add up to {plain(left)}: {too}."


def _row(prefix: str, invoice: str, amount: str, allocated: str = "") -> PartRow:
    return PartRow(
        TypedField(f"{prefix}invoice", invoice[:200]), TypedField(f"{prefix}amount", amount[:60]), allocated
    )
