"""Invoices through their service: each write works, refuses, stays unseen by strangers, is safe twice."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select

from portal.db import enter_tenant, run_transaction
from portal.domain.events.models import Event, OutboxEntry
from portal.domain.invoices import queries, service
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.rules import TransitionRefused
from portal.domain.ledger import queries as books
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.payments import service as payments
from portal.extensions import db
from portal.kernel.refs import to_ref
from portal.kernel.tokens import pay_ref_is_valid
from tests.support.builders import NETWORK, NOON, make_draft, make_invoice, make_shop, make_transfer


@pytest.fixture
def shop(as_web):
    return make_shop()


def terms_of(shop):
    wallet = db.session.scalars(select(Wallet).where(Wallet.merchant_id == shop.id)).one()
    return service.IssueTerms(wallet)


def issue(shop, invoice, *, now=NOON):
    def work():
        merchant = db.session.get_one(Merchant, shop.id)
        return service.issue(merchant=merchant, invoice_id=invoice.id, terms=terms_of(shop), now=now)

    return run_transaction(work).invoice


def cancel(shop, invoice):
    return run_transaction(
        lambda: service.cancel(merchant_id=shop.id, invoice_id=invoice.id, now=NOON)
    ).invoice


def pay(shop, invoice, **transfer):
    def work():
        merchant = db.session.get_one(Merchant, shop.id)
        return payments.record_transaction(
            merchant=merchant, network=NETWORK, transaction=make_transfer(invoice, **transfer), now=NOON
        )

    return run_transaction(work)


def event_types(shop, invoice):
    events = queries.timeline(merchant_id=shop.id, aggregate_ids=[invoice.id])
    return [event.type for event in reversed(events)]


def balances(shop):
    return {
        line.kind: line.balance for line in books.list_trial_balance(merchant_id=shop.id, network=NETWORK)
    }


class TestIssue:
    def test_gives_number_reference_and_destination_and_books_the_receivable(self, shop):
        draft = make_invoice(shop, issue=False, amount="90")

        invoice = issue(shop, draft)

        assert invoice.status == "PENDING"
        assert invoice.number == "INV-2026-11-0001"
        assert pay_ref_is_valid(invoice.pay_ref)
        assert invoice.destination == shop.wallet
        assert invoice.expires_at == NOON + timedelta(days=7)
        assert balances(shop) == {"receivable": 90, "income": -90}
        assert event_types(shop, invoice) == ["invoice.created", "invoice.issued"]

    def test_refuses_a_second_time_and_leaves_the_number_alone(self, shop):
        invoice = make_invoice(shop)

        with pytest.raises(service.InvoiceNotDraft):
            issue(shop, invoice)

        assert make_invoice(shop).number == "INV-2026-11-0002"

    def test_is_invisible_to_another_merchant(self, shop):
        invoice = make_invoice(shop, issue=False)
        stranger = make_shop()
        stranger.enter()

        with pytest.raises(queries.InvoiceNotFound):
            service.issue(
                merchant=db.session.get_one(Merchant, stranger.id),
                invoice_id=invoice.id,
                terms=terms_of(stranger),
                now=NOON,
            )

    def test_writes_one_outbox_row_for_each_consumer(self, shop, as_web):
        invoice = make_invoice(shop)
        rows = db.session.execute(
            select(OutboxEntry.consumer).join(Event, Event.id == OutboxEntry.event_id)
            .where(Event.aggregate_id == invoice.id)
        )  # fmt: skip

        assert sorted(rows.scalars()) == ["cache", "feed", "mirror"]


class TestDrafts:
    def test_can_be_replaced_whole(self, shop):
        invoice = make_invoice(shop, issue=False, amount="90")

        written = run_transaction(
            lambda: service.update_draft(
                merchant=db.session.get_one(Merchant, shop.id), invoice_id=invoice.id,
                draft=make_draft(amount="12.5"), client=None, now=NOON,
            )
        )  # fmt: skip

        assert written.document["amount"] == "12.5000000"
        assert [line["unit_price"] for line in written.document["items"]] == ["12.5000000"]

    def test_can_be_deleted_but_an_issued_invoice_cannot(self, shop):
        draft, issued = make_invoice(shop, issue=False), make_invoice(shop)

        run_transaction(lambda: service.delete_draft(merchant_id=shop.id, invoice_id=draft.id, now=NOON))
        with pytest.raises(service.InvoiceNotDraft):
            service.delete_draft(merchant_id=shop.id, invoice_id=issued.id, now=NOON)

        assert db.session.scalars(select(Invoice.id).where(Invoice.id == draft.id)).first() is None

    def test_a_duplicate_is_a_new_draft_that_says_the_same(self, shop):
        original = make_invoice(shop, external_id="order-7", due_at=NOON)

        copy = run_transaction(
            lambda: service.duplicate(
                merchant=db.session.get_one(Merchant, shop.id), network=NETWORK, invoice_id=original.id,
                client=None, now=NOON,
            )
        ).invoice  # fmt: skip

        assert (copy.status, copy.amount, copy.description) == (
            "DRAFT",
            original.amount,
            original.description,
        )
        assert (copy.external_id, copy.due_at, copy.number) == (None, None, None)
        assert copy.token != original.token


class TestCancel:
    def test_keeps_the_number_and_writes_the_receivable_off(self, shop):
        invoice = cancel(shop, make_invoice(shop))

        assert (invoice.status, invoice.number) == ("CANCELLED", "INV-2026-11-0001")
        assert balances(shop) == {"receivable": 0, "income": -90, "write_off": 90}

    def test_is_refused_while_money_is_allocated(self, shop):
        invoice = make_invoice(shop)
        pay(shop, invoice, amount="60")

        with pytest.raises(service.InvoiceHasPayments):
            cancel(shop, invoice)

    @pytest.mark.parametrize("issued", [True, False])
    def test_is_refused_unless_pending(self, shop, issued):
        invoice = make_invoice(shop, issue=issued)
        if issued:
            cancel(shop, invoice)

        with pytest.raises(TransitionRefused):
            cancel(shop, invoice)


class TestExpire:
    def test_closes_a_pending_invoice_once_its_time_is_over(self, shop):
        invoice = make_invoice(shop)
        later = invoice.expires_at + timedelta(seconds=1)

        done = [
            run_transaction(partial(service.expire, merchant_id=shop.id, invoice_id=invoice.id, now=at))
            for at in (NOON, later, later)
        ]

        assert done == [False, True, False]
        assert event_types(shop, invoice) == ["invoice.issued", "invoice.expired"]

    def test_late_money_revives_it_and_the_books_agree(self, shop):
        invoice = make_invoice(shop)
        over = invoice.expires_at + timedelta(minutes=1)
        run_transaction(lambda: service.expire(merchant_id=shop.id, invoice_id=invoice.id, now=over))

        pay(shop, invoice, amount="40", closed_at=over)
        db.session.expire_all()
        half = (invoice.status, invoice.amount_received, balances(shop))
        pay(shop, invoice, amount="50", closed_at=over)
        db.session.expire_all()

        assert half == ("EXPIRED", 40, {"wallet": 40, "receivable": 0, "income": -90, "write_off": 50})
        assert (invoice.status, sorted(invoice.flags)) == ("PAID", ["late"])
        assert balances(shop) == {"wallet": 90, "receivable": 0, "income": -90, "write_off": 0}


class TestLists:
    def test_pages_by_place_reach_every_invoice_once_in_both_directions(self, shop):
        made = [make_invoice(shop, now=NOON + timedelta(seconds=second // 2)).id for second in range(7)]

        forward, after = [], None
        while True:
            page = queries.list_page(
                merchant_id=shop.id, network=NETWORK, filters=queries.Filters(), after=after, limit=3
            )
            forward.append([invoice.id for invoice in page.invoices])
            if page.next_after is None:
                break
            after = page.next_after
        first = page.invoices[0]
        back = queries.list_page(
            merchant_id=shop.id,
            network=NETWORK,
            filters=queries.Filters(),
            before=(first.created_at, first.id),
            limit=3,
        )

        assert sorted(each for found in forward for each in found) == sorted(made)
        assert [invoice.id for invoice in back.invoices] == forward[1]

    @pytest.mark.parametrize(
        ("needle", "found"),
        [
            ("barista", 1),
            ("BARISTA  class", 1),
            ("inv-2026", 1),
            ("%%%", 0),
            ("ba", 0),
            ("___", 0),
            ("nothing", 0),
        ],
    )
    def test_search_finds_words_as_they_are(self, shop, needle, found):
        make_invoice(shop)
        make_invoice(make_shop())
        shop.enter()

        page = queries.list_page(merchant_id=shop.id, network=NETWORK, filters=queries.Filters(text=needle))

        assert len(page.invoices) == found

    def test_the_reference_is_found_by_its_digits(self, shop):
        invoice = make_invoice(shop)

        page = queries.list_page(
            merchant_id=shop.id, network=NETWORK, filters=queries.Filters(text=str(invoice.pay_ref)[2:9])
        )

        assert [found.id for found in page.invoices] == [invoice.id]


def test_a_checkout_token_leads_to_its_invoice_before_any_tenant_is_known(shop):
    invoice = make_invoice(shop)
    enter_tenant()

    found = queries.resolve_checkout(invoice.token)
    unknown = queries.resolve_checkout("x" * 27)

    assert found == (shop.id, invoice.id)
    assert unknown is None


def test_the_public_json_holds_refs_and_strings_and_no_internal_id(shop):
    invoice = make_invoice(shop)
    event = queries.timeline(merchant_id=shop.id, aggregate_ids=[invoice.id])[0]

    assert event.payload["id"] == to_ref("inv", invoice.id)
    assert event.payload["pay_to"]["memo"] == str(invoice.pay_ref)
    assert str(invoice.id) not in str(event.payload)
    assert str(shop.id) not in str(event.payload)
