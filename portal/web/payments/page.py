"""The page of one payment, also as the answer to a decision about it that was refused."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from flask import render_template
from flask.typing import ResponseReturnValue

from portal.domain.invoices.figures import labels_of
from portal.domain.payments import figures, history, inbox, queries
from portal.domain.payments.evidence import Evidence
from portal.domain.payments.matching import NEVER_MATCHED
from portal.domain.payments.models import Payment
from portal.domain.payments.queries import SeenPayment
from portal.domain.refunds import queries as refund_queries
from portal.domain.refunds.rules import NotRefundable, Refundable, check_refundable
from portal.kernel.refs import InvalidRef, from_ref, to_ref
from portal.web.access import user
from portal.web.clients.forms import TypedField
from portal.web.payments import words
from portal.web.payments.forms import MatchForm
from portal.web.refunds.words import STATUS_WORDS


def payment_page(ref: str, *, status: int = 200, **sent: Any) -> ResponseReturnValue:
    """Render the payment; `sent` holds a form as it was typed (`match_form`, `note`) or a `refusal` in words.

    :raises PaymentNotFound: for another merchant's.
    """
    merchant_id = user().merchant_id
    seen = queries.get(merchant_id=merchant_id, payment_id=from_ref("pay", ref))
    payment = seen.payment
    allocations = queries.allocations_of(merchant_id=merchant_id, payment_id=payment.id)
    happenings = history.history_of(merchant_id=merchant_id, payment_id=payment.id)
    placed = figures.whereabouts(payment, allocations)
    named = {payment.invoice_id} | set(placed.invoices) | set(_invoices_in(happenings))
    labels = labels_of(merchant_id=merchant_id, invoice_ids=sorted(each for each in named if each))
    numbers = {to_ref("inv", each): str(label.number) for each, label in labels.items()}
    html = render_template(
        "payments/show.html",
        ref=ref,
        payment=payment,
        transaction=seen.transaction,
        placed=placed,
        refund_words=STATUS_WORDS,
        refunds=refund_queries.list_for_payment(merchant_id=merchant_id, payment_id=payment.id),
        labels=labels,
        rules=words.rules_of(payment.evidence, Evidence(payment, seen.transaction)),
        flags=words.flags_of(payment.flags),
        reason=words.why_not(payment.reason),
        timeline=words.timeline_of(happenings, numbers),
        can=_can(payment),
        match_form=sent.get("match_form") or MatchForm.read({"invoice": ""}),
        note=sent.get("note") or TypedField("note"),
        refusal=sent.get("refusal"),
        **_proposals(seen),
    )
    return html, status


def _proposals(seen: SeenPayment) -> dict[str, Any]:
    found = inbox.propose(merchant_id=user().merchant_id, network=user().network, seen=[seen])
    return {"proposals": found.get(seen.payment.id, []), "likelihoods": words.likelihoods}


def _can(payment: Payment) -> dict[str, bool]:
    """Return what may be decided about the payment now, by whoever may decide."""
    action = None if payment.decision is None else payment.decision["action"]
    is_unmatched, is_free = payment.status == "UNMATCHED", payment.refund_reserved == 0
    is_refundable = _is_refundable(payment)
    return {
        "decide": user().may("admin"),
        "match": is_unmatched and is_free and payment.reason not in NEVER_MATCHED,
        "ignore": is_unmatched and is_free,
        "mark": is_unmatched and is_refundable,
        "refund": is_refundable,
        "undo": payment.status == "CONFIRMED" and action == "match",
        "restore": payment.status == "IGNORED" and action == "ignore",
    }


def _is_refundable(payment: Payment) -> bool:
    left = payment.amount - payment.refunded - payment.refund_reserved
    try:
        check_refundable(Refundable(payment.status, payment.reason, payment.sender, left))
    except NotRefundable:
        return False
    return True


def _invoices_in(happenings: Iterable[history.Happening]) -> Iterable[UUID]:
    """Return the invoices that the history speaks of."""
    for each in happenings:
        refs = [each.payment.get("invoice")]
        refs += [part.get("invoice") for part in (each.detail.get("decision") or {}).get("parts", ())]
        for ref in refs:
            try:
                yield from_ref("inv", ref)
            except InvalidRef:
                continue
