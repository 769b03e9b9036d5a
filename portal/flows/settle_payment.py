"""What people decide about money on the page of a payment: match, undo, mark for refund, ignore, restore."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from portal.db import run_transaction
from portal.domain.invoices.documents import settlement_of
from portal.domain.invoices.models import Invoice
from portal.domain.merchants import queries as merchants
from portal.domain.payments import decisions, inbox, queries
from portal.domain.payments.booking import Desk
from portal.domain.payments.decisions import Part, PaymentNotUnmatched, invoice_of, parts_of
from portal.flows.rehearsal import rehearse
from portal.kernel.errors import Conflict
from portal.kernel.money import from_stroops


class PreviewOutdated(Conflict):
    """An invoice changed since the person looked, so the match would not do what was announced."""

    code = "preview_outdated"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an invoice stands at one moment; `due` in units of its asset."""

    status: str
    settlement: str
    due: Decimal
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What one invoice gets from a match or, when it is undone, loses; `excess` is credit of its client.

    `overruled` names the rules that the person sets aside, by their codes.
    """

    invoice_id: UUID
    number: str
    client_name: str
    asset: str
    allocated: Decimal
    excess: Decimal
    before: Standing
    after: Standing
    overruled: tuple[str, ...] = ()

    @property
    def amount(self) -> Decimal:
        return self.allocated + self.excess


def preview_match(*, desk: Desk, payment_id: UUID, parts: Sequence[Part]) -> list[Given]:
    """Return what `match_payment` would do, in the order of `parts`; nothing is written.

    :raises PartsInvalid, MatchRefused, PaymentNotUnmatched: as the match would.
    """
    return rehearse(lambda: _match(desk, payment_id, parts, ""))


def match_payment(
    *, desk: Desk, payment_id: UUID, parts: Sequence[Part], note: str, announced: Mapping[UUID, Decimal]
) -> list[Given]:
    """Give an unmatched payment to invoices; `announced` is what each was said to be allocated.

    :raises PreviewOutdated: when that is not what they get any more.
    :raises PartsInvalid, MatchRefused, PaymentNotUnmatched: see `decisions.match`.
    """

    def work() -> list[Given]:
        given = _match(desk, payment_id, parts, note)
        if {each.invoice_id: each.allocated for each in given} != announced:
            raise PreviewOutdated("An invoice changed since you looked. Check once more what each gets.")
        return given

    return run_transaction(work)


def preview_undo(*, desk: Desk, payment_id: UUID) -> list[Given]:
    """Return what undoing a match takes from each invoice; nothing is written.

    :raises BookedElsewhere, PaymentNotUnmatched: as undoing it would.
    """
    return rehearse(lambda: _undo(desk, payment_id))


def undo_match(*, desk: Desk, payment_id: UUID) -> list[Given]:
    """Take a match back: its invoices lose the money, which is unmatched again.

    :raises BookedElsewhere, PaymentNotUnmatched: see `decisions.unmatch`.
    """
    return run_transaction(lambda: _undo(desk, payment_id))


def ignore_payment(*, desk: Desk, payment_id: UUID, note: str) -> None:
    """:raises NoteMissing, PaymentNotUnmatched: see `decisions.ignore`."""
    run_transaction(lambda: decisions.ignore(desk=desk, payment_id=payment_id, note=note))


def restore_payment(*, desk: Desk, payment_id: UUID) -> None:
    """:raises PaymentNotUnmatched: unless a person ignored it."""
    run_transaction(lambda: decisions.restore(desk=desk, payment_id=payment_id))


def mark_for_refund(*, desk: Desk, payment_id: UUID, is_due: bool) -> None:
    """:raises PaymentNotUnmatched: when somebody decided otherwise meanwhile."""
    run_transaction(lambda: decisions.mark_for_refund(desk=desk, payment_id=payment_id, is_due=is_due))


def _match(desk: Desk, payment_id: UUID, parts: Sequence[Part], note: str) -> list[Given]:
    wanted = [part.invoice_id for part in parts]
    accounts = decisions.lock_accounts(desk, wanted)
    before = {invoice_id: _standing(account.invoice) for invoice_id, account in accounts.items()}
    payment = decisions.match(
        merchant=merchants.get_merchant(desk.merchant_id),
        desk=desk,
        payment_id=payment_id,
        parts=parts,
        note=note,
    )
    transaction = queries.get(merchant_id=desk.merchant_id, payment_id=payment_id).transaction
    invoices = {invoice_id: account.invoice for invoice_id, account in accounts.items()}
    lines = [
        _line(
            invoices[invoice_of(part)],
            part,
            before,
            overruled=inbox.overruled_by(payment, transaction, invoices[invoice_of(part)]),
        )
        for part in parts_of(payment)
    ]
    return sorted(lines, key=lambda each: wanted.index(each.invoice_id))


def _undo(desk: Desk, payment_id: UUID) -> list[Given]:
    found = queries.get(merchant_id=desk.merchant_id, payment_id=payment_id).payment
    parts = parts_of(found)
    if not parts or found.status != "CONFIRMED":
        raise PaymentNotUnmatched("This payment was not matched by a person.")
    accounts = decisions.lock_accounts(desk, [invoice_of(part) for part in parts])
    invoices = {at: account.invoice for at, account in accounts.items()}
    before = {at: _standing(invoice) for at, invoice in invoices.items()}
    decisions.unmatch(merchant=merchants.get_merchant(desk.merchant_id), desk=desk, payment_id=payment_id)
    return [_line(invoices[invoice_of(part)], part, before) for part in parts]


def _line(
    invoice: Invoice,
    part: Mapping[str, Any],
    before: Mapping[UUID, Standing],
    *,
    overruled: Sequence[str] = (),
) -> Given:
    return Given(
        invoice_id=invoice.id,
        number=invoice.number or "",
        client_name=str(invoice.client_snapshot.get("name") or ""),
        asset=invoice.asset,
        allocated=from_stroops(part["allocated_stroops"]),
        excess=from_stroops(part["excess_stroops"]),
        before=before[invoice.id],
        after=_standing(invoice),
        overruled=tuple(overruled),
    )


def _standing(invoice: Invoice) -> Standing:
    due = invoice.amount - invoice.amount_received
    return Standing(invoice.status, settlement_of(invoice), due, tuple(invoice.flags))
