"""The client form: reads what was typed, keeps it when something is wrong."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from portal.domain.clients.models import Client
from portal.domain.clients.rules import ADDRESS_FIELDS, TERMS_DAYS_MAX, ClientInvalid, Details, details
from portal.kernel.errors import TagihError

TEXT_FIELDS = ("name", "email", "company", "tax_id", "terms_days", "notes")
NAMES = (*TEXT_FIELDS, *ADDRESS_FIELDS)


@dataclass
class TypedField:
    """One input as it was typed; `id` is what its errors link to."""

    id: str
    value: str = ""
    errors: list[str] = field(default_factory=list)


class ClientForm:
    """Iterates its fields, so that the error summary can be made of it."""

    def __init__(self, typed: Mapping[str, str] | None = None) -> None:
        given = typed or {}
        self.fields = {name: TypedField(name, given.get(name, "")) for name in NAMES}
        self.form_errors: list[str] = []
        self.existing_ref: str | None = None

    @classmethod
    def of(cls, client: Client) -> "ClientForm":
        """Return the form as it stands for an existing client."""
        values = {name: str(getattr(client, name) or "") for name in TEXT_FIELDS}
        values["terms_days"] = "" if client.terms_days is None else str(client.terms_days)
        return cls(values | {name: client.billing_address.get(name, "") for name in ADDRESS_FIELDS})

    def __iter__(self) -> Iterator[TypedField]:
        return iter(self.fields.values())

    def __getitem__(self, name: str) -> TypedField:
        return self.fields[name]

    def parse(self) -> Details | None:
        """Return what the form says, or None after noting the error beside its field."""
        try:
            return details(
                name=self["name"].value,
                email=self["email"].value,
                company=self["company"].value,
                tax_id=self["tax_id"].value,
                notes=self["notes"].value,
                terms_days=self._terms_days(),
                billing_address={name: self[name].value for name in ADDRESS_FIELDS if self[name].value},
            )
        except ClientInvalid as refusal:
            self.note(refusal)
            return None

    def note(self, refusal: TagihError) -> None:
        """Put a refusal beside the field that its pointer names."""
        name = (refusal.pointer or "").rpartition("/")[2]
        if name in self.fields:
            self.fields[name].errors.append(refusal.detail)
        else:
            self.form_errors.append(refusal.detail)

    def _terms_days(self) -> int | None:
        text = self["terms_days"].value.strip()
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 3):
            raise ClientInvalid(
                f"Write a whole number of days, 0 to {TERMS_DAYS_MAX}.", pointer="/terms_days"
            )
        return int(text)
