"""Clients through their service, as portal_web with row-level security on."""

from uuid import uuid4

import pytest

from portal.db import run_transaction
from portal.domain.clients import queries, rules, service
from portal.domain.events.models import Event
from portal.extensions import db
from portal.kernel.refs import to_ref
from tests.support.builders import NOON, make_shop

pytestmark = pytest.mark.usefixtures("as_web")


@pytest.fixture
def shop(as_web):
    shop = make_shop()
    shop.enter()
    return shop


def make_client(shop, **fields):
    details = rules.details(**{"name": "Rina Hartono", "email": "rina@kopi.example", **fields})
    shop.enter()
    return run_transaction(lambda: service.create(merchant_id=shop.id, details=details, now=NOON))


def events_of(client):
    found = (
        db.select(Event.type, Event.version).where(Event.aggregate_id == client.id).order_by(Event.version)
    )
    return [tuple(row) for row in db.session.execute(found)]


class TestCreate:
    def test_writes_the_client_and_announces_it(self, shop):
        client = make_client(shop, company=" PT  Melati ")

        assert queries.get(merchant_id=shop.id, client_id=client.id).company == "PT Melati"
        assert events_of(client) == [("client.created", 1)]

    def test_refuses_an_address_that_another_client_has_whatever_its_case(self, shop):
        known = make_client(shop)

        with pytest.raises(service.ClientExists) as refusal:
            make_client(shop, name="Somebody else", email="RINA@Kopi.Example")

        assert refusal.value.existing_ref == to_ref("cli", known.id)
        assert refusal.value.pointer == "/email"

    def test_lets_two_merchants_know_the_same_person(self, shop):
        make_client(shop)

        assert make_client(make_shop()).email == "rina@kopi.example"

    def test_lets_many_clients_have_no_address(self, shop):
        make_client(shop, email=None)

        assert make_client(shop, name="Another", email="  ").email is None


class TestUpdate:
    def test_replaces_what_is_written(self, shop):
        client = make_client(shop)
        details = rules.details(name="Rina H.", email="rina@new.example", terms_days=14)

        run_transaction(
            lambda: service.update(merchant_id=shop.id, client_id=client.id, details=details, now=NOON)
        )

        assert queries.get(merchant_id=shop.id, client_id=client.id).terms_days == 14
        assert events_of(client) == [("client.created", 1), ("client.updated", 2)]

    def test_refuses_the_address_of_another_client(self, shop):
        make_client(shop)
        other = make_client(shop, name="Bayu", email="bayu@kopi.example")
        details = rules.details(name="Bayu", email="rina@kopi.example")

        with pytest.raises(service.ClientExists):
            run_transaction(
                lambda: service.update(merchant_id=shop.id, client_id=other.id, details=details, now=NOON)
            )

        assert queries.get(merchant_id=shop.id, client_id=other.id).email == "bayu@kopi.example"

    def test_does_not_reach_another_merchants_client(self, shop):
        client = make_client(shop)
        stranger = make_shop()
        stranger.enter()

        with pytest.raises(queries.ClientNotFound):
            run_transaction(
                lambda: service.update(
                    merchant_id=stranger.id, client_id=client.id, details=rules.details(name="x"), now=NOON
                )
            )


class TestArchive:
    def test_takes_the_client_out_of_lists_and_is_safe_twice(self, shop):
        client = make_client(shop)

        for _ in range(2):
            run_transaction(lambda: service.archive(merchant_id=shop.id, client_id=client.id, now=NOON))

        assert queries.list_page(merchant_id=shop.id).clients == []
        assert [each.id for each in queries.list_page(merchant_id=shop.id, archived=True).clients] == [
            client.id
        ]
        assert events_of(client) == [("client.created", 1), ("client.archived", 2)]

    def test_is_undone_by_restore(self, shop):
        client = make_client(shop)
        run_transaction(lambda: service.archive(merchant_id=shop.id, client_id=client.id, now=NOON))

        run_transaction(lambda: service.restore(merchant_id=shop.id, client_id=client.id, now=NOON))

        assert [each.id for each in queries.list_choices(merchant_id=shop.id)] == [client.id]

    def test_refuses_an_unknown_client(self, shop):
        with pytest.raises(queries.ClientNotFound):
            service.archive(merchant_id=shop.id, client_id=uuid4(), now=NOON)


class TestSearch:
    @pytest.mark.parametrize("needle", ["hart", "RINA", "kopi.example", "pt mel", "rina  hartono"])
    def test_finds_by_name_address_and_company(self, shop, needle):
        make_client(shop, company="PT Melati")
        make_client(shop, name="Bayu", email="bayu@other.example")

        found = queries.list_page(merchant_id=shop.id, text=needle).clients

        assert [each.name for each in found] == ["Rina Hartono"]

    @pytest.mark.parametrize("needle", ["ri", "%%%", "___", "zzz", "\\\\\\"])
    def test_takes_wildcards_for_what_they_are_and_ignores_short_texts(self, shop, needle):
        make_client(shop)

        assert queries.list_page(merchant_id=shop.id, text=needle).clients == []

    def test_stays_inside_the_merchant(self, shop):
        make_client(shop)
        stranger = make_shop()
        stranger.enter()

        assert queries.list_page(merchant_id=stranger.id, text="rina").clients == []
        assert queries.find_by_email(merchant_id=stranger.id, email="rina@kopi.example") is None


class TestPages:
    def test_walk_back_and_forth_without_losing_or_doubling_anybody(self, shop):
        for letter in "abcde":
            make_client(shop, name=f"Client {letter}", email=None)

        first = queries.list_page(merchant_id=shop.id, limit=2)
        second = queries.list_page(merchant_id=shop.id, limit=2, after=first.next_after)
        place = (second.clients[0].created_at, second.clients[0].id)
        back = queries.list_page(merchant_id=shop.id, limit=2, before=place)

        assert [each.name for each in first.clients] == ["Client e", "Client d"]
        assert [each.name for each in second.clients] == ["Client c", "Client b"]
        assert back.clients == first.clients
        assert (first.has_newer, second.has_newer, back.has_newer) == (False, True, False)


class TestDetails:
    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"name": ""}, "/name"),
            ({"name": "  \t "}, "/name"),
            ({"name": "x" * 201}, "/name"),
            ({"name": "nul\x00"}, "/name"),
            ({"name": "half\ud800"}, "/name"),
            ({"email": "not an address"}, "/email"),
            ({"email": "a@b@c.example"}, "/email"),
            ({"company": "bell\x07"}, "/company"),
            ({"notes": "n" * 5001}, "/notes"),
            ({"terms_days": 366}, "/terms_days"),
            ({"billing_address": {"line1": "x" * 201}}, "/billing_address/line1"),
            ({"billing_address": {"planet": "Mars"}}, "/billing_address"),
        ],
    )
    def test_names_the_field_that_is_wrong(self, fields, pointer):
        with pytest.raises(rules.ClientInvalid) as refusal:
            rules.details(**{"name": "Rina", **fields})

        assert refusal.value.pointer == pointer

    def test_keeps_line_breaks_of_notes_and_nothing_around_them(self):
        assert rules.details(name=" Rina ", notes=" one\r\ntwo ").notes == "one\ntwo"
