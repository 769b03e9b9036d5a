"""Every night each merchant's books are verified once, by one process, and what was found is kept."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from portal.db import leave_tenant, run_transaction
from portal.domain.ledger import checks
from portal.domain.ledger.models import BookCheck
from portal.domain.merchants.models import Merchant
from portal.domain.payments.models import Payment
from portal.extensions import db
from portal.kernel.refs import to_ref
from portal.workers import check_books, sweep
from portal.workers.leading import Leadership
from tests.support.builders import NETWORK, NOON, make_invoice, make_shop, make_transfer
from tests.support.money import record

TONIGHT = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)


@pytest.fixture
def shop(as_worker):
    """A shop with a payment, whose books alone are due."""
    shop = make_shop()
    record(shop, make_transfer(make_invoice(shop)))
    leave_tenant()
    others = update(Merchant).where(Merchant.id != shop.id).values(created_at=TONIGHT + timedelta(days=999))
    run_transaction(lambda: db.session.execute(others))
    return shop


def looks(shop):
    statement = select(BookCheck).where(BookCheck.merchant_id == shop.id).order_by(BookCheck.checked_at)
    return db.session.scalars(statement).all()


class TestRound:
    def test_keeps_what_it_counted_and_looks_once_a_night(self, shop):
        did = [check_books.run_once(TONIGHT + timedelta(minutes=each), network=NETWORK) for each in range(3)]

        [look] = looks(shop)
        assert did == [1, 0, 0]
        assert (look.invoices, look.payments, look.accounts, look.differences) == (1, 1, 3, [])
        assert check_books.run_once(TONIGHT + timedelta(days=1), network=NETWORK) == 1

    def test_waits_for_the_night_after_the_merchant_came(self, shop):
        assert check_books.run_once(NOON.replace(hour=13), network=NETWORK) == 0

    def test_keeps_and_tells_the_differences(self, shop, capsys):
        payment_id = db.session.scalars(select(Payment.id).where(Payment.merchant_id == shop.id)).one()
        with_refund = update(Payment).where(Payment.id == payment_id).values(reason="self_payment")
        run_transaction(lambda: db.session.execute(with_refund))

        check_books.run_once(TONIGHT, network=NETWORK)

        [look] = looks(shop)
        assert [each["figure"] for each in look.differences] == ["wallet balance"]
        assert "books_differ" in capsys.readouterr().out

    def test_that_breaks_off_is_a_finding_and_stops_nobody(self, shop):
        payment = update(Payment).where(Payment.merchant_id == shop.id)
        bad = {"action": "match", "parts": [{"invoice": to_ref("inv", uuid4())}], "reason": None}
        run_transaction(lambda: db.session.execute(payment.values(decision=bad, decided_at=NOON)))

        assert check_books.run_once(TONIGHT, network=NETWORK) == 1

        [look] = looks(shop)
        assert look.differences != []

    def test_leaves_the_work_to_the_process_that_leads(self, shop, worker_app):
        held, done = threading.Event(), threading.Event()

        def lead():
            with worker_app.app_context():
                leadership = Leadership(f"books/{NETWORK}")
                assert leadership.is_held()
                held.set()
                done.wait(10)
                leadership.resign()

        other = threading.Thread(target=lead)
        other.start()
        held.wait(10)
        assert check_books.run_once(TONIGHT, network=NETWORK) == 0
        done.set()
        other.join()
        assert check_books.run_once(TONIGHT, network=NETWORK) == 1


class TestNight:
    @pytest.mark.parametrize(
        ("now", "night"),
        [
            (datetime(2026, 11, 22, 2, 0, tzinfo=UTC), datetime(2026, 11, 22, 2, tzinfo=UTC)),
            (datetime(2026, 11, 22, 1, 59, tzinfo=UTC), datetime(2026, 11, 21, 2, tzinfo=UTC)),
            (datetime(2026, 11, 22, 23, 0, tzinfo=UTC), datetime(2026, 11, 22, 2, tzinfo=UTC)),
        ],
    )
    def test_begins_at_two(self, now, night):
        assert checks.night_before(now) == night

    def test_is_forgotten_after_ninety_days(self, shop):
        check_books.run_once(TONIGHT, network=NETWORK)
        count = select(func.count()).select_from(BookCheck).where(BookCheck.merchant_id == shop.id)

        sweep.run_once(TONIGHT + timedelta(days=90), network=NETWORK)
        kept = db.session.scalar(count)
        db.session.rollback()
        sweep.run_once(TONIGHT + timedelta(days=91), network=NETWORK)

        assert (kept, db.session.scalar(count)) == (1, 0)
