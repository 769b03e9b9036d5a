"""Refunds: promised, completed by what the network shows alone, and booked where the money was."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from portal.db import run_transaction
from portal.domain.audit.models import AuditEntry
from portal.domain.clients.models import Client
from portal.domain.events.models import Event
from portal.domain.invoices import service as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.service import IssueTerms
from portal.domain.ledger.models import LedgerJournal
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.payments import credit, decisions
from portal.domain.payments.decisions import Part
from portal.domain.payments.models import ChainTransaction, Payment
from portal.domain.payments.queries import PaymentNotFound
from portal.domain.refunds import queries, service
from portal.domain.refunds.rules import PREPARED_MAX, Envelope, Memo, NotRefundable
from portal.domain.refunds.service import AmountTooLarge, PreparedTooOften, RefundClosed, RefundUnderWay
from portal.extensions import db
from portal.kernel.chain import Debit
from portal.kernel.money import to_stroops
from tests.support.builders import NETWORK, NOON, make_draft, make_invoice, make_shop, make_transfer
from tests.support.money import balances, broken_invariants, decide, make_desk, only_payment, record
from tests.support.refunding import again, promise, sending, settle, short_of

NAMELESS = {"memo_type": "none", "memo": None}
OPEN = {"receivable": 90, "income": -90}
XDR = Envelope("AAAA", "cd" * 32)


@pytest.fixture
def shop(desk):
    return make_shop()


@pytest.fixture(autouse=True)
def _the_books_hold(desk):
    yield
    assert broken_invariants() == []


def paid(shop, amount="90", *, due="90", **changes):
    """Issue an invoice, let money come for it and return (invoice, payment)."""
    invoice = make_invoice(shop, amount=due)
    record(shop, make_transfer(invoice, amount=amount, **changes))
    return db.session.get_one(Invoice, invoice.id), only_payment(shop)


def take_back(shop, invoice, payment):
    """Let the issuer of the asset take a payment back."""
    took = Debit(0, shop.wallet, None, payment.asset, to_stroops(payment.amount), "clawback")
    ledger = queries.ledger_of(merchant_id=shop.id, payment_id=payment.id) + 1
    record(shop, make_transfer(invoice, credits=(), debits=(took,), ledger=ledger))


def with_client(shop, name="Rina"):
    def add():
        shop.enter()
        client = Client(merchant_id=shop.id, name=name)
        db.session.add(client)
        db.session.flush()
        return client

    return run_transaction(add)


def invoice_of(shop, client, amount="90"):
    def work():
        shop.enter()
        wallet = db.session.scalars(select(Wallet).where(Wallet.merchant_id == shop.id)).one()
        return invoices.create(
            merchant=db.session.get_one(Merchant, shop.id), network=NETWORK, draft=make_draft(amount=amount),
            client=client, terms=IssueTerms(wallet), now=NOON,
        ).invoice  # fmt: skip

    written = run_transaction(work)
    shop.enter()
    return db.session.get_one(Invoice, written.id)


def state(shop):
    """Return (status, reason, refunded, reserved, flags) of the shop's one payment."""
    payment = only_payment(shop)
    return (
        payment.status, payment.reason, int(payment.refunded), int(payment.refund_reserved), payment.flags,
    )  # fmt: skip


def told(refund):
    rows = db.session.scalars(select(Event).where(Event.aggregate_id == refund.id).order_by(Event.version))
    return [event.type for event in rows]


class TestCreate:
    def test_promises_the_sender_his_money_and_holds_it_back(self, shop):
        _, payment = paid(shop, **NAMELESS)

        refund = promise(shop, payment, "40", memo=Memo("id", "7"), envelope=XDR)

        assert (refund.source, refund.destination) == (shop.wallet, payment.sender)
        assert (refund.status, refund.amount, refund.memo, refund.expected_hashes) == (
            "PENDING", 40, "7", [XDR.hash],
        )  # fmt: skip
        assert state(shop) == ("UNMATCHED", "no_reference", 0, 40, [])
        assert told(refund) == ["refund.created"]
        event = db.session.scalars(select(Event).where(Event.aggregate_id == refund.id)).one()
        assert event.payload["amount"] == "40.0000000" and event.payload["payment"].startswith("pay_")
        assert event.payload["estimated_arrival"] == "2026-11-20T12:00:05Z"
        assert balances(shop) == {"wallet": 90, "suspense": -90, **OPEN}

    def test_leaves_an_audit_row(self, shop):
        _, payment = paid(shop)

        promise(shop, payment)

        rows = db.session.scalars(select(AuditEntry.action).where(AuditEntry.merchant_id == shop.id))
        assert "refund.created" in rows.all()

    def test_never_promises_more_than_is_left(self, shop):
        _, payment = paid(shop)
        promise(shop, payment, "60")

        with pytest.raises(AmountTooLarge) as refusal:
            promise(shop, payment, "30.0000001")

        assert refusal.value.pointer == "/amount"
        promise(shop, payment, "30")
        with pytest.raises(NotRefundable) as nothing:
            promise(shop, payment, "1")
        assert nothing.value.code == "nothing_left"

    def test_keeps_the_money_from_being_matched_meanwhile(self, shop):
        invoice, payment = paid(shop, **NAMELESS)
        promise(shop, payment, "1")

        with pytest.raises(decisions.PaymentNotUnmatched):
            decide(shop, decisions.match, payment_id=payment.id, parts=[Part(invoice.id, Decimal(90))])

    def test_is_refused_for_what_an_issuer_took_back(self, shop):
        invoice = make_invoice(shop)
        seen = make_transfer(invoice)
        record(shop, seen)
        took = Debit(0, shop.wallet, None, "native", 900_000_000, "clawback")
        record(shop, make_transfer(invoice, credits=(), debits=(took,), ledger=seen.ledger + 1))

        with pytest.raises(NotRefundable) as refusal:
            promise(shop, only_payment(shop))

        assert refusal.value.code == "payment_reversed"

    def test_is_refused_for_a_contract_s_payment(self, shop):
        invoice = make_invoice(shop)
        seen = make_transfer(invoice)
        contract = "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD2KM"
        record(shop, replace(seen, credits=(replace(seen.credits[0], source=contract),)))

        with pytest.raises(NotRefundable) as refusal:
            promise(shop, only_payment(shop))

        assert refusal.value.code == "sender_is_contract"

    def test_is_invisible_to_another_merchant(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, "1")
        stranger = make_shop()

        with pytest.raises(PaymentNotFound):
            promise(stranger, payment)
        with pytest.raises(queries.RefundNotFound):
            decide(stranger, service.cancel, refund_id=refund.id)
        with pytest.raises(queries.RefundNotFound):
            settle(stranger, refund.id, sending(refund))
        assert queries.list_for_payment(merchant_id=stranger.id, payment_id=payment.id) == []


class TestCancel:
    def test_releases_what_was_held_back(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment)

        decide(shop, service.cancel, refund_id=refund.id)
        decide(shop, service.cancel, refund_id=refund.id)

        assert again(refund).status == "CANCELLED"
        assert state(shop)[2:4] == (0, 0)
        assert told(refund) == ["refund.created", "refund.cancelled"]

    def test_is_refused_once_a_hash_was_named(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment)
        decide(shop, service.expect, refund_id=refund.id, transaction_hash="ee" * 32)

        with pytest.raises(RefundUnderWay):
            decide(shop, service.cancel, refund_id=refund.id)

    def test_is_refused_for_what_was_sent(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment)
        settle(shop, refund.id, sending(refund))

        with pytest.raises(RefundClosed):
            decide(shop, service.cancel, refund_id=refund.id)


class TestComplete:
    def test_unmatched_money_goes_back_out_of_suspense(self, shop):
        _, payment = paid(shop, **NAMELESS)
        decide(shop, decisions.mark_for_refund, payment_id=payment.id)
        refund = promise(shop, payment)
        sent = sending(refund)

        outcome = settle(shop, refund.id, sent)

        done = again(refund)
        assert outcome.is_new and (done.status, done.transaction_hash) == ("COMPLETED", sent.canonical_hash)
        assert (done.from_suspense, done.from_credit, done.from_revenue) == (90, 0, 0)
        assert state(shop) == ("IGNORED", "refunded", 90, 0, [])
        decision = only_payment(shop).decision
        assert (decision["action"], decision["reason"]) == ("refund", "no_reference")
        assert balances(shop) == OPEN
        assert told(refund) == ["refund.created", "refund.completed"]

    def test_a_part_of_it_leaves_the_rest_to_be_matched(self, shop):
        invoice, payment = paid(shop, **NAMELESS)
        refund = promise(shop, payment, "30")
        settle(shop, refund.id, sending(refund))

        assert state(shop) == ("UNMATCHED", "no_reference", 30, 0, [])
        assert balances(shop) == {"wallet": 60, "suspense": -60, **OPEN}
        parts = [Part(invoice.id, Decimal(60))]
        decide(shop, decisions.match, payment_id=payment.id, parts=parts)
        assert balances(shop) == {"wallet": 60, "receivable": 30, "income": -90}
        # What the invoice got since is borne by the merchant: none of it became credit.
        rest = promise(shop, only_payment(shop), "60")
        settle(shop, rest.id, sending(rest))
        assert balances(shop) == {"refunds": 60, "receivable": 30, "income": -90}
        assert state(shop)[:4] == ("CONFIRMED", None, 90, 0)

    def test_money_set_aside_goes_back_too(self, shop):
        _, payment = paid(shop, **NAMELESS)
        decide(shop, decisions.ignore, payment_id=payment.id, note="a test")
        refund = promise(shop, payment)

        settle(shop, refund.id, sending(refund))

        assert state(shop)[:3] == ("IGNORED", "refunded", 90)
        with pytest.raises(decisions.PaymentNotUnmatched):
            decide(shop, decisions.restore, payment_id=payment.id)

    def test_an_excess_is_borne_by_the_client_s_credit(self, shop):
        invoice, payment = paid(shop, "120")
        refund = promise(shop, payment, "30")

        settle(shop, refund.id, sending(refund))

        assert (again(refund).from_credit, again(refund).from_revenue) == (30, 0)
        assert balances(shop) == {"wallet": 90, "income": -90}
        assert (invoice.status, invoice.amount_received, invoice.overpaid_by) == ("PAID", 90, 30)

    def test_the_rest_is_borne_by_the_merchant_and_the_invoice_stays_paid(self, shop):
        invoice, payment = paid(shop, "120")
        first = promise(shop, payment, "100")
        settle(shop, first.id, sending(first))
        second = promise(shop, only_payment(shop), "20")
        settle(shop, second.id, sending(second))

        assert (again(first).from_credit, again(first).from_revenue) == (30, 70)
        assert (again(second).from_credit, again(second).from_revenue) == (0, 20)
        assert balances(shop) == {"refunds": 90, "income": -90}
        db.session.refresh(invoice)
        assert (invoice.status, invoice.amount_received) == ("PAID", 90)

    def test_credit_that_was_spent_meanwhile_is_borne_by_the_merchant(self, shop):
        client = with_client(shop)
        first, second = invoice_of(shop, client), invoice_of(shop, client)
        record(shop, make_transfer(first, amount="120"))
        payment = only_payment(shop)
        refund = promise(shop, payment, "30")
        decide(shop, credit.apply_credit, invoice_id=second.id, amount=Decimal(20))

        settle(shop, refund.id, sending(refund))

        assert (again(refund).from_credit, again(refund).from_revenue) == (10, 20)

    def test_credit_from_other_money_is_left_alone(self, shop):
        client = with_client(shop)
        first, second = invoice_of(shop, client), invoice_of(shop, client)
        record(shop, make_transfer(first, amount="120"))
        record(shop, make_transfer(second, amount="90"))
        exact = db.session.scalars(select(Payment).where(Payment.invoice_id == second.id)).one()
        refund = promise(shop, exact, "10")

        settle(shop, refund.id, sending(refund))

        assert (again(refund).from_credit, again(refund).from_revenue) == (0, 10)

    def test_a_payment_split_over_clients_takes_from_its_own_client_s_part_alone(self, shop):
        rina, dewi = with_client(shop), with_client(shop, "Dewi")
        hers, other = invoice_of(shop, rina, "50"), invoice_of(shop, dewi, "10")
        record(shop, make_transfer(hers, amount="100", **NAMELESS))
        parts = [Part(hers.id, Decimal(55)), Part(other.id, Decimal(45))]
        decide(shop, decisions.match, payment_id=only_payment(shop).id, parts=parts)
        refund = promise(shop, only_payment(shop), "20")

        settle(shop, refund.id, sending(refund))

        assert (again(refund).from_credit, again(refund).from_revenue) == (5, 15)
        assert balances(shop)["client_credit"] == -35

    def test_money_moved_to_credit_is_borne_by_the_credit(self, shop):
        invoice, payment = paid(shop, "40")
        decide(shop, credit.move_to_credit, invoice_id=invoice.id)
        refund = promise(shop, payment)

        settle(shop, refund.id, sending(refund))

        assert again(refund).from_credit == 40 and balances(shop) == OPEN

    @pytest.mark.parametrize(
        "paying", [{}, {"amount": "95"}, NAMELESS], ids=["for an invoice", "too much", "unmatched"]
    )
    def test_what_was_taken_back_meanwhile_and_sent_all_the_same_is_borne_by_the_merchant(self, shop, paying):
        invoice, payment = paid(shop, **paying)
        refund = promise(shop, payment, envelope=XDR)
        take_back(shop, invoice, payment)
        assert state(shop)[:4] == ("REVERSED", "clawback", 0, int(payment.amount))
        assert broken_invariants() == []
        with pytest.raises(NotRefundable) as refusal:
            decide(shop, service.prepare, refund_id=refund.id, envelope=Envelope("BBBB", "dd" * 32))
        assert refusal.value.code == "payment_reversed"

        assert settle(shop, refund.id, sending(refund)).is_new

        done = again(refund)
        assert (done.status, done.from_suspense, done.from_credit, done.from_revenue) == (
            "COMPLETED", 0, 0, payment.amount,
        )  # fmt: skip
        assert state(shop)[:4] == ("REVERSED", "clawback", int(payment.amount), 0)
        assert balances(shop) == {"wallet": -payment.amount, "refunds": payment.amount, **OPEN}

    def test_what_was_taken_back_meanwhile_can_be_cancelled(self, shop):
        invoice, payment = paid(shop)
        refund = promise(shop, payment, envelope=XDR)
        take_back(shop, invoice, payment)

        decide(shop, service.cancel, refund_id=refund.id)

        assert again(refund).status == "CANCELLED"
        assert state(shop)[:4] == ("REVERSED", "clawback", 0, 0)

    def test_is_safe_twice(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment)
        sent = sending(refund)
        settle(shop, refund.id, sent)

        repeated = settle(shop, refund.id, sent)

        assert (repeated.is_new, repeated.code) == (False, None)
        journals = db.session.scalars(select(LedgerJournal).where(LedgerJournal.reference_id == refund.id))
        assert len(journals.all()) == 1
        assert told(refund) == ["refund.created", "refund.completed"]

    def test_one_transaction_is_one_refund(self, shop):
        _, payment = paid(shop)
        first, second = promise(shop, payment, "10"), promise(shop, payment, "10")
        sent = sending(first)
        settle(shop, first.id, sent)

        refused = settle(shop, second.id, sent)

        assert (refused.code, again(second).status) == ("hash_used", "PENDING")
        assert state(shop)[2:4] == (10, 10)

    def test_two_operations_of_one_transaction_are_two(self, shop):
        _, payment = paid(shop)
        first, second = promise(shop, payment, "10"), promise(shop, payment, "10")
        sent = sending(first, second)

        settle(shop, second.id, sent)
        settle(shop, first.id, sent)

        assert sorted([again(first).operation_index, again(second).operation_index]) == [0, 1]
        assert state(shop)[2:4] == (20, 0)

    def test_a_refusal_changes_nothing_and_stores_nothing(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, envelope=XDR)
        sent = short_of(sending(refund), 1)

        outcome = settle(shop, refund.id, sent)

        assert outcome.code == "wrong_amount" and outcome.rules[-1].code == "exact"
        assert (again(refund).status, again(refund).envelope_xdr) == ("PENDING", "AAAA")
        assert told(refund) == ["refund.created"]
        stored = select(ChainTransaction).where(ChainTransaction.canonical_hash == sent.canonical_hash)
        assert db.session.scalars(stored).all() == []

    def test_another_transaction_for_a_completed_refund_is_refused(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, "10")
        settle(shop, refund.id, sending(refund))

        with pytest.raises(RefundClosed):
            settle(shop, refund.id, sending(refund))


class TestFollow:
    def test_a_named_hash_is_waited_for_and_falls_back_when_it_is_not_it(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, envelope=XDR)
        other = short_of(sending(refund), 1)
        decide(shop, service.expect, refund_id=refund.id, transaction_hash=other.canonical_hash)
        assert again(refund).status == "PROCESSING"

        settle(shop, refund.id, other)

        back = again(refund)
        assert (back.status, back.code, back.transaction_hash) == ("PENDING", "wrong_amount", None)
        assert back.expected_hashes == [XDR.hash]
        assert told(refund) == ["refund.created", "refund.processing", "refund.updated"]
        assert state(shop)[3] == 90

    def test_a_prepared_transaction_that_failed_must_be_prepared_anew(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, envelope=XDR)
        failed = sending(refund, canonical_hash=XDR.hash, hashes=(XDR.hash,), successful=False, credits=())

        settle(shop, refund.id, failed)

        stale = again(refund)
        assert (stale.status, stale.code) == ("PENDING", "transaction_failed")
        assert (stale.envelope_xdr, stale.expected_hashes) == (None, [])
        decide(shop, service.prepare, refund_id=refund.id, envelope=Envelope("BBBB", "dd" * 32))
        fresh = again(refund)
        assert (fresh.envelope_xdr, fresh.code) == ("BBBB", None)

    def test_each_prepared_transaction_counts_until_its_time_is_over(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, envelope=XDR)
        decide(shop, service.prepare, refund_id=refund.id, envelope=Envelope("BBBB", "dd" * 32))
        prepared = again(refund)
        assert (prepared.envelope_xdr, prepared.expected_hashes) == ("BBBB", [XDR.hash, "dd" * 32])
        failed = sending(refund, canonical_hash=XDR.hash, hashes=(XDR.hash,), successful=False, credits=())

        settle(shop, refund.id, failed)

        left = again(refund)
        assert (left.envelope_xdr, left.expected_hashes) == ("BBBB", ["dd" * 32])
        assert (left.status, left.code) == ("PENDING", "transaction_failed")
        decide(shop, service.prepare, refund_id=refund.id, envelope=Envelope("BBBB", "dd" * 32))
        assert again(refund).expected_hashes == ["dd" * 32]

    def test_there_are_never_more_prepared_ones_than_can_be_looked_for(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment)
        envelopes = [Envelope("BBBB", f"{number:064x}") for number in range(PREPARED_MAX + 1)]
        for envelope in envelopes[:-1]:
            decide(shop, service.prepare, refund_id=refund.id, envelope=envelope)

        with pytest.raises(PreparedTooOften):
            decide(shop, service.prepare, refund_id=refund.id, envelope=envelopes[-1])

        decide(shop, service.prepare, refund_id=refund.id, envelope=envelopes[0])
        assert len(again(refund).expected_hashes) == PREPARED_MAX

    def test_the_prepared_one_under_a_fee_bump_is_known_by_its_inner_hash(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, envelope=XDR)
        outer = "aa" * 31 + refund.id.hex[-2:]
        bumped = sending(refund, canonical_hash=outer, hashes=(outer, XDR.hash))

        settle(shop, refund.id, bumped)

        assert (again(refund).status, again(refund).transaction_hash) == ("COMPLETED", outer)
        assert settle(shop, refund.id, bumped).is_new is False

    def test_is_not_prepared_while_a_hash_is_looked_for(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment)
        decide(shop, service.expect, refund_id=refund.id, transaction_hash="ee" * 32)

        with pytest.raises(RefundUnderWay):
            decide(shop, service.prepare, refund_id=refund.id, envelope=XDR)

    def test_looks_go_by_the_schedule_of_submissions(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, envelope=XDR)
        seen = [again(refund).next_attempt_at - NOON]

        now = NOON
        for _ in range(7):
            now = again(refund).next_attempt_at
            decide(shop, service.postpone, refund_id=refund.id, desk=make_desk(shop, now))
            seen.append(again(refund).next_attempt_at - now)

        assert [each.total_seconds() for each in seen] == [1, 2, 4, 8, 15, 30, 60, 60]

    def test_a_day_later_it_is_given_up_only_when_the_network_is_past_it(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, envelope=XDR)
        later = make_desk(shop, NOON + timedelta(hours=24))

        decide(shop, service.postpone, refund_id=refund.id, desk=later)
        assert again(refund).status == "PENDING"
        decide(shop, service.postpone, refund_id=refund.id, desk=later, is_over=True)

        assert (again(refund).status, again(refund).code) == ("FAILED", "not_sent")
        assert state(shop)[2:4] == (0, 0)
        assert told(refund) == ["refund.created", "refund.failed"]

    def test_a_named_hash_that_never_came_is_forgotten_first(self, shop):
        _, payment = paid(shop)
        refund = promise(shop, payment, envelope=XDR)
        decide(shop, service.expect, refund_id=refund.id, transaction_hash="ee" * 32)
        later = make_desk(shop, NOON + timedelta(hours=24))

        decide(shop, service.postpone, refund_id=refund.id, desk=later, is_over=True)

        back = again(refund)
        assert (back.status, back.code, back.transaction_hash) == ("PENDING", "not_found", None)
        assert state(shop)[3] == 90
