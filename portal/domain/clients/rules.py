"""What a client may say of itself: pure checks, each refusal names its field by a JSON pointer."""

from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from portal.domain.clients.models import Client
from portal.domain.merchants.rules import EmailInvalid, clean_email
from portal.kernel.clock import iso, iso_or_none
from portal.kernel.errors import Invalid
from portal.kernel.refs import to_ref

NAME_MAX = 200
LINE_MAX = 200
NOTES_MAX = 5_000
TERMS_DAYS_MAX = 365
ADDRESS_FIELDS = ("line1", "line2", "city", "region", "postal_code", "country")
SEARCH_MIN_CHARACTERS = 3


class ClientInvalid(Invalid):
    code = "client_invalid"


@dataclass(frozen=True, slots=True)
class Details:
    """A client as its merchant writes it down; made by `details()`, which checks and trims."""

    name: str
    email: str | None = None
    company: str | None = None
    tax_id: str | None = None
    billing_address: dict[str, str] = field(default_factory=dict)
    notes: str | None = None
    locale: str | None = None
    terms_days: int | None = None


def details(
    *,
    name: str,
    email: str | None = None,
    company: str | None = None,
    tax_id: str | None = None,
    billing_address: dict[str, str] | None = None,
    notes: str | None = None,
    locale: str | None = None,
    terms_days: int | None = None,
) -> Details:
    """Return checked details; empty texts become None.

    :raises ClientInvalid: naming the field, when a text is missing, too long or holds control characters,
        the address is not an email address, or the terms are not within a year.
    """
    trimmed_name = _line(name, "/name", NAME_MAX)
    if trimmed_name is None:
        raise ClientInvalid("Write the client's name.", pointer="/name")
    if terms_days is not None and not 0 <= terms_days <= TERMS_DAYS_MAX:
        raise ClientInvalid(f"Terms are 0 to {TERMS_DAYS_MAX} days.", pointer="/terms_days")
    return Details(
        name=trimmed_name,
        email=_email(email),
        company=_line(company, "/company"),
        tax_id=_line(tax_id, "/tax_id"),
        billing_address=_address(billing_address or {}),
        notes=_text(notes, "/notes", NOTES_MAX),
        locale=_line(locale, "/locale"),
        terms_days=terms_days,
    )


def search_text_of(checked: Details) -> str:
    """Return what search looks through: lower-case, one space between words."""
    parts = (checked.name, checked.email, checked.company, checked.tax_id)
    return " ".join(" ".join(part for part in parts if part).lower().split())


def client_document(client: Client) -> dict[str, Any]:
    """Return the public JSON of a client: refs and strings only, the same for API and events."""
    return {
        "object": "client",
        "id": to_ref("cli", client.id),
        "name": client.name,
        "email": client.email,
        "company": client.company,
        "tax_id": client.tax_id,
        "billing_address": client.billing_address,
        "locale": client.locale,
        "terms_days": client.terms_days,
        "notes": client.notes,
        "metadata": client.metadata_,
        "archived_at": iso_or_none(client.archived_at),
        "created_at": iso(client.created_at.astimezone(UTC)),
        "updated_at": iso(client.updated_at.astimezone(UTC)),
    }


def _email(text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    try:
        return clean_email(text)
    except EmailInvalid as refusal:
        raise ClientInvalid(refusal.detail, pointer="/email") from refusal


def _address(given: dict[str, str]) -> dict[str, str]:
    unknown = sorted(set(given) - set(ADDRESS_FIELDS))
    if unknown:
        raise ClientInvalid(f"An address has no {unknown[0][:40]}.", pointer="/billing_address")
    lines = {name: _line(given.get(name), f"/billing_address/{name}") for name in ADDRESS_FIELDS}
    return {name: line for name, line in lines.items() if line is not None}


def _line(text: str | None, pointer: str, longest: int = LINE_MAX) -> str | None:
    """Return one line of text, runs of white space made one space."""
    if text is None:
        return None
    return _text(" ".join(text.split()), pointer, longest)


def _text(text: str | None, pointer: str, longest: int) -> str | None:
    if text is None or not text.strip():
        return None
    trimmed = text.strip().replace("\r\n", "\n")
    if len(trimmed) > longest:
        raise ClientInvalid(f"At most {longest} characters fit here.", pointer=pointer)
    # PostgreSQL stores no NUL and UTF-8 no lone surrogate; other control characters only confuse readers.
    if any((ord(each) < 32 and each not in "\n\t") or 0x7F <= ord(each) < 0xA0 or 0xD800 <= ord(each) < 0xE000
           for each in trimmed):  # fmt: skip
        raise ClientInvalid("This holds characters that cannot be shown.", pointer=pointer)
    return trimmed
