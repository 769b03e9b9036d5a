"""Client credit: what was paid beyond what was due pays another invoice, or a pending one's money becomes credit."""

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from portal.domain.audit import service as audit
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.receipts import debtor_of
from portal.domain.invoices.rules import InvoiceStatus
from portal.domain.ledger import queries as ledger
from portal.domain.ledger import rules as postings
from portal.domain.merchants.models import Merchant
from portal.domain.payments.booking import Desk, live_allocations
from portal.domain.payments.decisions import BookedElsewhere, lock_accounts, lock_payment
from portal.domain.payments.models import Allocation
from portal.domain.payments.settlement import Account, Change, announce, policy_of, resettle
from portal.kernel.errors import Conflict, Invalid
from portal.kernel.money import ZERO, format_units, to_stroops
from portal.kernel.refs import to_ref


class InvoiceNotPayable(Conflict):
    """Nothing is due on this invoice, or it is closed for good."""

    code = "invoice_not_payable"


class CreditTooSmall(Invalid):
    code = "credit_too_small"


class AmountTooLarge(Invalid):
    code = "amount_too_large"


class InvoiceHasExternalPayments(Conflict):
    code = "invoice_has_external_payments"


def credit_of(*, merchant_id: UUID, network: str, debtor_id: UUID, asset: str) -> Decimal:
    """Return what a client (or an invoice without one) has in credit, in units of `asset`; below zero it owes."""
    return -ledger.balance(
        merchant_id=merchant_id, network=network, kind="client_credit", asset=asset, owner_id=debtor_id
    )


def credits_of(*, merchant_id: UUID, network: str, debtor_id: UUID) -> dict[str, Decimal]:
    """Return a client's credit by asset, assets without any left out; below zero it owes."""
    held = ledger.balances_of_owner(
        merchant_id=merchant_id, network=network, kind="client_credit", owner_id=debtor_id
    )
    return {asset: -balance for asset, balance in held.items()}


def apply_credit(
    *, merchant: Merchant, desk: Desk, invoice_id: UUID, amount: Decimal | None = None
) -> Invoice:
    """Pay an invoice from its client's credit: `amount`, or as much as is due and there.

    :raises InvoiceNotPayable: unless money is due on it.
    :raises AmountTooLarge: for more than is due.
    :raises CreditTooSmall: when the client has less.
    """
    account = lock_accounts(desk, [invoice_id])[invoice_id]
    invoice, rest = account.invoice, rest_of(account)
    debtor = debtor_of(invoice)
    held = -ledger.balance_for_update(
        merchant_id=desk.merchant_id,
        network=desk.network,
        kind="client_credit",
        asset=invoice.asset,
        owner_id=debtor,
    )
    amount = min(rest, held) if amount is None else amount
    check_amount(amount, rest)
    if amount <= 0 or held < amount:
        raise CreditTooSmall("The client has less credit than that.", pointer="/amount")
    lines = postings.credit_postings(debtor_id=debtor, amount=amount)
    journal_id = desk.post("credit", invoice.asset, invoice.id, lines)
    desk.allocate(invoice, source="client_credit", source_id=debtor, amount=amount, journal_id=journal_id)
    resettle(desk, account, policy_of(merchant), Change(to_stroops(amount), 0, desk.now))
    _audit(desk, invoice, "invoice.credit_applied", amount)
    return invoice


def move_to_credit(*, merchant: Merchant, desk: Desk, invoice_id: UUID) -> Decimal:
    """Make all that a pending or expired invoice received its client's credit, so that it may be cancelled.

    :raises InvoiceNotPayable: for a paid or cancelled invoice, and where there is nothing to move.
    :raises InvoiceHasExternalPayments: while cash is recorded for it: credit is money on the network.
    :raises BookedElsewhere: when one of its payments was refunded: the client would have the money twice.
    """
    account = lock_accounts(desk, [invoice_id])[invoice_id]
    invoice = account.invoice
    allocations = live_allocations(desk.merchant_id, invoice_id=invoice_id)
    if invoice.status not in {InvoiceStatus.PENDING, InvoiceStatus.EXPIRED} or not allocations:
        raise InvoiceNotPayable("This invoice holds no money that could be moved.")
    if any(each.source == "external" for each in allocations):
        raise InvoiceHasExternalPayments("Undo the payments recorded by hand first.")
    moved = ZERO
    for allocation in allocations:
        if allocation.source != "rounding":
            moved += allocation.amount
        if allocation.source == "payment":
            _move(desk, invoice, allocation)
        else:
            # Credit returns to where it came from; a forgiven rest is owed again.
            desk.take_back(allocation, desk.reverse(allocation.journal_id))
    # Its credits are decisions of a person from here on, so none is shared out again.
    bare = Account(invoice, replace(account.facts, arrivals=()))
    lost = sum(to_stroops(each.amount) for each in allocations)
    resettle(desk, bare, policy_of(merchant), Change(-lost))
    _audit(desk, invoice, "invoice.moved_to_credit", moved)
    return moved


def rest_of(account: Account) -> Decimal:
    """Return what is due on a locked invoice.

    :raises InvoiceNotPayable: when that is nothing, or the invoice is cancelled.
    """
    invoice = account.invoice
    rest = invoice.amount - invoice.amount_received
    if rest <= 0 or invoice.status == InvoiceStatus.CANCELLED:
        raise InvoiceNotPayable("Nothing is due on this invoice.")
    return rest


def check_amount(amount: Decimal, rest: Decimal) -> None:
    if amount > rest:
        raise AmountTooLarge(f"Only {rest.normalize():f} is due.", pointer="/amount")


def _move(desk: Desk, invoice: Invoice, allocation: Allocation) -> None:
    payment, transaction = lock_payment(desk, allocation.source_id)
    if payment.refunded > 0 or payment.refund_reserved > 0:
        raise BookedElsewhere("A payment of this invoice was refunded, or a refund is under way.")
    lines = postings.reversed_postings(
        postings.credit_postings(debtor_id=debtor_of(invoice), amount=allocation.amount)
    )
    desk.take_back(allocation, desk.post("credit_back", invoice.asset, payment.id, lines))
    decision = payment.decision or {"action": "credit", "note": "", "reason": None, "parts": []}
    moved = [*decision.get("moved", []), to_ref("inv", invoice.id)]
    payment.decision, payment.decided_at = {**decision, "moved": moved}, desk.now
    payment.flags = sorted({*payment.flags, "moved_to_credit"})
    announce(desk, "payment.updated", payment, transaction, detail={"moved_to_credit": True})


def _audit(desk: Desk, invoice: Invoice, action: str, amount: Decimal) -> None:
    audit.record(
        action,
        merchant_id=desk.merchant_id,
        object_ref=to_ref("inv", invoice.id),
        after={"amount": format_units(amount)},
        at=desk.now,
    )
