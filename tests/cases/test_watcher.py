"""Every case of what may happen on the chain, found by the watcher, has the verdict that a claim of it has."""

import pytest
from sqlalchemy import select

from portal.domain.invoices.models import Invoice
from portal.domain.payments.models import WatchFailure
from portal.extensions import db
from tests.cases.play import look, watch
from tests.cases.scene import Scene
from tests.cases.table import HONEST, HOSTILE, Terms
from tests.cases.test_entries import CASES, a_part_of, each

SEEN = [case for case in CASES if case.is_seen]


@each(SEEN)
def test_by_the_stream_of_the_network(case, watched):
    watch(case, watched, "network")


@a_part_of([case for case in SEEN if case.name in {*HOSTILE, *HONEST}], 2)
def test_by_the_list_of_the_wallet(case, watched):
    watch(case, watched, "accounts")


@pytest.mark.long
@each([case for case in SEEN if case.name not in {*HOSTILE, *HONEST}])
def test_by_the_list_of_the_wallet_while_answers_are_unusable(case, watched):
    watch(case, watched, "accounts")


def status_of(stage, bill) -> str:
    with stage.app.app_context():
        bill.owner.shop.enter()
        return db.session.get_one(Invoice, bill.id).status


def test_both_merchants_of_one_transaction_get_what_is_theirs(watched):
    scene = Scene(watched, Terms())
    theirs = scene.another_bill(rival=True)
    watched.listing.show(
        scene.sign(
            scene.send(to=scene.muxed(theirs.pay_ref, theirs.destination)),
            scene.send(to=scene.muxed(scene.ref)),
            memo=None,
        )
    )

    look(watched, "network")

    assert [status_of(watched, bill) for bill in (scene.bill, theirs)] == ["PAID", "PAID"]


@pytest.mark.parametrize("mode", ["accounts", "network"])
@pytest.mark.parametrize(
    "name",
    ["cd" * 32, "ab\0cd", "\ud800", "x" * 100_000, "", "../accounts"],
    ids=lambda name: ascii(name)[:9],
)
def test_a_record_under_a_false_hash_is_parked_and_stops_nobody(watched, mode, name):
    scene = Scene(watched, Terms())
    good = scene.another_bill()
    hidden = scene.pay()
    watched.listing.show(hidden, hidden.edited(transaction_hash=name))
    watched.listing.show(scene.sign(scene.send(to=scene.muxed(good.pay_ref)), memo=None))

    look(watched, mode)

    assert [status_of(watched, bill) for bill in (scene.bill, good)] == ["PENDING", "PAID"]
    with watched.app.app_context():
        parked = select(WatchFailure).where(WatchFailure.transaction_hash == ascii(name)[1:-1][:80])
        assert db.session.scalars(parked).first().resolved_at is None
