"""Clients over the API."""

from tests.api.callers import problem

FULL = {
    "name": "Bu Sri",
    "email": "Sri@example.com",
    "company": "Warung Sri",
    "tax_id": "01.234",
    "billing_address": {"line1": "Jl. Melati 1", "city": "Bandung", "country": "ID"},
    "locale": "id",
    "terms_days": 14,
    "notes": "Pays on Fridays",
}


class TestClients:
    def test_writes_all_that_was_given(self, caller):
        response = caller.post("/clients", FULL)

        document = response.get_json()
        assert response.status_code == 201
        assert response.headers["Location"] == f"/api/v1/clients/{document['id']}"
        assert {name: document[name] for name in FULL} == FULL
        assert caller.get(f"/clients/{document['id']}").get_json() == document

    def test_refuses_an_address_twice(self, caller):
        caller.post("/clients", FULL)

        document = problem(caller.post("/clients", {"name": "Sri", "email": "sri@EXAMPLE.com"}))

        assert (document["status"], document["code"]) == (409, "client_exists")
        assert document["errors"][0]["pointer"] == "/email"

    def test_changes_what_is_named_and_keeps_the_rest(self, caller):
        client = caller.post("/clients", FULL).get_json()

        document = caller.patch(f"/clients/{client['id']}", {"company": None, "terms_days": 30}).get_json()

        assert document["company"] is None and document["terms_days"] == 30
        assert document["billing_address"] == FULL["billing_address"] and document["email"] == FULL["email"]

    def test_points_at_what_does_not_fit(self, caller):
        client = caller.post("/clients", {"name": "Sri"}).get_json()

        for body, pointer in (
            ({"name": None}, "/name"),
            ({"name": ""}, "/name"),
            ({"email": "nobody"}, "/email"),
            ({"email": "a\u0001@example.com"}, "/email"),
            ({"billing_address": {"planet": "Mars"}}, "/billing_address/planet"),
            ({"terms_days": 366}, "/terms_days"),
            ({"notes": "\u0007"}, "/notes"),
        ):
            document = problem(caller.patch(f"/clients/{client['id']}", body))
            assert document["status"] == 422
            assert document["errors"][0]["pointer"] == pointer

    def test_lists_and_searches(self, caller):
        made = {caller.post("/clients", {"name": f"Client {number}"}).get_json()["id"] for number in range(5)}
        found = caller.post("/clients", FULL).get_json()

        seen, cursor = [], None
        while True:
            page = caller.get("/clients", limit=4, **({"cursor": cursor} if cursor else {})).get_json()
            seen += [each["id"] for each in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break

        assert len(seen) == 6 and set(seen) == made | {found["id"]}
        assert [each["id"] for each in caller.get("/clients", q="warung").get_json()["data"]] == [found["id"]]

    def test_a_stranger_sees_none(self, caller, new_caller):
        client = caller.post("/clients", FULL).get_json()
        stranger = new_caller()

        assert problem(stranger.get(f"/clients/{client['id']}"))["status"] == 404
        assert problem(stranger.patch(f"/clients/{client['id']}", {"name": "Mine"}))["status"] == 404
        assert stranger.get("/clients").get_json()["data"] == []
        assert stranger.post("/clients", FULL).status_code == 201
