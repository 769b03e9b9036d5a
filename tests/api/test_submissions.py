"""Payments reported by hash over the API, on a real sandbox ledger, and what can be read of them afterwards."""

from tests.api.callers import problem


def pay(payer, invoice, amount=None):
    target = invoice["pay_to"]
    return payer.pay(target["address"], amount or invoice["amount_due"], target["memo"])


class TestSubmitHash:
    def test_credits_a_payment_and_tells_the_same_twice(self, caller, payer):
        invoice = caller.make_invoice(amount="12.5")
        paid = pay(payer, invoice)

        first = caller.post(f"/invoices/{invoice['id']}/submissions", {"transaction_hash": paid.upper()})
        again = caller.post(f"/invoices/{invoice['id']}/submissions", {"transaction_hash": paid})

        submission = first.get_json()
        assert (first.status_code, again.status_code) == (201, 200)
        assert submission["state"] == "ACCEPTED" and submission["payment"].startswith("pay_")
        assert again.get_json()["id"] == submission["id"]
        assert first.headers["Location"] == f"/api/v1/submissions/{submission['id']}"
        assert all(rule["ok"] for rule in submission["rules"])
        shown = caller.get(f"/invoices/{invoice['id']}").get_json()
        assert (shown["status"], shown["amount_received"]) == ("PAID", "12.5000000")
        payment = caller.get(f"/payments/{submission['payment']}").get_json()
        assert payment["transaction_hash"] == paid and payment["invoice"] == invoice["id"]
        assert payment["allocations"][0]["amount"] == "12.5000000"
        assert [each["id"] for each in caller.get("/payments").get_json()["data"]] == [payment["id"]]

    def test_replays_the_201_of_the_first_request(self, caller, payer):
        invoice = caller.make_invoice(amount="2")
        body = {"transaction_hash": pay(payer, invoice)}

        first = caller.post(f"/invoices/{invoice['id']}/submissions", body, key="k")
        again = caller.post(f"/invoices/{invoice['id']}/submissions", body, key="k")

        assert first.status_code == again.status_code == 201
        assert again.data == first.data and again.headers["Idempotent-Replayed"] == "true"

    def test_waits_for_a_transaction_that_is_not_there_yet(self, caller):
        invoice = caller.make_invoice()

        response = caller.post(f"/invoices/{invoice['id']}/submissions", {"transaction_hash": "ab" * 32})

        submission = response.get_json()
        assert response.status_code == 202 and submission["state"] == "CHECKING"
        assert int(response.headers["Retry-After"]) >= 1
        followed = caller.send("GET", response.headers["Location"].removeprefix("/api/v1"))
        assert followed.get_json()["id"] == submission["id"]

    def test_keeps_a_refusal_that_was_recorded(self, caller, payer):
        invoice, other = caller.make_invoice(amount="3"), caller.make_invoice(amount="3")
        body = {"transaction_hash": pay(payer, other)}
        caller.post(f"/invoices/{other['id']}/submissions", body)

        first = caller.post(f"/invoices/{invoice['id']}/submissions", body, key="k")
        again = caller.post(f"/invoices/{invoice['id']}/submissions", body, key="k")

        document = problem(first)
        assert (document["status"], document["code"]) == (409, "hash_used")
        assert document["submission"]["state"] == "REJECTED"
        assert other["id"] not in first.get_data(as_text=True)
        assert again.data == first.data and again.headers["Idempotent-Replayed"] == "true"
        assert again.content_type == "application/problem+json"

    def test_refuses_with_the_code_of_the_rule(self, caller, payer):
        invoice = caller.make_invoice(amount="3")
        stranger = payer.pair.public_key
        paid = payer.pay(stranger, "3", invoice["pay_to"]["memo"])

        document = problem(caller.post(f"/invoices/{invoice['id']}/submissions", {"transaction_hash": paid}))

        assert document["status"] == 422 and document["code"] == document["submission"]["code"]
        assert not all(rule["ok"] for rule in document["submission"]["rules"])

    def test_refuses_what_is_no_hash_without_a_trace(self, caller):
        invoice = caller.make_invoice()

        for text in ("", "ab", "g" * 64, "\uff10" * 64, "ab" * 32 + "a"):
            response = caller.post(f"/invoices/{invoice['id']}/submissions", {"transaction_hash": text})
            assert (response.status_code, problem(response)["code"]) == (422, "hash_malformed")

    def test_a_draft_cannot_be_paid(self, caller):
        draft = caller.make_invoice(issue=False)

        response = caller.post(f"/invoices/{draft['id']}/submissions", {"transaction_hash": "ab" * 32})

        assert problem(response)["status"] == 404

    def test_a_stranger_sees_neither_submission_nor_payment(self, caller, new_caller, payer):
        invoice = caller.make_invoice(amount="4")
        body = {"transaction_hash": pay(payer, invoice)}
        submission = caller.post(f"/invoices/{invoice['id']}/submissions", body).get_json()
        stranger = new_caller()

        assert problem(stranger.get(f"/submissions/{submission['id']}"))["status"] == 404
        assert problem(stranger.get(f"/payments/{submission['payment']}"))["status"] == 404
        assert stranger.get("/payments").get_json()["data"] == []


class TestListPayments:
    def test_pages_through_all_without_repeating_one(self, caller, payer):
        made = set()
        for _ in range(5):
            invoice = caller.make_invoice(amount="1")
            body = {"transaction_hash": pay(payer, invoice)}
            made.add(caller.post(f"/invoices/{invoice['id']}/submissions", body).get_json()["payment"])

        seen, cursor = [], None
        while True:
            page = caller.get("/payments", limit=2, **({"cursor": cursor} if cursor else {})).get_json()
            seen += [each["id"] for each in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break

        assert len(seen) == 5 and set(seen) == made
        assert caller.get("/payments", status="UNMATCHED").get_json()["data"] == []


class TestListEvents:
    def test_pages_by_the_feeds_own_sequence(self, caller, as_worker):
        for _ in range(3):
            caller.make_invoice(issue=False)
        from datetime import UTC, datetime

        from sqlalchemy import select

        from portal.db import run_transaction
        from portal.domain.events import feed
        from portal.domain.events.models import Event
        from portal.extensions import db

        mine = list(db.session.scalars(select(Event).where(Event.merchant_id == caller.shop.id)))
        db.session.rollback()
        run_transaction(lambda: feed.append(mine, now=datetime.now(UTC)))

        first = caller.get("/events", limit=2).get_json()
        rest = caller.get("/events", after=first["next_cursor"]).get_json()

        sequences = [each["sequence"] for each in first["data"] + rest["data"]]
        assert sequences == list(range(1, len(mine) + 1)) and rest["has_more"] is False
        created = [each for each in first["data"] + rest["data"] if each["type"] == "invoice.created"]
        assert len(created) == 3 and created[0]["data"]["object"]["object"] == "invoice"


class TestConcurrentSubmissions:
    def test_one_credit_comes_of_eight_at_once(self, caller, payer):
        from concurrent.futures import ThreadPoolExecutor

        invoice = caller.make_invoice(amount="6")
        body = {"transaction_hash": pay(payer, invoice)}

        def send(number):
            # Half of them repeat one request, half are requests of their own.
            return caller.post(
                f"/invoices/{invoice['id']}/submissions", body, key="k" if number % 2 else None
            )

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))

        # 202 where the process had enough look-ups under way.
        assert {each.status_code for each in answers} <= {200, 201, 202, 409}
        for refused in (each for each in answers if each.status_code == 409):
            assert problem(refused)["code"] == "idempotency_in_progress"
        kept = [each.data for each in answers[1::2] if each.status_code != 409]
        assert len(set(kept)) == 1
        assert len(caller.get("/payments").get_json()["data"]) == 1
        assert caller.get(f"/invoices/{invoice['id']}").get_json()["amount_received"] == "6.0000000"
