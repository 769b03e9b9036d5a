"""With a second source money is booked once both have it: what waits is parked, holds back nobody, is never lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from stellar_sdk import Asset, IdMemo, Keypair, Payment

from config import SANDBOX_PASSPHRASE, Config
from portal.app import create_app
from portal.db import leave_tenant
from portal.domain.invoices.models import Invoice
from portal.domain.payments.models import Submission, WatchFailure
from portal.domain.payments.submissions import LEASE_SECONDS
from portal.extensions import db
from portal.flows.submit_hash import LOOK_UP_SECONDS, submit_hash
from portal.workers import verify_submissions
from portal.workers.watch_payments import Watcher
from tests.cases.served import Served, page, serving
from tests.cases.signing import Signed, sign
from tests.support.builders import NETWORK, make_invoice, make_shop

PAYER = Keypair.random()
AWAY = (503, {}, {"status": 503})


@pytest.fixture
def sources() -> Iterator[tuple[Served, Served]]:
    with serving() as first, serving() as second:
        for each in (first, second):
            each.add("/", {"network_passphrase": SANDBOX_PASSPHRASE, "history_latest_ledger": 9})
        yield first, second


@pytest.fixture
def confirmed(desk, sources) -> Iterator[None]:
    """The worker's app with both sources, entered; 50 units need no second opinion."""
    first, second = sources
    changes = {
        "HORIZON_URL": first.url, "HORIZON_SECOND_URL": second.url, "HORIZON_SECOND_ABOVE": "50",
    }  # fmt: skip
    app = create_app(Config.checked("worker", desk.environment | changes))
    with app.app_context():
        yield
        leave_tenant()
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    made = Watcher(network=NETWORK, mode="accounts")
    yield made
    made.close()


def now() -> datetime:
    return datetime.now(UTC)


def pay(invoice: Invoice, ledger: int, amount: str = "90") -> Signed:
    paid = Payment(invoice.destination, Asset.native(), amount)
    return sign(
        [paid], payer=PAYER, memo=IdMemo(invoice.pay_ref), passphrase=SANDBOX_PASSPHRASE, ledger=ledger,
        closed_at=now(),
    )  # fmt: skip


def close_ledgers(served: Served, wallet: str, *paid: Signed) -> None:
    """Let a source list and find these payments."""
    rows = [{**signed.operations[0], "transaction": signed.record} for signed in paid]

    def listed(query: dict[str, str]) -> dict[str, Any]:
        after = [row for row in rows if int(row["paging_token"]) > int(query.get("cursor", "0"))]
        return page(after[::-1] if query["order"] == "desc" else after)

    served.add(f"/accounts/{wallet}/payments", listed)
    served.add("/payments", listed)
    for signed in paid:
        signed.serve(served)


def status_of(invoice: Invoice) -> str:
    db.session.rollback()
    return db.session.scalar(select(Invoice.status).where(Invoice.id == invoice.id))


def parked() -> list[WatchFailure]:
    db.session.rollback()
    return list(db.session.scalars(select(WatchFailure).where(WatchFailure.resolved_at.is_(None))))


def test_money_is_parked_until_the_second_source_has_it(confirmed, sources, watcher):
    first, second = sources
    shop = make_shop()
    early, late = make_invoice(shop, now=now()), make_invoice(shop, now=now())
    unknown, known = pay(early, 7), pay(late, 8)
    close_ledgers(first, shop.wallet, unknown, known)
    known.serve(second)

    new = watcher.run_once(now())
    waiting = (status_of(early), status_of(late), [each.error for each in parked()])
    unknown.serve(second)
    later = watcher.run_once(now() + timedelta(minutes=2))
    again = watcher.run_once(now() + timedelta(minutes=4))

    assert new == 1
    assert waiting == ("PENDING", "PAID", ["the second source does not have this transaction"])
    assert (later, again) == (1, 0)
    assert status_of(early) == "PAID"
    assert parked() == []


def test_what_the_second_never_has_holds_back_nothing_parked_behind_it(confirmed, sources, watcher):
    first, second = sources
    shop = make_shop()
    never, soon = make_invoice(shop, now=now()), make_invoice(shop, now=now())
    invented, true = pay(never, 7), pay(soon, 8)
    close_ledgers(first, shop.wallet, invented, true)
    watcher.run_once(now())

    true.serve(second)
    watcher.run_once(now() + timedelta(minutes=2))

    assert (status_of(never), status_of(soon)) == ("PENDING", "PAID")
    assert [each.transaction_hash for each in parked()] == [invented.hash]
    assert parked()[0].attempts == 2


def test_a_second_source_that_is_away_loses_nothing_and_books_nothing(confirmed, sources, watcher):
    _, second = sources
    shop = make_shop()
    invoice = make_invoice(shop, now=now())
    paid = pay(invoice, 7)
    for each in sources:
        close_ledgers(each, shop.wallet, paid)
    second.spoil = lambda *_: AWAY

    new = watcher.run_once(now())
    still = watcher.run_once(now() + timedelta(minutes=2))
    before = status_of(invoice)
    second.spoil = None
    recovered = watcher.run_once(now() + timedelta(minutes=2))

    assert (new, still, before) == (0, 0, "PENDING")
    assert recovered == 1
    assert status_of(invoice) == "PAID"


def test_small_money_waits_for_nobody(confirmed, sources, watcher):
    first, second = sources
    shop = make_shop()
    invoice = make_invoice(shop, now=now(), amount="50")
    close_ledgers(first, shop.wallet, pay(invoice, 7, amount="50"))

    assert watcher.run_once(now()) == 1
    assert status_of(invoice) == "PAID"
    assert second.requests == []


def test_a_pasted_hash_waits_for_the_second_source_as_well(confirmed, sources):
    first, second = sources
    shop = make_shop()
    invoice = make_invoice(shop, now=now())
    paid = pay(invoice, 7)
    paid.serve(first)
    claim = {
        "merchant_id": shop.id, "network": NETWORK, "invoice_id": invoice.id, "origin": "page",
        "text": paid.hash,
    }  # fmt: skip

    early = submit_hash(**claim, now=now()).status
    disagreeing = {**paid.record, "ledger": 8}
    paid.serve(second)
    second.add(f"/transactions/{paid.hash}", disagreeing)
    contradicted = submit_hash(**claim, now=now()).status
    paid.serve(second)
    confirmed_at_last = submit_hash(**claim, now=now()).status

    assert (early, contradicted, confirmed_at_last) == (202, 202, 201)
    assert status_of(invoice) == "PAID"


def test_a_batch_of_look_ups_ends_within_its_lease(confirmed):
    invoice = make_invoice(make_shop(), now=now())
    made_at = now()
    for number in range(verify_submissions.BATCH + 2):
        submit_hash(
            merchant_id=invoice.merchant_id, network=NETWORK, invoice_id=invoice.id, origin="page",
            text=f"{number:064x}", now=made_at,
        )  # fmt: skip

    looked = [verify_submissions.run_once(made_at + timedelta(minutes=1), network=NETWORK) for _ in range(3)]

    assert looked == [verify_submissions.BATCH, 2, 0]
    assert looked[0] * LOOK_UP_SECONDS < LEASE_SECONDS
    db.session.rollback()
    assert set(db.session.scalars(select(Submission.state))) == {"CHECKING"}
