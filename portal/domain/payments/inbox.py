"""Which invoices unmatched money may have been meant for, and what a person overrules by choosing one.

A page of payments is looked at in a fixed number of statements, each bounded: suggestions are an aid, so an
invoice that is far too old to be found here is entered by its number instead.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, any_, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from portal.db import tenant
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.queries import InvoiceNotFound
from portal.domain.payments.matching import (
    NEVER_MATCHED,
    SUGGESTIONS_MAX,
    Candidate,
    Likelihood,
    MatchRefused,
    Suggestion,
    judge_match,
    rank,
)
from portal.domain.payments.models import ChainTransaction, ChainTransactionHash, Payment, Submission
from portal.domain.payments.queries import SeenPayment
from portal.domain.payments.rules import ISSUE_SKEW, is_late
from portal.domain.payments.settlement import facts_of
from portal.extensions import db
from portal.kernel.refs import InvalidRef, from_ref
from portal.kernel.tokens import PAY_REF_MAX_DIGITS, PAY_REF_MIN_DIGITS, pay_ref_is_valid

# How many of the newest rows of a kind (pending invoices, payments, clients, submissions) a look goes through.
SCANNED_MAX = 1_000
CANDIDATES_MAX = 500
# A payer who pastes a hash does so about when he pays.
CHECKOUT_WINDOW = timedelta(days=1)
NAME_MAX = 100
_RUNS_MAX = 3
# People write references in groups, with dashes or behind a number sign.
_SEPARATORS = re.compile(r"[\s#./_-]+")
# One digit may be missing or doubled.
_RUN = re.compile(rf"[0-9]{{{PAY_REF_MIN_DIGITS - 1},{PAY_REF_MAX_DIGITS + 1}}}")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A suggested invoice; `refusal` says why no person may choose it all the same, `due` what it lacks."""

    invoice: Invoice
    reasons: tuple[Likelihood, ...]
    due: Decimal
    refusal: str | None

    @property
    def weight(self) -> int:
        return sum(self.reasons)


@dataclass(slots=True)
class _Hints:
    """What is known of the invoices that one page of payments may be for."""

    invoices: dict[UUID, Invoice] = field(default_factory=dict)
    payer_clients: set[tuple[str, UUID]] = field(default_factory=set)
    payer_invoices: set[tuple[str, UUID]] = field(default_factory=set)
    claims: list[tuple[UUID, UUID | None, Submission]] = field(default_factory=list)


def propose(*, merchant_id: UUID, network: str, seen: Sequence[SeenPayment]) -> dict[UUID, list[Proposal]]:
    """Return what each unmatched payment was likely meant for, by payment, the likeliest first."""
    waiting = [
        each
        for each in seen
        if each.payment.status == "UNMATCHED" and each.payment.reason not in NEVER_MATCHED
    ]
    if not waiting:
        return {}
    hints = _read(merchant_id, network, waiting)
    return {each.payment.id: _ranked(each, hints) for each in waiting}


def find_invoice(*, merchant_id: UUID, network: str, name: str) -> Invoice:
    """Return the invoice that a person names by its number, its payment reference or its ref.

    :raises InvoiceNotFound: when this merchant has none of that name on this network.
    """
    words = " ".join(name.split())
    digits = _SEPARATORS.sub("", words)
    if not words or len(words) > NAME_MAX or not words.isprintable():
        raise InvoiceNotFound("No such invoice.")
    wanted: ColumnElement[bool] = Invoice.number.in_({words, words.upper()})
    if words.startswith("inv_"):
        try:
            wanted = Invoice.id == from_ref("inv", words)
        except InvalidRef as unknown:
            raise InvoiceNotFound("No such invoice.") from unknown
    elif digits.isascii() and digits.isdigit() and len(digits) <= PAY_REF_MAX_DIGITS:
        wanted = Invoice.pay_ref == int(digits)
    statement = tenant(Invoice, merchant_id).where(Invoice.network == network, wanted)
    invoice = db.session.scalars(statement.limit(1)).one_or_none()
    if invoice is None:
        raise InvoiceNotFound("No such invoice.")
    return invoice


def left_of(payment: Payment) -> Decimal:
    """Return what of an unmatched payment is there to be given, in units of its asset."""
    return payment.amount - payment.refunded


def refusal_of(payment: Payment, transaction: ChainTransaction, invoice: Invoice) -> MatchRefused | None:
    """Return why no person may give this payment to `invoice`, None when a person may."""
    if invoice.pay_ref is None:
        return MatchRefused("invoice_draft", "This invoice is a draft. Issue it first.")
    try:
        judge_match(
            reason=payment.reason,
            asset=payment.asset,
            closed_at=transaction.closed_at,
            invoice=facts_of(invoice),
        )
    except MatchRefused as refusal:
        return refusal
    return None


def overruled_by(payment: Payment, transaction: ChainTransaction, invoice: Invoice) -> list[str]:
    """Return the rules of `rules.judge`, by their codes, that a person sets aside by choosing `invoice`."""
    assert invoice.issued_at is not None, invoice.id
    found = []
    runs = _digits(payment, transaction)
    is_clear = not any(rule["code"] == "reference" and not rule["ok"] for rule in payment.evidence)
    if not is_clear or str(invoice.pay_ref) not in runs:
        found.append("reference")
    if payment.destination != invoice.destination:
        found.append("destination")
    if transaction.closed_at < invoice.issued_at - ISSUE_SKEW:
        found.append("after_issue")
    if is_late(invoice.expires_at, transaction.closed_at):
        found.append("in_time")
    return found


def near_numbers(digits: str) -> set[int]:
    """Return every number that one wrong, missing, doubled or swapped digit may have made `digits`."""
    places = range(len(digits))
    texts = {digits}
    texts |= {digits[:place] + digits[place + 1 :] for place in places}
    texts |= {
        digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :] for place in places[:-1]
    }
    for digit in "0123456789":
        texts |= {digits[:place] + digit + digits[place + 1 :] for place in places}
        texts |= {digits[:place] + digit + digits[place:] for place in range(len(digits) + 1)}
    return {
        int(each)
        for each in texts
        if PAY_REF_MIN_DIGITS <= len(each) <= PAY_REF_MAX_DIGITS and each[0] != "0"
    }


def _digits(payment: Payment, transaction: ChainTransaction) -> list[str]:
    """Return the runs of digits in muxed id and memo that may be a reference, the muxed id first."""
    runs = [] if payment.muxed_id is None else [f"{payment.muxed_id:f}"]
    if transaction.memo_type in {"text", "id"} and transaction.memo:
        runs += _RUN.findall(_SEPARATORS.sub("", transaction.memo)) + _RUN.findall(transaction.memo)
    return [each for each in dict.fromkeys(runs) if _RUN.fullmatch(each)][:_RUNS_MAX]


def _ranked(seen: SeenPayment, hints: _Hints) -> list[Proposal]:
    payment, transaction = seen.payment, seen.transaction
    digits = _digits(payment, transaction)
    named = next((int(each) for each in digits if pay_ref_is_valid(int(each))), None)
    claimed = {invoice_id for invoice_id, of, _ in hints.claims if of == transaction.id}
    nearby = {invoice_id for invoice_id, _, row in hints.claims if _is_recent(row, transaction)}
    candidates = {
        invoice.id: Candidate(
            invoice_id=invoice.id,
            number=invoice.number or "",
            client_name=str(invoice.client_snapshot.get("name") or ""),
            pay_ref=invoice.pay_ref or 0,
            due=invoice.amount - invoice.amount_received,
            issued_at=invoice.issued_at or invoice.created_at,
            is_known_payer=_is_known(payment.sender, invoice, hints),
            has_open_checkout=invoice.id in claimed | nearby,
        )
        for invoice in hints.invoices.values()
        if invoice.pay_ref == named or (invoice.asset == payment.asset and _lacks_money(invoice))
    }
    found = rank(candidates.values(), amount=left_of(payment), named=named, digits=digits)
    shown = {each.candidate.invoice_id for each in found}
    # Somebody named this very transaction for it: weak, since every hash is public, but worth a look.
    found += [
        Suggestion(candidates[each], (Likelihood.OPEN_CHECKOUT,))
        for each in sorted(claimed - shown)
        if each in candidates
    ]
    return [_proposal(seen, each, hints) for each in found[:SUGGESTIONS_MAX]]


def _proposal(seen: SeenPayment, suggestion: Suggestion, hints: _Hints) -> Proposal:
    invoice = hints.invoices[suggestion.candidate.invoice_id]
    refusal = refusal_of(seen.payment, seen.transaction, invoice)
    return Proposal(
        invoice, suggestion.reasons, suggestion.candidate.due, None if refusal is None else refusal.detail
    )


def _lacks_money(invoice: Invoice) -> bool:
    return invoice.status in {"PENDING", "EXPIRED", "PAID"} and invoice.amount_received < invoice.amount


def _is_known(sender: str, invoice: Invoice, hints: _Hints) -> bool:
    by_client = invoice.client_id is not None and (sender, invoice.client_id) in hints.payer_clients
    return by_client or (sender, invoice.id) in hints.payer_invoices


def _is_recent(row: Submission, transaction: ChainTransaction) -> bool:
    distance = abs(row.created_at - transaction.closed_at)
    return row.state in {"CHECKING", "REJECTED"} and distance <= CHECKOUT_WINDOW


def _read(merchant_id: UUID, network: str, seen: Sequence[SeenPayment]) -> _Hints:
    hints = _Hints()
    ids = _of_exact_amount(merchant_id, network, seen)
    for sender, client_id, invoice_id in _payers(merchant_id, network, seen):
        if client_id is not None:
            hints.payer_clients.add((sender, client_id))
        if invoice_id is not None:
            hints.payer_invoices.add((sender, invoice_id))
    hints.claims = _claims(merchant_id, network, seen)
    ids |= {invoice_id for _, invoice_id in hints.payer_invoices}
    ids |= {invoice_id for invoice_id, _, _ in hints.claims}
    numbers: set[int] = set()
    for each in seen:
        for run in _digits(each.payment, each.transaction):
            numbers |= near_numbers(run)
    rows = _by_reference(merchant_id, network, numbers) + _by_id(merchant_id, network, ids, hints)
    hints.invoices = {row.id: row for row in rows}
    return hints


def _of_exact_amount(merchant_id: UUID, network: str, seen: Iterable[SeenPayment]) -> set[UUID]:
    """Return invoices that lack just what a payment brought; amounts have no index, so the newest are read."""
    wanted = sorted({(each.payment.asset, left_of(each.payment)) for each in seen})
    rows = db.session.execute(
        text(
            """
            SELECT i.id
            FROM (
                SELECT o.id, o.asset, o.due
                FROM unnest(ARRAY['PENDING', 'EXPIRED']) AS s (status)
                CROSS JOIN LATERAL (
                    SELECT id, asset, amount - amount_received AS due
                    FROM invoices
                    WHERE merchant_id = :merchant_id AND network = :network AND status = s.status
                    ORDER BY created_at DESC, id DESC
                    LIMIT :scanned
                ) AS o
                UNION ALL
                (
                    SELECT id, asset, amount - amount_received
                    FROM invoices
                    WHERE merchant_id = :merchant_id AND network = :network AND 'reversed' = ANY (flags)
                    LIMIT :scanned
                )
            ) AS i
            JOIN unnest(CAST(:assets AS text[]), CAST(:dues AS numeric[])) AS w (asset, due) USING (asset, due)
            LIMIT :most
            """
        ),
        {
            "merchant_id": merchant_id,
            "network": network,
            "assets": [asset for asset, _ in wanted],
            "dues": [due for _, due in wanted],
            "scanned": SCANNED_MAX,
            "most": CANDIDATES_MAX,
        },
    )
    return set(rows.scalars())


def _payers(
    merchant_id: UUID, network: str, seen: Iterable[SeenPayment]
) -> list[tuple[str, UUID | None, UUID | None]]:
    """Return (sender, client, invoice): whom these senders paid for before, or whose wallets they are."""
    rows = db.session.execute(
        text(
            """
            SELECT p.sender, p.client_id, p.invoice_id
            FROM (
                SELECT sender, client_id, invoice_id, status
                FROM payments
                WHERE merchant_id = :merchant_id AND network = :network
                ORDER BY created_at DESC, id DESC
                LIMIT :scanned
            ) AS p
            WHERE p.status = 'CONFIRMED' AND p.sender = ANY(:senders)
            UNION
            SELECT a.address, c.id, NULL
            FROM (
                SELECT id, wallet_addresses
                FROM clients
                WHERE merchant_id = :merchant_id AND archived_at IS NULL
                ORDER BY created_at DESC, id DESC
                LIMIT :scanned
            ) AS c
            CROSS JOIN LATERAL unnest(c.wallet_addresses) AS a (address)
            WHERE a.address = ANY(:senders)
            LIMIT :most
            """
        ),
        {
            "merchant_id": merchant_id,
            "network": network,
            "senders": sorted({each.payment.sender for each in seen}),
            "scanned": SCANNED_MAX,
            "most": CANDIDATES_MAX,
        },
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _claims(
    merchant_id: UUID, network: str, seen: Sequence[SeenPayment]
) -> list[tuple[UUID, UUID | None, Submission]]:
    """Return (invoice, transaction if it is stored, submission) of what was submitted about then."""
    moments = [each.transaction.closed_at for each in seen]
    statement = (
        select(Submission, ChainTransactionHash.transaction_id)
        .outerjoin(
            ChainTransactionHash,
            (ChainTransactionHash.network == Submission.network)
            & (ChainTransactionHash.hash == Submission.transaction_hash),
        )
        .where(
            Submission.merchant_id == merchant_id,
            Submission.network == network,
            Submission.created_at >= min(moments) - CHECKOUT_WINDOW,
        )
        .order_by(Submission.created_at.desc())
        .limit(SCANNED_MAX)
    )
    return [(row[0].invoice_id, row[1], row[0]) for row in db.session.execute(statement)]


def _by_reference(merchant_id: UUID, network: str, numbers: set[int]) -> list[Invoice]:
    if not numbers:
        return []
    # One array: thousands of single parameters would meet the protocol's limit.
    wanted = literal(sorted(numbers), ARRAY(BigInteger))
    statement = tenant(Invoice, merchant_id).where(
        Invoice.network == network, Invoice.pay_ref == any_(wanted)
    )
    return list(db.session.scalars(statement.limit(CANDIDATES_MAX)))


def _by_id(merchant_id: UUID, network: str, ids: set[UUID], hints: _Hints) -> list[Invoice]:
    clients = sorted({client_id for _, client_id in hints.payer_clients})
    if not ids and not clients:
        return []
    statement = (
        tenant(Invoice, merchant_id)
        .where(Invoice.network == network, Invoice.status.in_(("PENDING", "EXPIRED", "PAID")))
        .where(Invoice.amount_received < Invoice.amount)
        .where(Invoice.id.in_(sorted(ids)) | Invoice.client_id.in_(clients))
        .order_by(Invoice.created_at.desc(), Invoice.id.desc())
        .limit(CANDIDATES_MAX)
    )
    return list(db.session.scalars(statement))
