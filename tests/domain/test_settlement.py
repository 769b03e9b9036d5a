"""What an invoice received is a function of the set of its credits: order, repetition and time of sight are not."""

import itertools
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from portal.domain.payments.models import Allocation, Payment
from portal.extensions import db
from tests.support.builders import NOON, make_invoice, make_shop, make_transfer
from tests.support.money import balances, record


def name(number):
    return f"{number:064x}"


def transfers(invoice, *parts):
    """Return one transfer a part (amount, minutes after issue), in the order of their ledgers."""
    return [
        make_transfer(
            invoice,
            amount=amount,
            canonical_hash=name(place + 1 + invoice.pay_ref * 100),
            hashes=(name(place + 1 + invoice.pay_ref * 100),),
            ledger=1_000 + minutes,
            closed_at=invoice.issued_at + timedelta(minutes=minutes),
        )
        for place, (amount, minutes) in enumerate(parts)
    ]


def state(invoice):
    payments = db.session.scalars(
        db.select(Payment).where(Payment.invoice_id == invoice.id).order_by(Payment.amount, Payment.flags)
    ).all()
    return {
        "status": invoice.status,
        "received": invoice.amount_received,
        "overpaid": invoice.overpaid_by,
        "flags": invoice.flags,
        "paid_after": invoice.paid_at and invoice.paid_at - invoice.issued_at,
        "payments": [(each.amount, each.flags, each.evidence[-1]["detail"]) for each in payments],
    }


CASES = {
    "exact parts": ("90", [("30", 1), ("30", 2), ("30", 3)]),
    "over": ("90", [("60", 1), ("60", 2)]),
    "a duplicate": ("90", [("90", 1), ("90", 2)]),
    "a small duplicate": ("90", [("90", 1), ("5", 2)]),
    "short, then the rest": ("90", [("89.6", 1), ("0.4", 2)]),
    "short, then too much": ("90", [("89.6", 1), ("1", 2)]),
    "short in two": ("90", [("50", 1), ("39.8", 2)]),
    "on time and late": ("90", [("90", 1), ("90", 200)]),
    "partly on time, the rest late": ("90", [("50", 1), ("40", 200)]),
    "many": ("90", [("40", 1), ("40", 2), ("40", 3), ("40", 200)]),
    "two in one ledger": ("90", [("60", 1), ("60", 1)]),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_any_order_and_repetition_leads_to_the_same_invoice_and_books(as_web, case):
    amount, parts = CASES[case]
    seen = []
    for order in itertools.islice(itertools.permutations(range(len(parts))), 12):
        shop = make_shop(tolerance=Decimal("0.5"))
        invoice = make_invoice(shop, amount=amount, expires_in_seconds=6_000)
        sent = transfers(invoice, *parts)
        for place in [*order, *order]:
            record(shop, sent[place])
        seen.append((state(invoice), balances(shop)))

    assert all(each == seen[0] for each in seen), seen


class TestMoved:
    def test_a_credit_seen_late_moves_those_behind_it_by_reversals(self, as_web):
        shop = make_shop()
        invoice = make_invoice(shop, amount="90")
        first, second = transfers(invoice, ("60", 1), ("60", 2))
        record(shop, second)
        record(shop, first)

        rows = db.session.scalars(db.select(Allocation).where(Allocation.invoice_id == invoice.id)).all()

        assert sorted(row.amount for row in rows) == [-60, 30, 60, 60]
        assert [row.amount for row in rows if row.reverses_id] == [-60]
        assert (invoice.status, invoice.overpaid_by) == ("PAID", 30)

    def test_what_was_forgiven_stays_forgiven_after_the_tolerance_is_lowered(self, as_web):
        shop = make_shop(tolerance=Decimal("0.5"))
        invoice = make_invoice(shop, amount="90")
        first, second = transfers(invoice, ("89.6", 1), ("0.1", 2))
        record(shop, first)
        from portal.db import run_transaction
        from portal.domain.merchants.models import Merchant

        def lower():
            db.session.get_one(Merchant, shop.id).tolerance = Decimal(0)

        run_transaction(lower)
        record(shop, second)

        assert (invoice.status, invoice.amount_received, invoice.flags) == ("PAID", 90, ["short"])
        assert balances(shop)["rounding"] == Decimal("0.3")

    def test_the_tolerance_never_forgives_more_than_a_tenth(self, as_web):
        shop = make_shop(tolerance=Decimal(5))
        invoice = make_invoice(shop, amount="6")
        (almost_nothing,) = transfers(invoice, ("1.5", 1))
        record(shop, almost_nothing)

        assert (invoice.status, invoice.amount_received) == ("PENDING", Decimal("1.5"))

    def test_money_without_end_is_not_read_again_each_time(self, as_web, statements):
        shop = make_shop()
        invoice = make_invoice(shop, amount="1")
        sent = transfers(invoice, *[("1", minute) for minute in range(1, 8)])
        for transfer in sent[:5]:
            record(shop, transfer)
        before = len(statements)
        record(shop, sent[5])
        between = len(statements)
        record(shop, sent[6])

        assert len(statements) - between == between - before
        [locking] = [each for each in statements[between:] if each.endswith("FOR NO KEY UPDATE OF payments")]
        assert "ledger >=" in locking and "flags @>" in locking


def test_a_transaction_with_two_operations_for_one_invoice_is_shared_out_whole(as_web):
    shop = make_shop(tolerance=Decimal("0.5"))
    invoice = make_invoice(shop, amount="90")
    transfer = make_transfer(invoice, amount="50")
    (credit,) = transfer.credits
    both = replace(transfer, credits=(credit, replace(credit, operation_index=1, stroops=399_000_000)))

    record(shop, both, now=NOON)

    assert (invoice.status, invoice.flags) == ("PAID", ["short"])
    assert balances(shop)["rounding"] == Decimal("0.1")
