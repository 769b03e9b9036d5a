"""The pages of clients, as an owner, a colleague and a stranger see them."""

import pytest

from tests.support.builders import make_member
from tests.web.posting import visit, write_client, write_invoice


class TestCreate:
    def test_saves_the_client_and_leads_to_it(self, web_app):
        owner = visit(web_app)

        answer = owner.send(
            "/clients/new", {"name": "Toko Melati", "email": "toko@melati.example", "city": "Medan"}
        )

        assert answer.status_code == 303
        page = owner.get(answer.location)
        assert "Toko Melati" in page and "Medan" in page

    def test_leads_to_the_client_who_has_the_address_already(self, web_app):
        owner = visit(web_app)
        known = write_client(web_app, owner.shop)

        page = owner.refused("/clients/new", {"name": "Another Rina", "email": "rina@kopi.example"})

        assert f"/clients/{known}" in page
        assert "Another Rina" in page

    @pytest.mark.parametrize(
        ("typed", "words"),
        [
            ({}, "Write the client&#39;s name."),
            ({"name": "  "}, "Write the client&#39;s name."),
            ({"name": "x" * 201}, "At most 200 characters"),
            ({"name": "nul\x00byte"}, "cannot be shown"),
            ({"name": "Rina", "email": "rina at kopi"}, "Write a full email address"),
            ({"name": "Rina", "terms_days": "1e2"}, "whole number of days"),
            ({"name": "Rina", "terms_days": "１４"}, "whole number of days"),
            ({"name": "Rina", "terms_days": "-1"}, "whole number of days"),
            ({"name": "Rina", "terms_days": "999"}, "0 to 365"),
            ({"name": "Rina", "notes": "n" * 5001}, "At most 5000 characters"),
        ],
    )
    def test_says_beside_the_field_what_is_wrong_and_keeps_what_was_typed(self, web_app, typed, words):
        page = visit(web_app).refused("/clients/new", {"company": "PT Kept", **typed})

        assert words in page
        assert "PT Kept" in page
        assert 'aria-invalid="true"' in page

    def test_shows_markup_in_names_as_text(self, web_app):
        owner = visit(web_app)

        answer = owner.send("/clients/new", {"name": "<script>alert(1)</script>"})

        assert "<script>alert" not in owner.get(answer.location)
        assert "&lt;script&gt;alert" in owner.get("/clients")

    def test_is_not_for_viewers_and_accountants(self, web_app):
        owner = visit(web_app)
        with web_app.app_context():
            members = [make_member(owner.shop, role=role) for role in ("viewer", "accountant")]

        for member in members:
            assert visit(web_app, member).client.get("/clients/new").status_code == 403


class TestUpdate:
    def test_shows_the_form_filled_and_saves_it(self, web_app):
        owner = visit(web_app)
        ref = write_client(web_app, owner.shop)

        assert "rina@kopi.example" in owner.get(f"/clients/{ref}/edit")
        answer = owner.send(f"/clients/{ref}/edit", {"name": "Rina H.", "email": "rina@kopi.example"})

        assert answer.status_code == 303
        assert "Rina H." in owner.get(f"/clients/{ref}")

    def test_keeps_what_was_typed_when_the_address_is_taken(self, web_app):
        owner = visit(web_app)
        write_client(web_app, owner.shop, name="Bayu", email="bayu@kopi.example")
        ref = write_client(web_app, owner.shop)

        page = owner.refused(f"/clients/{ref}/edit", {"name": "Typed anew", "email": "bayu@kopi.example"})

        assert "Typed anew" in page


class TestArchive:
    def test_moves_the_client_aside_and_back_and_is_safe_twice(self, web_app):
        owner = visit(web_app)
        ref = write_client(web_app, owner.shop)

        for _ in range(2):
            assert owner.send(f"/clients/{ref}/archive").status_code == 303
        assert ref not in owner.get("/clients")
        assert ref in owner.get("/clients?archived=1")

        owner.send(f"/clients/{ref}/restore")
        assert ref in owner.get("/clients")


class TestStrangers:
    def test_find_no_client_of_others_whatever_they_try(self, web_app):
        ref = write_client(web_app, visit(web_app).shop)
        stranger = visit(web_app)

        for path in (f"/clients/{ref}", f"/clients/{ref}/edit"):
            stranger.get(path, status=404)
        for path in (f"/clients/{ref}/edit", f"/clients/{ref}/archive", f"/clients/{ref}/restore"):
            assert stranger.send(path, {"name": "Mine now"}).status_code == 404
        assert ref not in stranger.get("/clients?q=rina")

    @pytest.mark.parametrize(
        "ref", ["cli_", "cli_nonsense", "inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB", "cli_01JD4W6Q3Y8N5K2R7T9V0X1ZAB"]
    )
    def test_get_the_same_answer_for_what_never_existed(self, web_app, ref):
        assert "There is nothing here" in visit(web_app).get(f"/clients/{ref}", status=404)


class TestList:
    def test_says_what_will_appear_here_while_it_is_empty(self, web_app):
        assert "No clients yet" in visit(web_app).get("/clients")

    def test_searches_by_name_and_says_when_nobody_is_found(self, web_app):
        owner = visit(web_app)
        ref = write_client(web_app, owner.shop)

        assert ref in owner.get("/clients?q=hartono")
        assert "No client matches" in owner.get("/clients?q=nobody")
        assert "at least 3 characters" in owner.get("/clients?q=ri")

    @pytest.mark.parametrize(
        "query", ["q=%00%00%00", "after=garbage", "before=%F0%9F%92%A9", "after=" + "A" * 200]
    )
    def test_takes_no_harm_from_hand_made_links(self, web_app, query):
        visit(web_app).get(f"/clients?{query}")

    def test_shows_a_clients_invoices_and_what_they_owe(self, web_app):
        owner = visit(web_app)
        write_invoice(web_app, owner.shop)

        ref = write_client(web_app, owner.shop)

        assert "No invoices yet" in owner.get(f"/clients/{ref}")
