"""A repeated POST: one effect, one answer, byte for byte."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.api.callers import problem

BODY = {"amount": "90", "asset": "native", "metadata": {"a": "1", "b": "2"}}


class TestReplay:
    def test_answers_byte_for_byte_and_writes_once(self, caller):
        first = caller.post("/invoices", BODY, key="order 7")
        again = caller.post("/invoices", BODY, key="order 7")

        assert first.status_code == again.status_code == 201
        assert again.data == first.data
        assert again.headers["Location"] == first.headers["Location"]
        assert again.headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        assert len(caller.get("/invoices").get_json()["data"]) == 1

    def test_does_not_mind_white_space_and_the_order_of_members(self, caller):
        first = caller.post("/invoices", BODY, key="k")

        spelled = b' {"metadata":{"b":"2" ,"a":"1"}, "asset":"native","amount":"90"}'
        again = caller.post_raw("/invoices", spelled, Idempotency_Key="k")

        assert again.data == first.data and again.headers["Idempotent-Replayed"] == "true"

    def test_refuses_the_key_for_another_body(self, caller):
        caller.post("/invoices", BODY, key="k")

        document = problem(caller.post("/invoices", {**BODY, "amount": "91"}, key="k"))

        assert (document["status"], document["code"]) == (422, "idempotency_mismatch")
        assert len(caller.get("/invoices").get_json()["data"]) == 1

    def test_keeps_keys_of_merchants_and_routes_apart(self, caller, new_caller):
        draft = caller.post("/invoices", BODY, key="k").get_json()

        assert caller.post("/clients", {"name": "Sri"}, key="k").status_code == 201
        assert "Idempotent-Replayed" not in new_caller().post("/invoices", BODY, key="k").headers
        assert caller.post(f"/invoices/{draft['id']}/issue", key="k").status_code == 200

    def test_replays_issuing_although_the_draft_is_no_draft_any_more(self, caller):
        draft = caller.post("/invoices", BODY).get_json()

        first = caller.post(f"/invoices/{draft['id']}/issue", key="k")
        again = caller.post(f"/invoices/{draft['id']}/issue", {}, key="k")

        assert first.status_code == 200 and first.get_json()["status"] == "PENDING"
        assert again.data == first.data and again.headers["Idempotent-Replayed"] == "true"

    def test_replays_cancelling(self, caller):
        invoice = caller.make_invoice()

        first = caller.post(f"/invoices/{invoice['id']}/cancel", key="k")
        again = caller.post(f"/invoices/{invoice['id']}/cancel", key="k")

        assert again.data == first.data and again.headers["Idempotent-Replayed"] == "true"

    def test_replays_an_external_id_instead_of_calling_it_taken(self, caller):
        body = {**BODY, "external_id": "order-7"}

        first = caller.post("/invoices", body, key="k")
        again = caller.post("/invoices", body, key="k")

        assert again.status_code == 201 and again.data == first.data

    def test_does_not_keep_what_was_refused_for_its_form(self, caller):
        refused = caller.post("/invoices", {"amount": "-1"}, key="k")

        mended = caller.post("/invoices", BODY, key="k")

        assert refused.status_code == 422 and mended.status_code == 201
        assert "Idempotent-Replayed" not in mended.headers

    @pytest.mark.parametrize("key", ["", "k" * 256, "caf\u00e9", "tab\there"])
    def test_refuses_a_key_that_is_none(self, caller, key):
        document = problem(caller.post("/invoices", BODY, key=key))

        assert (document["status"], document["code"]) == (400, "idempotency_key_invalid")

    def test_takes_the_longest_and_oddest_key(self, caller):
        key = " ~!" + "k" * 250 + "!~"

        first = caller.post("/invoices", BODY, key=key.strip())

        assert caller.post("/invoices", BODY, key=key.strip()).data == first.data


class TestConcurrentRequests:
    @pytest.mark.parametrize("issue", [False, True])
    def test_one_invoice_comes_of_eight_at_once(self, caller, issue):
        barrier = Barrier(8)
        body = {**BODY, "issue": issue, "external_id": "order-7"}

        def send(_):
            barrier.wait()
            return caller.post("/invoices", body, key="k")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))

        made = [each for each in answers if each.status_code == 201]
        late = [each for each in answers if each.status_code == 409]
        assert len(made) + len(late) == 8
        assert len({each.data for each in made}) == 1
        assert sum("Idempotent-Replayed" not in each.headers for each in made) == 1
        assert {problem(each)["code"] for each in late} <= {"idempotency_in_progress"}
        assert all(each.headers["Retry-After"] == "1" for each in late)
        assert len(caller.get("/invoices").get_json()["data"]) == 1
        assert caller.post("/invoices", body, key="k").data == made[0].data

    def test_one_issue_comes_of_eight_at_once(self, caller):
        draft = caller.post("/invoices", BODY).get_json()
        barrier = Barrier(8)

        def send(_):
            barrier.wait()
            return caller.post(f"/invoices/{draft['id']}/issue", key="k")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))

        assert {each.status_code for each in answers} <= {200, 409}
        assert len({each.data for each in answers if each.status_code == 200}) == 1
        for each in answers:
            assert each.status_code == 200 or problem(each)["code"] == "idempotency_in_progress"
