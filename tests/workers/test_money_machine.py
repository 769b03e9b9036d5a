"""Random lives of a merchant's money: after each step invoices, balances and payments agree with a small model.

Everything runs against the real database through the real services; at the end of a life the invariants hold,
the books verify and the mirror is one document an event.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from portal.db import leave_tenant, run_transaction
from portal.domain.clients.models import Client
from portal.domain.invoices import service as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.service import InvoiceHasPayments, IssueTerms
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.payments import credit, decisions, external, service
from portal.domain.payments.decisions import BookedElsewhere, Part
from portal.domain.payments.models import Payment
from portal.domain.refunds import service as refunds
from portal.domain.refunds.rules import Memo
from portal.extensions import db
from portal.flows.mirror_log import check_mirror
from portal.flows.verify_ledger import verify_ledger
from portal.kernel.chain import Debit
from portal.kernel.money import from_stroops, to_stroops
from portal.workers.relay_outbox import Relay
from tests.support.builders import ISSUER, NETWORK, NOON, make_draft, make_shop, make_transfer
from tests.support.money import balances, broken_invariants, decide
from tests.workers import money_model as model

ASSET = f"USDC:{ISSUER}"
TOLERANCE = 2
LIFETIME = 100
INVOICES_MAX = 4


class Crash(Exception):
    """The process died before its commit."""


class MoneyMachine(RuleBasedStateMachine):
    """Times are minutes after noon; one ledger closes each minute, so every transaction has a place of its own."""

    @initialize(has_clients=st.booleans())
    def open_shop(self, has_clients):
        # The life before this one may have ended in the middle of a transaction.
        db.session.rollback()
        leave_tenant()
        self.shop = make_shop(tolerance=from_stroops(TOLERANCE))
        self.model = model.Model(TOLERANCE)
        self.minute = 0
        self.ids = {}
        self.payment_ids = {}
        self.unseen = []
        self.seen = []
        self.externals = {}
        self.losses = []
        self.clients = [self._client() for _ in range(2)] if has_clients else []
        self.issue(amount=40, who=0)

    # What the merchant does.

    @precondition(lambda self: len(self.ids) < INVOICES_MAX)
    @rule(amount=st.integers(10, 60), who=st.integers(0, 1))
    def issue(self, amount, who):
        client = self.clients[who] if self.clients else None
        self.minute += 1

        def work():
            self.shop.enter()
            merchant = db.session.get_one(Merchant, self.shop.id)
            wallet = db.session.scalars(select(Wallet).where(Wallet.merchant_id == self.shop.id)).one()
            draft = make_draft(
                amount=str(from_stroops(amount)), asset=ASSET, expires_in_seconds=LIFETIME * 60
            )
            found = None if client is None else db.session.get_one(Client, client)
            terms = IssueTerms(wallet)
            return invoices.create(
                merchant=merchant, network=NETWORK, draft=draft, client=found, terms=terms, now=self._now()
            ).invoice.id

        name = f"invoice{len(self.ids)}"
        self.ids[name] = run_transaction(work)
        debtor = name if client is None else str(client)
        self.model.invoices[name] = model.Invoice(amount, debtor, self.minute + LIFETIME)

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def cancel(self, data):
        name = self._invoice(data)
        if self.model.status(name) != "PENDING":
            return

        def work():
            return invoices.cancel(merchant_id=self.shop.id, invoice_id=self.ids[name], now=self._now())

        if self.model.received(name) > 0:
            with pytest.raises(InvoiceHasPayments):
                run_transaction(work)
            return
        run_transaction(work)
        self.model.invoices[name].closed = "CANCELLED"

    @rule(minutes=st.sampled_from([1, 30, LIFETIME + 1]))
    def let_time_pass(self, minutes):
        self.minute += minutes
        for name, expected in self.model.invoices.items():
            is_due = self.model.status(name) == "PENDING" and expected.expires < self.minute
            did = run_transaction(
                lambda name=name: invoices.expire(
                    merchant_id=self.shop.id, invoice_id=self.ids[name], now=self._now()
                )
            )
            assert did == is_due, name
            if is_due:
                expected.closed = "EXPIRED"

    # What the chain does.

    @precondition(lambda self: self.ids)
    @rule(
        data=st.data(),
        stroops=st.integers(1, 70),
        kind=st.sampled_from(
            [
                "exact",
                "exact",
                "some",
                "some",
                "nameless",
                "wrong_asset",
                "returned",
                "self",
                "failed",
                "predates",
            ]
        ),
        is_seen_at_once=st.booleans(),
    )
    def pay(self, data, stroops, kind, is_seen_at_once):
        name = self._invoice(data)
        self.minute += 1
        expected = self.model.invoices[name]
        if kind == "exact":
            stroops = max(1, expected.amount - self.model.received(name))
        self.unseen.append((self._transfer(name, stroops, kind), name, stroops, kind, self.minute))
        if is_seen_at_once:
            self._see(len(self.unseen) - 1)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), stroops=st.integers(1, 70), is_exact=st.booleans())
    def pay_honestly(self, data, stroops, is_exact):
        name = self._invoice(data)
        self.minute += 1
        if is_exact:
            stroops = max(1, self.model.invoices[name].amount - self.model.received(name))
        self.unseen.append((self._transfer(name, stroops, "some"), name, stroops, "some", self.minute))
        self._see(len(self.unseen) - 1)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), stroops=st.integers(1, 70))
    def pay_without_a_name(self, data, stroops):
        name = self._invoice(data)
        self.minute += 1
        self.unseen.append(
            (self._transfer(name, stroops, "nameless"), name, stroops, "nameless", self.minute)
        )
        self._see(len(self.unseen) - 1)

    @precondition(lambda self: self.unseen)
    @rule(data=st.data())
    def see_one_that_waits(self, data):
        self._see(data.draw(st.integers(0, len(self.unseen) - 1)))

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def see_one_again(self, data):
        transfer = self.seen[data.draw(st.integers(0, len(self.seen) - 1))]
        assert not self._record(transfer).new_payment_ids

    @precondition(lambda self: self.unseen)
    @rule(data=st.data())
    def crash_while_recording(self, data):
        transfer = self.unseen[data.draw(st.integers(0, len(self.unseen) - 1))][0]

        def work():
            self._recording(transfer)
            raise Crash

        with pytest.raises(Crash):
            run_transaction(work)

    @precondition(lambda self: self._with_state("CONFIRMED", "UNMATCHED", "IGNORED"))
    @rule(data=st.data(), change=st.sampled_from([0, 0, 1]))
    def claw_back(self, data, change):
        chosen = data.draw(st.sampled_from(self._with_state("CONFIRMED", "UNMATCHED", "IGNORED")))
        self.minute += 1
        stroops = self.model.payments[chosen].stroops + change
        undone = self._newest_of(stroops)
        some = next(iter(self.ids))
        debit = Debit(0, self.shop.wallet, ISSUER, ASSET, stroops, "clawback")
        transfer = replace(self._transfer(some, 1, "nameless"), credits=(), debits=(debit,))
        self._record(transfer)
        self.seen.append(transfer)
        if undone is None:
            self.model.lost_to_clawbacks += stroops
            self.losses.append((stroops, self.minute))
            return
        payment = self.model.payments[undone]
        self.model.take_back(payment)

    # What people decide.

    @precondition(lambda self: self.ids and self._with_state("UNMATCHED"))
    @rule(data=st.data())
    def match(self, data):
        chosen = data.draw(st.sampled_from(self._with_state("UNMATCHED")))
        payment = self.model.payments[chosen]
        open_names = [name for name in self.ids if self.model.status(name) != "CANCELLED"]
        if not open_names or payment.home == "never":
            return
        names = data.draw(st.lists(st.sampled_from(open_names), min_size=1, max_size=2, unique=True))
        left = payment.stroops - payment.refunded
        if len(names) > left:
            return
        first = left if len(names) == 1 else data.draw(st.integers(1, left - 1))
        amounts = [first, left - first][: len(names)]
        parts = [
            Part(self.ids[name], from_stroops(amount)) for name, amount in zip(names, amounts, strict=True)
        ]
        decide(
            self.shop,
            decisions.match,
            payment_id=self.payment_ids[chosen],
            parts=parts,
            desk=self._desk(),
        )
        for name, amount in sorted(zip(names, amounts, strict=True), key=lambda each: self.ids[each[0]]):
            allocated = min(amount, self.model.invoices[name].amount - self.model.received(name))
            self.model.invoices[name].fixed += allocated
            self.model.invoices[name].fixed_excess += amount - allocated
            payment.parts[name] = (allocated, amount - allocated)
            self.model.settle()
        payment.state = "CONFIRMED"
        payment.is_settled_by_hand, payment.first = True, names[0]

    @precondition(lambda self: self._matched())
    @rule(data=st.data())
    def unmatch(self, data):
        chosen = data.draw(st.sampled_from(self._matched()))
        payment = self.model.payments[chosen]
        debtors = {self.model.invoices[name].debtor for name in payment.parts}
        before = {debtor: self.model.credit(debtor) for debtor in debtors}
        arguments = {"payment_id": self.payment_ids[chosen], "desk": self._desk()}
        if not payment.moved and not payment.refunded:
            self._take_parts(payment)
            if not self._overdraws(before):
                decide(self.shop, decisions.unmatch, **arguments)
                payment.state, payment.parts, payment.is_settled_by_hand = "UNMATCHED", {}, False
                payment.first = ""
                return
            self._give_parts(payment)
        with pytest.raises(BookedElsewhere):
            decide(self.shop, decisions.unmatch, **arguments)

    @precondition(lambda self: self._with_state("UNMATCHED"))
    @rule(data=st.data())
    def ignore(self, data):
        chosen = data.draw(st.sampled_from(self._with_state("UNMATCHED")))
        payment_id = self.payment_ids[chosen]
        decide(self.shop, decisions.ignore, payment_id=payment_id, note="a gift", desk=self._desk())
        self.model.payments[chosen].state = "IGNORED"
        self.model.payments[chosen].is_ignored_by_hand = True

    @precondition(lambda self: [each for each in self.model.payments.values() if each.is_ignored_by_hand])
    @rule(data=st.data())
    def restore(self, data):
        names = [name for name in self._with_state("IGNORED") if self.model.payments[name].is_ignored_by_hand]
        if names:
            chosen = data.draw(st.sampled_from(names))
            decide(self.shop, decisions.restore, payment_id=self.payment_ids[chosen], desk=self._desk())
            self.model.payments[chosen].state = "UNMATCHED"
            self.model.payments[chosen].is_ignored_by_hand = False

    @precondition(lambda self: self._payable())
    @rule(data=st.data(), share=st.integers(1, 3))
    def record_external(self, data, share):
        name = data.draw(st.sampled_from(self._payable()))
        rest = self.model.invoices[name].amount - self.model.received(name)
        amount = max(1, rest // share)
        row = decide(
            self.shop,
            external.record_external,
            invoice_id=self.ids[name],
            amount=from_stroops(amount),
            method="cash",
            reason="at the counter",
            received_on=NOON.date(),
            desk=self._desk(),
        )
        self.externals[row.id] = (name, amount)
        self.model.invoices[name].fixed += amount
        self.model.invoices[name].external += amount

    @precondition(lambda self: self.externals)
    @rule(data=st.data())
    def undo_external(self, data):
        external_id = data.draw(st.sampled_from(sorted(self.externals)))
        name, amount = self.externals[external_id]
        invoice = self.model.invoices[name]
        before = {invoice.debtor: self.model.credit(invoice.debtor)}
        arguments = {"external_id": external_id, "reason": "a mistake", "desk": self._desk()}
        invoice.fixed -= amount
        if self._overdraws(before):
            invoice.fixed += amount
            with pytest.raises(BookedElsewhere):
                decide(self.shop, external.undo_external, **arguments)
            return
        decide(self.shop, external.undo_external, **arguments)
        del self.externals[external_id]
        invoice.external -= amount

    @precondition(lambda self: self._creditable())
    @rule(data=st.data())
    def apply_credit(self, data):
        name = data.draw(st.sampled_from(self._creditable()))
        expected = self.model.invoices[name]
        amount = min(expected.amount - self.model.received(name), self.model.credit(expected.debtor))
        decide(self.shop, credit.apply_credit, invoice_id=self.ids[name], desk=self._desk())
        expected.fixed += amount
        expected.applied += amount

    @precondition(lambda self: self._movable())
    @rule(data=st.data())
    def move_to_credit(self, data):
        name = data.draw(st.sampled_from(self._movable()))
        expected = self.model.invoices[name]
        arguments = {"invoice_id": self.ids[name], "desk": self._desk()}
        holding = [
            each
            for each in self.model.payments.values()
            if each in self.model.automatic(name)
            or (each.parts.get(name, (0, 0))[0] and name not in each.moved)
        ]
        if expected.external or any(each.refunded and each.state == "CONFIRMED" for each in holding):
            with pytest.raises((credit.InvoiceHasExternalPayments, BookedElsewhere)):
                decide(self.shop, credit.move_to_credit, **arguments)
            return
        decide(self.shop, credit.move_to_credit, **arguments)
        for payment in self.model.automatic(name):
            payment.moved[name] = payment.stroops
            payment.is_settled_by_hand = True
        for payment in self.model.payments.values():
            if (
                payment.state == "CONFIRMED"
                and payment.parts.get(name, (0, 0))[0]
                and name not in payment.moved
            ):
                payment.moved[name] = payment.parts[name][0]
        expected.fixed = expected.applied = 0

    @precondition(lambda self: self._refundable())
    @rule(data=st.data(), share=st.integers(1, 3))
    def refund(self, data, share):
        chosen = data.draw(st.sampled_from(self._refundable()))
        payment = self.model.payments[chosen]
        amount = max(1, (payment.stroops - payment.refunded) // share)
        self.minute += 1
        given = {"desk": self._desk(), "payment_id": self.payment_ids[chosen]}
        made = decide(
            self.shop, refunds.create, amount=from_stroops(amount), reason="sent twice", memo=Memo(), **given
        )
        some = next(iter(self.ids))
        transfer = self._transfer(some, amount, "nameless")
        back = replace(transfer.credits[0], source=self.shop.wallet, destination=made.destination)
        sent = replace(transfer, credits=(back,))
        outcome = decide(self.shop, refunds.settle, refund_id=made.id, transaction=sent, desk=self._desk())
        assert outcome.is_new, outcome
        self.model.refund(payment, amount)

    # What must hold after every step.

    @invariant()
    def the_portal_agrees_with_the_model(self):
        if not hasattr(self, "model"):
            return
        self.model.settle()
        db.session.expire_all()
        self.shop.enter()
        for name, invoice_id in self.ids.items():
            invoice = db.session.get_one(Invoice, invoice_id)
            found = (
                invoice.status,
                to_stroops(invoice.amount_received),
                to_stroops(invoice.overpaid_by),
                "reversed" in invoice.flags,
                "late" in invoice.flags,
                "short" in invoice.flags,
            )
            assert found == (
                self.model.status(name),
                self.model.received(name),
                self.model.overpaid(name),
                self.model.is_reversed(name),
                self.model.late(name),
                self.model.shares(name)[2] > 0,
            ), (name, self.model.invoices[name])
        rows = db.session.execute(
            select(Payment.id, Payment.status).where(
                Payment.merchant_id == self.shop.id, Payment.asset == ASSET
            )
        ).all()
        states = {row.id: row.status for row in rows}
        expected = {self.payment_ids[name]: each.state for name, each in self.model.payments.items()}
        assert {each for each, status in states.items() if status != "IGNORED"} <= set(expected)
        assert {each: states[each] for each in expected} == expected
        booked = {kind: to_stroops(amount) for kind, amount in balances(self.shop, ASSET).items()}
        assert booked == self.model.balances()

    def teardown(self):
        if not hasattr(self, "model"):
            return
        assert broken_invariants() == []
        assert [found for step in verify_ledger() for found in step.differences] == []
        relay = Relay(consumers=("mirror",))
        while relay.run_once(datetime.now(UTC)):
            pass
        compared = check_mirror(now=datetime.now(UTC))
        assert (compared.waiting, compared.differences) == (0, ())

    # How.

    def _now(self):
        return NOON + timedelta(minutes=self.minute)

    def _desk(self):
        from portal.domain.payments.booking import Desk

        return Desk(self.shop.id, NETWORK, self._now())

    def _client(self):
        def add():
            self.shop.enter()
            client = Client(merchant_id=self.shop.id, name="Rina")
            db.session.add(client)
            db.session.flush()
            return client.id

        return run_transaction(add)

    def _invoice(self, data):
        return data.draw(st.sampled_from(list(self.ids)))

    def _payable(self):
        return [
            name
            for name, each in self.model.invoices.items()
            if self.model.status(name) != "CANCELLED" and self.model.received(name) < each.amount
        ]

    def _creditable(self):
        return [name for name in self._payable() if self.model.credit(self.model.invoices[name].debtor) > 0]

    def _movable(self):
        return [
            name
            for name in self.ids
            if self.model.status(name) in {"PENDING", "EXPIRED"} and self.model.received(name) > 0
        ]

    def _with_state(self, *states):
        return [name for name, each in self.model.payments.items() if each.state in states]

    def _refundable(self):
        return [
            name
            for name in self._with_state("CONFIRMED", "UNMATCHED")
            if self.model.payments[name].refunded < self.model.payments[name].stroops
            and self.model.payments[name].home != "never"
        ]

    def _matched(self):
        return [name for name in self._with_state("CONFIRMED") if self.model.payments[name].parts]

    def _overdraws(self, before):
        """Say whether a debtor's credit sank below zero: what would fill the gap was spent since."""
        return any(self.model.credit(debtor) < min(held, 0) for debtor, held in before.items())

    def _give_parts(self, payment):
        for name, (allocated, excess) in payment.parts.items():
            self.model.invoices[name].fixed += allocated
            self.model.invoices[name].fixed_excess += excess

    def _take_parts(self, payment):
        for name, (allocated, excess) in payment.parts.items():
            if name not in payment.moved:
                self.model.invoices[name].fixed -= allocated
            self.model.invoices[name].fixed_excess -= excess

    def _newest_of(self, stroops):
        fitting = [
            name
            for name in self._with_state("CONFIRMED", "UNMATCHED", "IGNORED")
            if self.model.payments[name].stroops == stroops and not self.model.payments[name].refunded
        ]
        return max(fitting, key=lambda name: self.model.payments[name].closed, default=None)

    def _transfer(self, name, stroops, kind):
        shop_invoice = db.session.get_one(Invoice, self.ids[name])
        changes = {"ledger": 1_000 + self.minute, "closed_at": self._now()}
        if kind == "nameless":
            changes |= {"memo_type": "none", "memo": None}
        if kind == "failed":
            changes["successful"] = False
        if kind == "predates":
            changes["closed_at"] = shop_invoice.issued_at - timedelta(minutes=2)
        transfer = make_transfer(shop_invoice, amount=str(from_stroops(stroops)), **changes)
        (paid,) = transfer.credits
        if kind == "wrong_asset":
            return replace(transfer, credits=(replace(paid, asset="native"),))
        if kind == "returned":
            return replace(transfer, debits=(Debit(1, self.shop.wallet, None, ASSET, stroops, "payment"),))
        if kind == "self":
            return replace(transfer, credits=(replace(paid, source=self.shop.wallet),))
        return transfer

    def _recording(self, transfer):
        self.shop.enter()
        merchant = db.session.get_one(Merchant, self.shop.id)
        return service.record_transaction(
            merchant=merchant, network=NETWORK, transaction=transfer, now=self._now()
        )

    def _record(self, transfer):
        return run_transaction(lambda: self._recording(transfer))

    def _see(self, place):
        transfer, name, stroops, kind, closed = self.unseen.pop(place)
        recorded = self._record(transfer)
        self.seen.append(transfer)
        if kind in {"failed", "self", "wrong_asset"}:
            # Another asset is booked apart from the model's; what paid itself is not booked at all.
            return
        is_credited = kind in {"exact", "some"} and self.model.status(name) != "CANCELLED"
        key = f"payment{len(self.payment_ids)}"
        (self.payment_ids[key],) = recorded.new_payment_ids
        self.model.payments[key] = model.Payment(
            stroops,
            closed,
            "CONFIRMED" if is_credited else "UNMATCHED",
            home=name if is_credited else "never" if kind == "returned" else "",
        )
        self.model.settle()
        undone = [loss for loss in self.losses if loss[0] == stroops and loss[1] >= closed]
        if undone:
            # The clawback of just this payment was seen before it.
            self.losses.remove(undone[0])
            self.model.lost_to_clawbacks -= stroops
            self.model.take_back(self.model.payments[key])


def live(examples, steps):
    run_state_machine_as_test(
        MoneyMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            # A life takes seconds, so a failing one is shown as it is instead of being shrunk for minutes.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_invoices_balances_and_mirror_follow_a_small_model(desk):
    live(examples=8, steps=25)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_invoices_balances_and_mirror_follow_a_small_model_for_long(desk):
    live(examples=150, steps=60)
