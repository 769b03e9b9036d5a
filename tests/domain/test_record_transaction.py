"""Recording what a transaction brought: books, allocations, events; once, whoever reports it."""

import itertools
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from portal.db import run_transaction
from portal.domain.events.models import Event
from portal.domain.invoices.models import Invoice
from portal.domain.ledger import queries as books
from portal.domain.ledger.models import LedgerJournal
from portal.domain.merchants.models import Merchant
from portal.domain.payments import queries, service
from portal.domain.payments.models import Allocation, Payment
from portal.extensions import db
from portal.kernel.chain import Debit
from portal.kernel.money import MAX_AMOUNT, to_stroops
from tests.support.builders import ISSUER, NETWORK, NOON, make_invoice, make_shop, make_transfer


@pytest.fixture
def shop(as_web):
    return make_shop()


def record(shop, transfer, *, now=NOON):
    def work():
        merchant = db.session.get_one(Merchant, shop.id)
        return service.record_transaction(merchant=merchant, network=NETWORK, transaction=transfer, now=now)

    shop.enter()
    recorded = run_transaction(work)
    db.session.expire_all()
    return recorded


def count(model, **columns):
    conditions = [getattr(model, name) == value for name, value in columns.items()]
    return db.session.scalar(select(func.count()).select_from(model).where(*conditions))


def balances(shop, asset="native"):
    lines = books.list_trial_balance(merchant_id=shop.id, network=NETWORK)
    return {line.kind: line.balance for line in lines if line.asset == asset}


def only_payment(shop):
    return db.session.scalars(select(Payment).where(Payment.merchant_id == shop.id)).one()


class TestCredits:
    def test_an_exact_payment_makes_the_invoice_paid(self, shop):
        invoice = make_invoice(shop, amount="90")

        record(shop, make_transfer(invoice))

        assert (invoice.status, invoice.amount_received, invoice.flags) == ("PAID", Decimal(90), [])
        assert balances(shop) == {"wallet": 90, "receivable": 0, "income": -90}
        assert only_payment(shop).status == "CONFIRMED"

    def test_parts_add_up_and_the_last_one_pays(self, shop):
        invoice = make_invoice(shop, amount="90")

        record(shop, make_transfer(invoice, amount="60"))
        first = (invoice.status, invoice.amount_received)
        record(shop, make_transfer(invoice, amount="30"))

        assert first == ("PENDING", Decimal(60))
        assert (invoice.status, invoice.amount_received) == ("PAID", Decimal(90))
        assert count(Allocation, invoice_id=invoice.id) == 2

    def test_an_excess_becomes_credit_and_is_never_allocated(self, shop):
        invoice = make_invoice(shop, amount="90")

        record(shop, make_transfer(invoice, amount="100"))

        assert (invoice.status, invoice.amount_received, invoice.overpaid_by) == ("PAID", 90, 10)
        assert invoice.flags == ["overpaid"]
        assert balances(shop)["client_credit"] == -10

    def test_a_second_payment_of_a_paid_invoice_is_all_excess(self, shop):
        invoice = make_invoice(shop, amount="90")

        for _ in range(2):
            record(shop, make_transfer(invoice))

        assert (invoice.amount_received, invoice.overpaid_by) == (90, 90)
        assert invoice.flags == ["duplicate", "overpaid"]

    def test_many_of_the_largest_payments_are_all_kept(self, shop):
        invoice = make_invoice(shop, amount="1")

        for name in (f"{number:064x}" for number in range(12)):
            record(shop, make_transfer(invoice, amount=str(MAX_AMOUNT), canonical_hash=name, hashes=(name,)))

        assert invoice.overpaid_by == 12 * MAX_AMOUNT - 1
        assert count(Payment, invoice_id=invoice.id) == 12

    def test_a_short_payment_within_the_tolerance_is_accepted_and_booked_as_rounding(self, as_web):
        shop = make_shop(tolerance=Decimal("0.5"))
        invoice = make_invoice(shop, amount="90")

        record(shop, make_transfer(invoice, amount="89.6"))

        assert (invoice.status, invoice.amount_received, invoice.flags) == ("PAID", 90, ["short"])
        assert balances(shop) == {
            "wallet": Decimal("89.6"),
            "rounding": Decimal("0.4"),
            "receivable": 0,
            "income": -90,
        }

    def test_several_operations_are_one_payment_each(self, shop):
        invoices = [make_invoice(shop, amount=amount) for amount in ("10", "20")]
        transfer = make_transfer(invoices[0], memo_type="none", memo=None)
        credits = tuple(
            replace(
                transfer.credits[0],
                operation_index=index,
                stroops=to_stroops(invoice.amount),
                muxed_id=invoice.pay_ref,
            )
            for index, invoice in enumerate(invoices)
        )

        record(shop, replace(transfer, credits=credits))

        assert [invoice.status for invoice in invoices] == ["PAID", "PAID"]
        assert count(Payment, merchant_id=shop.id) == 2


class TestOnce:
    def test_the_same_transaction_counts_once_under_either_hash(self, shop):
        invoice = make_invoice(shop)
        inner = make_transfer(invoice)
        outer = replace(inner, canonical_hash="a" * 64, hashes=("a" * 64, inner.canonical_hash))
        outer = replace(outer, canonical_hash=invoice.token.encode().hex().ljust(64, "0")[:64])
        outer = replace(outer, hashes=(outer.canonical_hash, inner.canonical_hash))

        first = record(shop, outer)
        again = record(shop, outer)

        assert (len(first.new_payment_ids), len(again.new_payment_ids)) == (1, 0)
        assert count(Payment, merchant_id=shop.id) == 1
        assert count(LedgerJournal, merchant_id=shop.id, kind="allocation") == 1
        assert count(Event, merchant_id=shop.id, type="invoice.paid") == 1
        assert queries.find_credit(
            merchant_id=shop.id, network=NETWORK, invoice_id=invoice.id, transaction_hash=inner.canonical_hash
        )

    def test_two_merchants_are_credited_apart_by_one_transaction(self, as_web):
        shops = [make_shop(), make_shop()]
        invoices = [make_invoice(shop) for shop in shops]
        shops[0].enter()
        transfer = make_transfer(invoices[0], memo_type="none", memo=None)
        credits = tuple(
            replace(
                transfer.credits[0], operation_index=index, destination=shop.wallet, muxed_id=invoice.pay_ref
            )
            for index, (shop, invoice) in enumerate(zip(shops, invoices, strict=True))
        )
        transfer = replace(transfer, credits=credits)

        new = [len(record(shop, transfer).new_payment_ids) for shop in (*shops, *shops)]

        assert new == [1, 1, 0, 0]

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_the_order_of_arrival_changes_nothing(self, shop, order):
        invoice = make_invoice(shop, amount="90")
        transfers = [make_transfer(invoice, amount=amount) for amount in ("50", "50", "20")]

        for index in (*order, *order):
            record(shop, transfers[index])

        assert (invoice.status, invoice.amount_received, invoice.overpaid_by) == ("PAID", 90, 30)
        assert balances(shop) == {"wallet": 120, "receivable": 0, "income": -90, "client_credit": -30}


class TestUnmatched:
    @pytest.mark.parametrize(
        ("reason", "change"),
        [
            ("no_reference", {"memo_type": "none", "memo": None}),
            ("unknown_reference", {"memo": "853323870197"}),
            ("pay_and_return", {"debits": "back"}),
            ("predates", {"closed_at": NOON.replace(hour=11)}),
        ],
    )
    def test_money_that_names_no_invoice_is_kept_in_suspense(self, shop, reason, change):
        invoice = make_invoice(shop, amount="90")
        if change.get("debits") == "back":
            change = {"debits": (Debit(1, shop.wallet, None, "native", 1),)}

        record(shop, make_transfer(invoice, **change))

        payment = only_payment(shop)
        assert (payment.status, payment.reason, payment.invoice_id) == ("UNMATCHED", reason, None)
        assert invoice.status == "PENDING"
        assert balances(shop) == {"wallet": 90, "suspense": -90, "receivable": 90, "income": -90}
        assert payment.evidence[-1]["ok"] is False

    def test_the_right_code_of_a_wrong_issuer_is_another_asset(self, shop):
        invoice = make_invoice(shop, asset=f"USDC:{ISSUER}")
        transfer = make_transfer(invoice)
        look_alike = replace(transfer.credits[0], asset=f"USDC:{shop.wallet}")

        record(shop, replace(transfer, credits=(look_alike,)))

        assert only_payment(shop).reason == "wrong_asset"
        assert balances(shop, f"USDC:{shop.wallet}") == {"wallet": 90, "suspense": -90}

    def test_a_failed_transaction_consumes_nothing(self, shop):
        invoice = make_invoice(shop)
        transfer = make_transfer(invoice)

        refused = record(shop, replace(transfer, successful=False))
        record(shop, transfer)

        assert refused.verdict.reason == "transaction_failed"
        assert invoice.status == "PAID"

    def test_a_cancelled_invoice_takes_no_money(self, shop):
        from portal.domain.invoices import service as invoices

        invoice = make_invoice(shop)
        run_transaction(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=invoice.id, now=NOON))

        record(shop, make_transfer(invoice))

        assert (invoice.status, only_payment(shop).reason) == ("CANCELLED", "invoice_cancelled")

    def test_a_late_payment_is_unmatched_when_the_merchant_says_so(self, as_web):
        shop = make_shop(late_policy="unmatched")
        invoice = make_invoice(shop)

        record(shop, make_transfer(invoice, closed_at=invoice.expires_at.replace(year=2027)))

        assert (invoice.status, only_payment(shop).reason) == ("PENDING", "late")

    def test_money_for_another_merchant_leaves_no_trace_here(self, shop):
        other = make_shop()
        invoice = make_invoice(other)

        recorded = record(shop, make_transfer(invoice))

        assert recorded.payments == ()
        assert count(Payment, merchant_id=shop.id) == 0

    def test_a_memo_with_a_nul_is_stored(self, shop):
        invoice = make_invoice(shop)

        record(
            shop,
            make_transfer(
                invoice, memo_type="text", memo="a\x00b", memo_bytes=b"a\x00b", raw={"memo": "a\x00"}
            ),
        )

        assert only_payment(shop).status == "UNMATCHED"


def test_every_journal_names_a_payment_or_an_invoice_and_balances(shop):
    for amount in ("10", "90", "200"):
        invoice = make_invoice(shop, amount="90")
        record(shop, make_transfer(invoice, amount=amount))
    references = set(db.session.scalars(select(LedgerJournal.reference_id)))
    known = set(db.session.scalars(select(Payment.id))) | set(db.session.scalars(select(Invoice.id)))

    assert references <= known
    assert sum(balances(shop).values()) == 0
