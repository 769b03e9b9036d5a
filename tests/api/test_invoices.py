"""Invoices over the API: what is asked for is what is written, and nobody else's can be reached."""

from tests.api.callers import problem

ISSUER = "GBZXN7PIRZGNMHGA7MUUUF4GWPY5AYPV6LY4UV2GL6VJGIQRXFDNMADI"


class TestCreateInvoice:
    def test_writes_a_draft_and_says_where_it_is(self, caller):
        response = caller.post("/invoices", {"amount": "148.5", "asset": "native", "description": "Arabica"})

        document = response.get_json()
        assert response.status_code == 201
        assert response.headers["Location"] == f"/api/v1/invoices/{document['id']}"
        assert document["status"] == "DRAFT" and document["number"] is None and document["pay_to"] is None
        assert document["amount"] == "148.5000000" == document["amount_due"]
        assert document["items"][0]["description"] == "Arabica"
        assert caller.get(f"/invoices/{document['id']}").get_json() == document

    def test_issues_at_once_when_asked(self, caller):
        document = caller.make_invoice()

        assert document["status"] == "PENDING" and document["settlement"] == "UNPAID"
        assert document["number"].startswith("INV-") and document["flags"] == []
        assert document["pay_to"]["address"] == caller.shop.wallet
        assert document["pay_to"]["uri"].startswith("web+stellar:pay?")
        assert document["checkout_url"].startswith("http://localhost/i/")

    def test_computes_items_discounts_and_taxes(self, caller):
        response = caller.post(
            "/invoices",
            {
                "items": [{"description": "Seat", "quantity": "3", "unit_price": "42"}],
                "discounts": [{"label": "KOPI5", "percent": "5"}],
                "taxes": [{"label": "PPN", "percent": "11"}],
                "amount": "132.867",
            },
        )

        document = response.get_json()
        assert response.status_code == 201
        assert document["asset"] == "native"
        assert document["subtotal"] == "126.0000000" and document["amount"] == "132.8670000"
        assert document["discounts"] == [{"label": "KOPI5", "percent": "5", "amount": "6.3000000"}]
        assert document["taxes"] == [{"label": "PPN", "percent": "11", "amount": "13.1670000"}]

    def test_refuses_an_amount_that_its_items_do_not_make(self, caller):
        body = {"amount": "100", "items": [{"description": "Seat", "quantity": "3", "unit_price": "42"}]}

        document = problem(caller.post("/invoices", body))

        assert (document["status"], document["code"]) == (422, "amount_mismatch")
        assert document["errors"][0]["pointer"] == "/amount"

    def test_makes_an_inline_client_once_for_each_address(self, caller):
        first = caller.make_invoice(client={"name": "Bu Sri", "email": "Sri@Example.com"}, issue=False)
        second = caller.make_invoice(client={"name": "Sri", "email": "sri@example.com"}, issue=False)

        assert first["client"] == second["client"] is not None
        clients = caller.get("/clients").get_json()["data"]
        assert [each["name"] for each in clients] == ["Bu Sri"]

    def test_takes_a_client_by_its_ref(self, caller):
        client = caller.post("/clients", {"name": "Bu Sri"}).get_json()

        document = caller.make_invoice(client=client["id"], issue=False)

        assert document["client"] == client["id"]
        listed = caller.get("/invoices", client=client["id"]).get_json()["data"]
        assert [each["id"] for each in listed] == [document["id"]]

    def test_refuses_another_merchants_client(self, caller, new_caller):
        client = new_caller().post("/clients", {"name": "Bu Sri"}).get_json()

        document = problem(caller.post("/invoices", {"amount": "1", "client": client["id"]}))

        assert (document["status"], document["code"]) == (422, "client_not_found")
        assert document["errors"][0]["pointer"] == "/client"

    def test_refuses_an_external_id_twice(self, caller, new_caller):
        body = {"amount": "1", "external_id": "order-7"}
        assert caller.post("/invoices", body).status_code == 201

        document = problem(caller.post("/invoices", body))

        assert (document["status"], document["code"]) == (409, "external_id_taken")
        assert new_caller().post("/invoices", body).status_code == 201

    def test_refuses_to_issue_without_a_wallet(self, new_caller):
        document = problem(new_caller(wallet=False).post("/invoices", {"amount": "1", "issue": True}))

        assert (document["status"], document["code"]) == (409, "wallet_missing")

    def test_refuses_to_issue_in_an_asset_the_wallet_cannot_hold(self, caller):
        document = problem(
            caller.post("/invoices", {"amount": "1", "asset": f"USDC:{ISSUER}", "issue": True})
        )

        assert (document["status"], document["code"]) == (409, "wallet_not_ready")


class TestChangeInvoice:
    def test_changes_what_is_named_and_keeps_the_rest(self, caller):
        draft = caller.make_invoice(
            issue=False, description="Beans", metadata={"order": "7"}, expires_in=3600
        )

        changed = caller.patch(f"/invoices/{draft['id']}", {"amount": "12", "due_at": "2027-01-01T00:00:00Z"})

        document = changed.get_json()
        assert changed.status_code == 200
        assert document["amount"] == "12.0000000" and document["due_at"] == "2027-01-01T00:00:00Z"
        assert document["description"] == "Beans" and document["metadata"] == {"order": "7"}
        assert document["expires_in"] == 3600

    def test_refuses_to_change_an_issued_one(self, caller):
        invoice = caller.make_invoice()

        assert (
            problem(caller.patch(f"/invoices/{invoice['id']}", {"amount": "12"}))["code"]
            == "invoice_not_draft"
        )

    def test_issues_a_draft_once(self, caller):
        draft = caller.make_invoice(issue=False)

        issued = caller.post(f"/invoices/{draft['id']}/issue")
        again = caller.post(f"/invoices/{draft['id']}/issue", {})

        assert issued.status_code == 200 and issued.get_json()["status"] == "PENDING"
        assert problem(again)["code"] == "invoice_not_draft"

    def test_cancels_a_pending_one_once(self, caller):
        invoice = caller.make_invoice()

        cancelled = caller.post(f"/invoices/{invoice['id']}/cancel")
        again = caller.post(f"/invoices/{invoice['id']}/cancel")

        assert cancelled.status_code == 200 and cancelled.get_json()["status"] == "CANCELLED"
        assert cancelled.get_json()["number"] == invoice["number"]
        assert (again.status_code, problem(again)["code"]) == (409, "invoice_transition")


class TestListInvoices:
    def test_pages_through_all_without_repeating_one(self, caller):
        made = {caller.make_invoice(issue=False, amount=str(amount))["id"] for amount in range(1, 24)}

        seen, cursor = [], None
        while True:
            page = caller.get("/invoices", limit=5, **({"cursor": cursor} if cursor else {})).get_json()
            seen += [each["id"] for each in page["data"]]
            cursor = page["next_cursor"]
            assert page["has_more"] is (cursor is not None)
            if cursor is None:
                break

        assert len(seen) == 23 and set(seen) == made

    def test_narrows_by_status_text_and_time(self, caller):
        draft = caller.make_invoice(issue=False, description="Robusta beans")
        pending = caller.make_invoice(description="Arabica beans")

        def ids(**query):
            return [each["id"] for each in caller.get("/invoices", **query).get_json()["data"]]

        assert ids(status="DRAFT") == [draft["id"]]
        assert ids(q="arabica") == [pending["id"]]
        assert ids(q=pending["pay_to"]["memo"]) == [pending["id"]]
        assert ids(created_after="2027-01-01T00:00:00Z") == []
        assert len(ids(created_after="2026-01-01T00:00:00Z")) == 2

    def test_shows_nothing_of_another_merchant(self, caller, new_caller):
        invoice = caller.make_invoice()
        stranger = new_caller()

        assert stranger.get("/invoices").get_json()["data"] == []
        for method, path in (
            ("GET", ""), ("PATCH", ""), ("POST", "/issue"), ("POST", "/cancel"), ("POST", "/submissions"),
        ):  # fmt: skip
            body = {"transaction_hash": "a" * 64} if path == "/submissions" else {}
            response = stranger.send(method, f"/invoices/{invoice['id']}{path}", json=body)
            assert problem(response)["status"] == 404, (method, path)


class TestPatchMixes:
    def test_a_draft_can_lose_its_client_and_due_date(self, caller):
        draft = caller.make_invoice(issue=False, client={"name": "Sri"}, due_at="2027-01-01T00:00:00+07:00")
        assert draft["due_at"] == "2026-12-31T17:00:00Z"

        document = caller.patch(f"/invoices/{draft['id']}", {"client": None, "due_at": None}).get_json()

        assert document["client"] is None and document["due_at"] is None
