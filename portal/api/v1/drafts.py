"""Turns what a request says of an invoice into a draft, whose totals the domain computes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from portal.api.v1.schemas import (
    DiscountGiven,
    InlineClient,
    InvoiceCreate,
    InvoiceUpdate,
    ItemGiven,
    TaxGiven,
)
from portal.domain.clients import queries as clients
from portal.domain.clients import rules as client_rules
from portal.domain.clients import service as client_service
from portal.domain.clients.models import Client
from portal.domain.invoices.rules import Discount, Draft, Item, Tax, totals
from portal.kernel.clock import parse_iso
from portal.kernel.errors import Invalid
from portal.kernel.money import PLACES, format_units, parse_amount
from portal.kernel.refs import from_ref

# What the one line of an invoice says that gives an amount and no description.
ONLY_LINE = "Amount"
LINE_MAX = 200


class AmountMismatch(Invalid):
    code = "amount_mismatch"


class ClientUnknown(Invalid):
    code = "client_not_found"


def draft_from(wanted: InvoiceCreate, *, asset: str) -> Draft:
    """Return the draft that a body describes.

    :raises AmountMismatch: when amount and items do not agree.
    :raises TotalsInvalid: when the lines do not make an amount.
    """
    draft = Draft(
        asset=asset,
        items=_items(wanted.items, wanted.amount, wanted.description),
        discounts=_discounts(wanted.discounts),
        taxes=_taxes(wanted.taxes),
        description=wanted.description,
        client_id=from_ref("cli", wanted.client) if isinstance(wanted.client, str) else None,
        due_at=None if wanted.due_at is None else parse_iso(wanted.due_at),
        expires_in_seconds=wanted.expires_in,
        metadata=dict(wanted.metadata),
        external_id=wanted.external_id,
    )
    _check_amount(draft, wanted.amount if wanted.items is not None else None)
    return draft


def draft_changed(before: Draft, wanted: InvoiceUpdate) -> Draft:
    """Return the draft after the members that the body names were replaced.

    :raises AmountMismatch, TotalsInvalid: as `draft_from` does.
    """
    named = wanted.model_fields_set
    draft = before
    if wanted.asset is not None:
        draft = replace(draft, asset=wanted.asset)
    if wanted.description is not None:
        draft = replace(draft, description=wanted.description)
    if wanted.items is not None or wanted.amount is not None:
        draft = replace(draft, items=_items(wanted.items, wanted.amount, draft.description))
    if wanted.discounts is not None:
        draft = replace(draft, discounts=_discounts(wanted.discounts))
    if wanted.taxes is not None:
        draft = replace(draft, taxes=_taxes(wanted.taxes))
    if "client" in named:
        draft = replace(draft, client_id=None if wanted.client is None else from_ref("cli", wanted.client))
    if "due_at" in named:
        draft = replace(draft, due_at=None if wanted.due_at is None else parse_iso(wanted.due_at))
    if wanted.expires_in is not None:
        draft = replace(draft, expires_in_seconds=wanted.expires_in)
    if wanted.metadata is not None:
        draft = replace(draft, metadata=dict(wanted.metadata))
    _check_amount(draft, wanted.amount if wanted.items is not None else None)
    return draft


def client_maker(given: InlineClient, *, merchant_id: UUID, now: datetime) -> Callable[[], Client]:
    """Return what finds or writes the client inside the invoice's transaction.

    :raises ClientInvalid: at once, when the name or address cannot be one.
    """
    try:
        details = client_rules.details(name=given.name, email=given.email)
    except client_rules.ClientInvalid as refusal:
        pointer = f"/client{refusal.pointer or ''}"
        raise client_rules.ClientInvalid(refusal.detail, pointer=pointer) from refusal

    def make() -> Client:
        known = (
            None
            if details.email is None
            else clients.find_by_email(merchant_id=merchant_id, email=details.email)
        )
        if known is not None:
            return known
        try:
            return client_service.create(merchant_id=merchant_id, details=details, now=now)
        except client_service.ClientExists as taken:
            # Somebody wrote the same client since we looked; theirs is as good.
            return clients.get(merchant_id=merchant_id, client_id=from_ref("cli", taken.existing_ref))

    return make


def _items(given: Sequence[ItemGiven] | None, amount: str | None, description: str) -> tuple[Item, ...]:
    if given is not None:
        return tuple(
            Item(each.description, Decimal(each.quantity), _units(each.unit_price)) for each in given
        )
    assert amount is not None, "the model asks for one of the two"
    # A description is a paragraph, a line is not: its first words name the line.
    line = " ".join(description.split())[:LINE_MAX] or ONLY_LINE
    return (Item(line, Decimal(1), parse_amount(amount)),)


def _discounts(given: Sequence[DiscountGiven]) -> tuple[Discount, ...]:
    return tuple(
        Discount(
            each.label,
            percent=None if each.percent is None else Decimal(each.percent),
            amount=None if each.amount is None else parse_amount(each.amount),
        )
        for each in given
    )


def _taxes(given: Sequence[TaxGiven]) -> tuple[Tax, ...]:
    return tuple(Tax(each.label, Decimal(each.percent)) for each in given)


def _units(text: str) -> Decimal:
    return Decimal(text).quantize(PLACES)


def _check_amount(draft: Draft, amount: str | None) -> None:
    total = totals(draft.items, draft.discounts, draft.taxes).total
    if amount is not None and parse_amount(amount) != total:
        raise AmountMismatch(f"The items come to {format_units(total)}.", pointer="/amount")
