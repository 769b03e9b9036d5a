"""What people decide about unmatched money: journals through suspense, undone until it is booked elsewhere."""

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
from portal.domain.invoices.queries import InvoiceNotFound
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.payments import credit, decisions, external, service, submissions
from portal.domain.payments import queries as payments
from portal.domain.payments.checkout import get_checkout
from portal.domain.payments.decisions import (
    BookedElsewhere,
    NoteMissing,
    Part,
    PartsInvalid,
    PaymentNotUnmatched,
)
from portal.domain.payments.matching import MatchRefused
from portal.domain.payments.models import Payment
from portal.domain.payments.queries import PaymentNotFound
from portal.extensions import db
from portal.kernel.chain import Debit
from tests.support.builders import ISSUER, NETWORK, NOON, make_draft, make_invoice, make_shop, make_transfer
from tests.support.money import balances, broken_invariants, decide, make_desk, only_payment, record

NAMELESS = {"memo_type": "none", "memo": None}
OPEN = {"receivable": 90, "income": -90}


@pytest.fixture
def shop(desk):
    return make_shop()


@pytest.fixture(autouse=True)
def _the_books_hold(desk):
    yield
    assert broken_invariants() == []


def arrive(shop, invoice, amount="90", **changes):
    """Let unmatched money reach the shop and return its payment's id."""
    known = set(db.session.scalars(select(Payment.id).where(Payment.merchant_id == shop.id)))
    record(shop, make_transfer(invoice, amount=amount, **{**NAMELESS, **changes}))
    found = set(db.session.scalars(select(Payment.id).where(Payment.merchant_id == shop.id))) - known
    return found.pop()


def match(shop, payment_id, *parts, note=""):
    chosen = [Part(invoice.id, Decimal(amount)) for invoice, amount in parts]
    return decide(shop, decisions.match, payment_id=payment_id, parts=chosen, note=note)


def with_client(shop):
    def add():
        shop.enter()
        client = Client(merchant_id=shop.id, name="Rina")
        db.session.add(client)
        db.session.flush()
        return client

    return run_transaction(add)


def invoice_of(shop, client, amount="90"):
    def work():
        shop.enter()
        merchant = db.session.get_one(Merchant, shop.id)
        wallet = db.session.scalars(select(Wallet).where(Wallet.merchant_id == shop.id)).one()
        return invoices.create(
            merchant=merchant,
            network=NETWORK,
            draft=make_draft(amount=amount),
            client=db.session.get_one(Client, client.id),
            terms=IssueTerms(wallet),
            now=NOON,
        ).invoice

    written = run_transaction(work)
    return db.session.get_one(Invoice, written.id)


class TestMatch:
    def test_pays_the_invoice_through_suspense(self, shop):
        invoice = make_invoice(shop)
        payment_id = arrive(shop, invoice)

        payment = match(shop, payment_id, (invoice, "90"))

        assert (invoice.status, invoice.amount_received) == ("PAID", 90)
        assert (payment.status, payment.reason, payment.flags) == ("CONFIRMED", None, ["matched"])
        assert balances(shop) == {"wallet": 90, "income": -90}
        assert [rule["code"] for rule in payment.evidence][-4:] == [
            "chosen",
            "asset",
            "not_cancelled",
            "in_time",
        ]

    def test_is_split_over_several_and_the_excess_is_credit(self, shop):
        first, second = make_invoice(shop), make_invoice(shop, amount="30")
        payment_id = arrive(shop, first, "130")

        match(shop, payment_id, (first, "90"), (second, "40"), note="two classes")

        assert (first.status, second.status, second.overpaid_by) == ("PAID", "PAID", 10)
        assert second.flags == ["overpaid"]
        assert balances(shop)["client_credit"] == -10

    def test_of_a_part_leaves_the_invoice_partly_paid(self, shop):
        invoice = make_invoice(shop)
        match(shop, arrive(shop, invoice, "60"), (invoice, "60"))
        assert (invoice.status, invoice.amount_received) == ("PENDING", 60)

    def test_a_late_payment_may_be_accepted_by_a_person(self, desk):
        shop = make_shop(late_policy="unmatched")
        invoice = make_invoice(shop, expires_in_seconds=60)
        later = NOON + timedelta(hours=1)
        run_transaction(lambda: invoices.expire(merchant_id=shop.id, invoice_id=invoice.id, now=later))
        record(shop, make_transfer(invoice, closed_at=later))
        payment = only_payment(shop)
        assert payment.reason == "late"

        match(shop, payment.id, (invoice, "90"))

        assert (invoice.status, balances(shop)) == ("PAID", {"wallet": 90, "income": -90})

    def test_records_event_and_audit(self, shop):
        invoice = make_invoice(shop)
        payment = match(shop, arrive(shop, invoice), (invoice, "90"), note="Rina called")

        types = db.session.scalars(
            select(Event.type).where(Event.aggregate_id == payment.id).order_by(Event.version)
        ).all()
        entry = db.session.scalars(
            select(AuditEntry).where(
                AuditEntry.action == "payment.confirmed", AuditEntry.merchant_id == shop.id
            )
        ).one()
        assert types == ["payment.unmatched", "payment.confirmed"]
        assert entry.after["decision"]["note"] == "Rina called"

    @pytest.mark.parametrize(
        ("parts", "refusal"),
        [
            ([], PartsInvalid),
            (["89"], PartsInvalid),
            (["91"], PartsInvalid),
            (["90", "0"], PartsInvalid),
            (["100", "-10"], PartsInvalid),
        ],
    )
    def test_parts_must_be_positive_and_add_up(self, shop, parts, refusal):
        chosen = [(make_invoice(shop), amount) for amount in parts]
        payment_id = arrive(shop, make_invoice(shop))
        with pytest.raises(refusal):
            match(shop, payment_id, *chosen)

    def test_one_invoice_cannot_be_named_twice(self, shop):
        invoice = make_invoice(shop)
        with pytest.raises(PartsInvalid):
            match(shop, arrive(shop, invoice), (invoice, "45"), (invoice, "45"))

    def test_never_crosses_assets(self, shop):
        invoice, dollars = make_invoice(shop), make_invoice(shop, asset=f"USDC:{ISSUER}")
        payment_id = arrive(shop, invoice)
        with pytest.raises(MatchRefused) as refusal:
            match(shop, payment_id, (dollars, "90"))
        assert refusal.value.code == "wrong_asset"

    def test_never_pays_a_cancelled_invoice_or_a_draft(self, shop):
        cancelled, draft = make_invoice(shop), make_invoice(shop, issue=False)
        run_transaction(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=cancelled.id, now=NOON))
        payment_id = arrive(shop, cancelled)
        codes = []
        for invoice in (cancelled, draft):
            with pytest.raises(MatchRefused) as refusal:
                match(shop, payment_id, (invoice, "90"))
            codes.append(refusal.value.code)
        assert codes == ["invoice_cancelled", "invoice_draft"]

    def test_never_counts_money_that_went_back_out(self, shop):
        invoice = make_invoice(shop)
        transfer = make_transfer(invoice)
        back = Debit(1, shop.wallet, None, "native", 900_000_000)
        record(shop, replace(transfer, debits=(back,)))
        with pytest.raises(MatchRefused) as refusal:
            match(shop, only_payment(shop).id, (invoice, "90"))
        assert refusal.value.code == "pay_and_return"

    def test_never_reaches_another_merchant(self, shop):
        other = make_shop()
        theirs = make_invoice(other)
        payment_id = arrive(shop, make_invoice(shop))
        with pytest.raises(InvoiceNotFound):
            match(shop, payment_id, (theirs, "90"))

    def test_is_decided_once(self, shop):
        invoice = make_invoice(shop)
        payment_id = arrive(shop, invoice)
        match(shop, payment_id, (invoice, "90"))
        with pytest.raises(PaymentNotUnmatched):
            match(shop, payment_id, (invoice, "90"))

    def test_money_that_comes_later_is_shared_out_around_it(self, shop):
        invoice = make_invoice(shop)
        match(shop, arrive(shop, invoice, "60"), (invoice, "60"))
        record(shop, make_transfer(invoice, amount="50"))
        assert (invoice.status, invoice.amount_received, invoice.overpaid_by) == ("PAID", 90, 20)


class TestUnmatch:
    def test_leaves_everything_as_it_was_but_the_invoice_was_paid_once(self, shop):
        invoice = make_invoice(shop)
        payment_id = arrive(shop, invoice)
        before = (balances(shop), only_payment(shop).evidence)
        match(shop, payment_id, (invoice, "90"))

        payment = decide(shop, decisions.unmatch, payment_id=payment_id)

        assert (payment.status, payment.reason, payment.invoice_id) == ("UNMATCHED", "no_reference", None)
        assert (balances(shop), payment.evidence) == before
        assert (invoice.status, invoice.amount_received, invoice.flags) == ("PAID", 0, ["reversed"])

    def test_of_a_part_leaves_a_pending_invoice_pending(self, shop):
        invoice = make_invoice(shop)
        payment_id = arrive(shop, invoice, "60")
        match(shop, payment_id, (invoice, "60"))
        decide(shop, decisions.unmatch, payment_id=payment_id)
        assert (invoice.status, invoice.amount_received, invoice.flags) == ("PENDING", 0, [])

    def test_lets_the_excess_of_another_payment_fill_the_gap(self, shop):
        invoice = make_invoice(shop)
        payment_id = arrive(shop, invoice)
        match(shop, payment_id, (invoice, "90"))
        record(shop, make_transfer(invoice))
        assert invoice.overpaid_by == 90

        decide(shop, decisions.unmatch, payment_id=payment_id)

        assert (invoice.status, invoice.amount_received, invoice.overpaid_by) == ("PAID", 90, 0)
        assert invoice.flags == []

    def test_a_reversed_invoice_can_be_paid_again(self, shop):
        invoice = make_invoice(shop)
        payment_id = arrive(shop, invoice)
        match(shop, payment_id, (invoice, "90"))
        decide(shop, decisions.unmatch, payment_id=payment_id)

        record(shop, make_transfer(invoice))

        assert (invoice.status, invoice.amount_received, invoice.flags) == ("PAID", 90, [])

    def test_a_written_off_rest_is_written_off_again(self, shop):
        invoice = make_invoice(shop, expires_in_seconds=60)
        later = NOON + timedelta(hours=1)
        run_transaction(lambda: invoices.expire(merchant_id=shop.id, invoice_id=invoice.id, now=later))
        payment_id = arrive(shop, invoice, "60")
        match(shop, payment_id, (invoice, "60"))
        assert balances(shop)["write_off"] == 30
        decide(shop, decisions.unmatch, payment_id=payment_id)
        assert (invoice.status, balances(shop)["write_off"]) == ("EXPIRED", 90)

    def test_is_refused_once_the_excess_was_spent(self, shop):
        client = with_client(shop)
        first, second = invoice_of(shop, client), invoice_of(shop, client, "20")
        payment_id = arrive(shop, first, "110")
        match(shop, payment_id, (first, "110"))
        decide(shop, credit.apply_credit, invoice_id=second.id)
        assert second.status == "PAID"
        with pytest.raises(BookedElsewhere):
            decide(shop, decisions.unmatch, payment_id=payment_id)

    def test_is_only_for_what_a_person_matched(self, shop):
        invoice = make_invoice(shop)
        record(shop, make_transfer(invoice))
        with pytest.raises(PaymentNotUnmatched):
            decide(shop, decisions.unmatch, payment_id=only_payment(shop).id)


class TestIgnore:
    def test_needs_a_reason_and_stays_in_suspense(self, shop):
        payment_id = arrive(shop, make_invoice(shop))
        with pytest.raises(NoteMissing):
            decide(shop, decisions.ignore, payment_id=payment_id, note="  ")

        payment = decide(shop, decisions.ignore, payment_id=payment_id, note="a gift")

        assert (payment.status, payment.decision["note"]) == ("IGNORED", "a gift")
        assert balances(shop)["suspense"] == -90

    def test_is_undone(self, shop):
        payment_id = arrive(shop, make_invoice(shop))
        decide(shop, decisions.ignore, payment_id=payment_id, note="a gift")
        payment = decide(shop, decisions.restore, payment_id=payment_id)
        assert (payment.status, payment.reason, payment.decision) == ("UNMATCHED", "no_reference", None)

    def test_what_paid_itself_was_ignored_by_rule_and_stays_so(self, shop):
        invoice = make_invoice(shop)
        transfer = make_transfer(invoice)
        (paid,) = transfer.credits
        record(shop, replace(transfer, credits=(replace(paid, source=shop.wallet),)))
        with pytest.raises(PaymentNotUnmatched):
            decide(shop, decisions.restore, payment_id=only_payment(shop).id)

    def test_a_mark_for_refund_is_put_and_taken(self, shop):
        payment_id = arrive(shop, make_invoice(shop))
        marked = decide(shop, decisions.mark_for_refund, payment_id=payment_id).flags
        unmarked = decide(shop, decisions.mark_for_refund, payment_id=payment_id, is_due=False).flags
        assert (marked, unmarked) == (["refund_due"], [])


class TestCredit:
    def test_pays_the_next_invoice_as_far_as_it_goes(self, shop):
        client = with_client(shop)
        first, second = invoice_of(shop, client), invoice_of(shop, client)
        record(shop, make_transfer(first, amount="120"))

        decide(shop, credit.apply_credit, invoice_id=second.id)

        assert (second.status, second.amount_received) == ("PENDING", 30)
        assert (
            credit.credit_of(merchant_id=shop.id, network=NETWORK, debtor_id=client.id, asset="native") == 0
        )
        record(shop, make_transfer(second, amount="60"))
        assert second.status == "PAID"

    @pytest.mark.parametrize(
        ("amount", "refusal"), [("31", credit.CreditTooSmall), ("91", credit.AmountTooLarge)]
    )
    def test_is_never_overdrawn_nor_more_than_due(self, shop, amount, refusal):
        client = with_client(shop)
        first, second = invoice_of(shop, client), invoice_of(shop, client)
        record(shop, make_transfer(first, amount="120"))
        with pytest.raises(refusal):
            decide(shop, credit.apply_credit, invoice_id=second.id, amount=Decimal(amount))

    def test_of_one_client_is_no_other_clients(self, shop):
        first, second = invoice_of(shop, with_client(shop)), invoice_of(shop, with_client(shop))
        record(shop, make_transfer(first, amount="120"))
        with pytest.raises(credit.CreditTooSmall):
            decide(shop, credit.apply_credit, invoice_id=second.id)

    def test_money_moved_from_a_pending_invoice_lets_it_be_cancelled(self, shop):
        client = with_client(shop)
        invoice, other = invoice_of(shop, client), invoice_of(shop, client)
        record(shop, make_transfer(invoice, amount="60"))

        moved = decide(shop, credit.move_to_credit, invoice_id=invoice.id)
        run_transaction(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=invoice.id, now=NOON))
        decide(shop, credit.apply_credit, invoice_id=other.id)

        assert (moved, invoice.status, other.amount_received) == (60, "CANCELLED", 60)

    def test_a_paid_invoice_keeps_its_money(self, shop):
        invoice = make_invoice(shop)
        record(shop, make_transfer(invoice))
        with pytest.raises(credit.InvoiceNotPayable):
            decide(shop, credit.move_to_credit, invoice_id=invoice.id)

    def test_moved_credit_that_was_applied_returns_to_credit(self, shop):
        client = with_client(shop)
        first, second = invoice_of(shop, client), invoice_of(shop, client)
        record(shop, make_transfer(first, amount="120"))
        decide(shop, credit.apply_credit, invoice_id=second.id)

        decide(shop, credit.move_to_credit, invoice_id=second.id)

        assert second.amount_received == 0
        assert balances(shop)["client_credit"] == -30


class TestExternal:
    def pay(self, shop, invoice, amount, **changes):
        given = {"method": "cash", "reason": "at the counter", "received_on": NOON.date(), **changes}
        return decide(shop, external.record_external, invoice_id=invoice.id, amount=Decimal(amount), **given)

    def test_pays_an_invoice_without_touching_the_wallet(self, shop):
        invoice = make_invoice(shop)
        self.pay(shop, invoice, "90")
        assert (invoice.status, balances(shop)) == ("PAID", {"external": 90, "income": -90})

    def test_takes_no_more_than_is_due_and_wants_a_reason(self, shop):
        invoice = make_invoice(shop)
        with pytest.raises(credit.AmountTooLarge):
            self.pay(shop, invoice, "90.0000001")
        with pytest.raises(NoteMissing):
            self.pay(shop, invoice, "90", reason=" ")
        with pytest.raises(external.DateInFuture):
            self.pay(shop, invoice, "90", received_on=NOON.date() + timedelta(days=2))

    def test_is_undone_once(self, shop):
        invoice = make_invoice(shop)
        row = self.pay(shop, invoice, "60")
        decide(shop, external.undo_external, external_id=row.id, reason="wrong invoice")
        assert (invoice.status, invoice.amount_received, balances(shop)) == ("PENDING", 0, OPEN)
        with pytest.raises(BookedElsewhere):
            decide(shop, external.undo_external, external_id=row.id, reason="again")
        listed = external.list_external(merchant_id=shop.id, invoice_id=invoice.id)
        assert [counts for _, counts in listed] == [False]

    def test_money_on_the_network_then_becomes_excess(self, shop):
        invoice = make_invoice(shop)
        self.pay(shop, invoice, "80")
        record(shop, make_transfer(invoice, amount="90"))
        assert (invoice.status, invoice.amount_received, invoice.overpaid_by) == ("PAID", 90, 80)


class TestClawback:
    ASSET = f"USDC:{ISSUER}"

    def claw(self, shop, invoice, amount=900_000_000, **changes):
        debit = Debit(0, shop.wallet, ISSUER, self.ASSET, amount, "clawback")
        transfer = make_transfer(invoice, ledger=51_300_000, credits=(), debits=(debit,), **NAMELESS)
        record(shop, replace(transfer, **changes))
        return transfer

    def test_reverses_the_payment_and_leaves_a_paid_invoice_reversed(self, shop):
        invoice = make_invoice(shop, asset=self.ASSET)
        record(shop, make_transfer(invoice))

        again = self.claw(shop, invoice)
        record(shop, again)

        payment = only_payment(shop)
        assert (payment.status, payment.reason) == ("REVERSED", "clawback")
        assert (invoice.status, invoice.amount_received, invoice.flags) == ("PAID", 0, ["reversed"])
        assert balances(shop, self.ASSET) == OPEN

    def test_of_a_duplicate_leaves_the_invoice_paid(self, shop):
        invoice = make_invoice(shop, asset=self.ASSET)
        for ledger in (51_200_000, 51_200_001):
            record(shop, make_transfer(invoice, ledger=ledger))
        self.claw(shop, invoice)
        assert (invoice.status, invoice.amount_received, invoice.overpaid_by) == ("PAID", 90, 0)

    def test_of_matched_and_of_unmatched_money(self, shop):
        invoice = make_invoice(shop, asset=self.ASSET)
        matched = arrive(shop, invoice)
        match(shop, matched, (invoice, "90"))
        self.claw(shop, invoice)
        assert (invoice.flags, balances(shop, self.ASSET)) == (["reversed"], OPEN)

        arrive(shop, invoice)
        self.claw(shop, invoice)
        assert balances(shop, self.ASSET) == OPEN

    def test_that_undoes_no_single_payment_is_a_loss(self, shop):
        invoice = make_invoice(shop, asset=self.ASSET)
        record(shop, make_transfer(invoice))
        self.claw(shop, invoice, amount=100_000_000)
        assert invoice.status == "PAID"
        assert balances(shop, self.ASSET) == {"wallet": 80, "write_off": 10, "income": -90}

    def test_of_money_that_was_moved_to_credit(self, shop):
        client = with_client(shop)
        invoice = make_invoice(shop, asset=self.ASSET)
        record(shop, make_transfer(invoice, amount="60"))
        decide(shop, credit.move_to_credit, invoice_id=invoice.id)
        self.claw(shop, invoice, amount=600_000_000)
        assert client is not None
        assert balances(shop, self.ASSET) == OPEN

    def test_seen_before_its_payment_undoes_it_all_the_same(self, shop):
        invoice = make_invoice(shop, asset=self.ASSET)
        self.claw(shop, invoice)
        assert balances(shop, self.ASSET)["write_off"] == 90

        record(shop, make_transfer(invoice))

        assert (only_payment(shop).status, invoice.amount_received) == ("REVERSED", 0)
        assert (invoice.flags, balances(shop, self.ASSET)) == (["reversed"], OPEN)

    def test_is_not_explained_by_what_paid_itself(self, shop):
        invoice = make_invoice(shop, asset=self.ASSET)
        self.claw(shop, invoice)
        transfer = make_transfer(invoice)
        (paid,) = transfer.credits

        record(shop, replace(transfer, credits=(replace(paid, source=shop.wallet),)))

        assert (only_payment(shop).status, balances(shop, self.ASSET)["write_off"]) == ("IGNORED", 90)

    def test_of_two_payments_by_one_contract_call(self, shop):
        invoices_ = [make_invoice(shop, asset=self.ASSET) for _ in range(2)]
        for invoice in invoices_:
            record(shop, make_transfer(invoice))
        debit = Debit(0, shop.wallet, ISSUER, self.ASSET, 900_000_000, "clawback")
        self.claw(shop, invoices_[0], debits=(debit, debit))
        assert [invoice.flags for invoice in invoices_] == [["reversed"], ["reversed"]]

    def test_that_failed_takes_nothing(self, shop):
        invoice = make_invoice(shop, asset=self.ASSET)
        record(shop, make_transfer(invoice))
        self.claw(shop, invoice, successful=False)
        assert (invoice.status, invoice.flags) == ("PAID", [])


def test_a_desk_of_another_merchant_finds_nothing(shop):
    other = make_shop()
    payment_id = arrive(shop, make_invoice(shop))
    for work, given in (
        (decisions.ignore, {"note": "x"}),
        (decisions.restore, {}),
        (decisions.mark_for_refund, {}),
        (decisions.unmatch, {}),
    ):
        with pytest.raises(PaymentNotFound):
            decide(other, work, payment_id=payment_id, desk=make_desk(other), **given)


class TestHashes:
    def submit(self, shop, invoice, transfer):
        def work():
            submission = submissions.open_submission(
                merchant_id=shop.id,
                network=NETWORK,
                invoice_id=invoice.id,
                transaction_hash=transfer.canonical_hash,
                origin="page",
                now=NOON,
            )
            recorded = service.record_transaction(
                merchant=db.session.get_one(Merchant, shop.id),
                network=NETWORK,
                transaction=transfer,
                invoice_id=invoice.id,
                now=NOON,
            )
            return submissions.settle(submission, transaction=transfer, recorded=recorded, now=NOON)

        shop.enter()
        return run_transaction(work)

    def test_of_money_a_person_matched_is_accepted_on_each_of_its_invoices(self, shop):
        first, second, other = make_invoice(shop), make_invoice(shop, amount="30"), make_invoice(shop)
        transfer = make_transfer(first, amount="120", **NAMELESS)
        record(shop, transfer)
        match(shop, only_payment(shop).id, (first, "90"), (second, "30"))

        answers = [self.submit(shop, invoice, transfer) for invoice in (first, second, other)]

        assert [answer.status for answer in answers] == [200, 200, 422]
        seen = payments.list_for_invoice(merchant_id=shop.id, invoice_id=second.id)
        assert [each.payment.id for each in seen] == [only_payment(shop).id]
        receipts = get_checkout(token=second.token).payments
        assert [receipt.amount for receipt in receipts] == [30]

    def test_of_money_that_was_clawed_back_is_refused(self, shop):
        invoice = make_invoice(shop, asset=TestClawback.ASSET)
        transfer = make_transfer(invoice)
        record(shop, transfer)
        TestClawback().claw(shop, invoice)

        answer = self.submit(shop, invoice, transfer)

        assert (answer.status, answer.submission.code) == (422, "payment_reversed")
