"""Bad input: every kind has its status, code and pointer, and none of it is a 500."""

import pytest

from tests.api.callers import problem

ITEM = {"description": "Seat", "unit_price": "42"}

UNREADABLE = [
    (b"", 400, "json_malformed"),
    (b"{", 400, "json_malformed"),
    (b'{"amount":"1",}', 400, "json_malformed"),
    (b"{'amount':'1'}", 400, "json_malformed"),
    (b'{"amount":NaN}', 400, "json_malformed"),
    (b'{"amount":-Infinity}', 400, "json_malformed"),
    (b'{"amount":"1"} {}', 400, "json_malformed"),
    (b'{"expires_in":' + b"9" * 5000 + b"}", 400, "json_malformed"),
    (b'\xff\xfe{"amount":"1"}', 400, "json_malformed"),
    (b'{"amount":"\xc3\x28"}', 400, "json_malformed"),
    (b'\xef\xbb\xbf{"amount":"1"}', 400, "json_malformed"),
    (b'{"amount":"1","amount":"2"}', 400, "json_duplicate_key"),
    (b'{"amount":"1","metadata":{"a":"1","a":"1"}}', 400, "json_duplicate_key"),
    (b'{"\\ud800":1,"\\ud800":2}', 400, "json_duplicate_key"),
    (b"[" * 50 + b"]" * 50, 400, "json_too_deep"),
    (b"[" * 200_000, 400, "json_too_deep"),
    (b'{"description":"a\\u0000b","amount":"1"}', 422, "text_invalid"),
    (b'{"description":"\\ud83d","amount":"1"}', 422, "text_invalid"),
    (b'{"\\u0000":"1"}', 422, "text_invalid"),
    (b'{"description":"\\u001b[31m","amount":"1"}', 422, "text_invalid"),
    (b'{"metadata":{"a\\ud800":"1"}}', 422, "text_invalid"),
    (b"[]", 422, "validation_failed"),
    (b"null", 422, "validation_failed"),
    (b'"text"', 422, "validation_failed"),
    (b"1e400", 422, "validation_failed"),
]

REFUSED = [
    ({}, "", "amount_missing"),
    ({"amount": 12}, "/amount", "string_type"),
    ({"amount": 12.5}, "/amount", "string_type"),
    ({"amount": True}, "/amount", "string_type"),
    ({"amount": None, "items": None}, "", "amount_missing"),
    ({"amount": ["1"]}, "/amount", "string_type"),
    ({"amount": "12.12345678"}, "/amount", "amount_invalid"),
    ({"amount": "1e3"}, "/amount", "amount_invalid"),
    ({"amount": "0"}, "/amount", "amount_invalid"),
    ({"amount": "-1"}, "/amount", "amount_invalid"),
    ({"amount": "1,000"}, "/amount", "amount_invalid"),
    ({"amount": " 1"}, "/amount", "amount_invalid"),
    ({"amount": "1\n"}, "/amount", "amount_invalid"),
    ({"amount": "\uff11"}, "/amount", "amount_invalid"),
    ({"amount": "922337203685.4775808"}, "/amount", "amount_invalid"),
    ({"amount": "{detail}"}, "/amount", "amount_invalid"),
    ({"amount": "1", "colour": "red"}, "/colour", "extra_forbidden"),
    ({"amount": "1", "a/b~c": "red"}, "/a~1b~0c", "extra_forbidden"),
    ({"amount": "1", "asset": "USDC"}, "/asset", "asset_invalid"),
    ({"amount": "1", "asset": "XLM"}, "/asset", "asset_invalid"),
    ({"amount": "1", "asset": "USDC:GABC"}, "/asset", "asset_invalid"),
    ({"items": []}, "/items", "too_short"),
    ({"items": [ITEM] * 201}, "/items", "too_long"),
    ({"items": [ITEM, {"description": "Seat"}]}, "/items/1/unit_price", "missing"),
    ({"items": [{**ITEM, "unit_price": 42}]}, "/items/0/unit_price", "string_type"),
    ({"items": [{**ITEM, "quantity": "0"}]}, "/items/0/quantity", "quantity_invalid"),
    ({"items": [{**ITEM, "quantity": "1.1234567"}]}, "/items/0/quantity", "quantity_invalid"),
    ({"items": [{**ITEM, "quantity": 1}]}, "/items/0/quantity", "string_type"),
    ({"items": [{**ITEM, "description": "  "}]}, "/items/0/description", "text_blank"),
    ({"items": [{**ITEM, "description": "x" * 201}]}, "/items/0/description", "string_too_long"),
    ({"items": "Seat"}, "/items", "list_type"),
    ({"amount": "1", "discounts": [{"label": "x"}]}, "/discounts/0", "discount_ambiguous"),
    ({"amount": "1", "discounts": [{"label": "x", "percent": "5", "amount": "1"}]}, "/discounts/0", "discount_ambiguous"),
    ({"amount": "1", "discounts": [{"label": "x", "percent": "101"}]}, "/discounts/0/percent", "percent_invalid"),
    ({"amount": "1", "discounts": [{"label": "x", "percent": "0"}]}, "/discounts/0/percent", "percent_invalid"),
    ({"amount": "1", "taxes": [{"label": "", "percent": "5"}]}, "/taxes/0/label", "string_too_short"),
    ({"amount": "1", "client": "inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB"}, "/client", "ref_invalid"),
    ({"amount": "1", "client": {"email": "a@example.com"}}, "/client/name", "missing"),
    ({"amount": "1", "client": {"name": "Sri", "phone": "1"}}, "/client/phone", "extra_forbidden"),
    ({"amount": "1", "due_at": "tomorrow"}, "/due_at", "time_invalid"),
    ({"amount": "1", "due_at": "2026-12-01T00:00:00"}, "/due_at", "time_invalid"),
    ({"amount": "1", "due_at": "0001-01-01T00:00:00+14:00"}, "/due_at", "time_invalid"),
    ({"amount": "1", "due_at": 1764547200}, "/due_at", "string_type"),
    ({"amount": "1", "expires_in": 59}, "/expires_in", "greater_than_equal"),
    ({"amount": "1", "expires_in": 31_622_401}, "/expires_in", "less_than_equal"),
    ({"amount": "1", "expires_in": "3600"}, "/expires_in", "int_type"),
    ({"amount": "1", "expires_in": 3600.0}, "/expires_in", "int_type"),
    ({"amount": "1", "expires_in": True}, "/expires_in", "int_type"),
    ({"amount": "1", "metadata": {"a": 1}}, "/metadata/a", "string_type"),
    ({"amount": "1", "metadata": {"k" * 41: "1"}}, f"/metadata/{'k' * 41}", "string_too_long"),
    ({"amount": "1", "metadata": {str(n): "1" for n in range(51)}}, "/metadata", "too_long"),
    ({"amount": "1", "metadata": []}, "/metadata", "dict_type"),
    ({"amount": "1", "external_id": ""}, "/external_id", "string_too_short"),
    ({"amount": "1", "issue": "yes"}, "/issue", "bool_type"),
    ({"amount": "1", "description": "x" * 2001}, "/description", "string_too_long"),
]  # fmt: skip

BUSINESS = [
    (
        {"amount": "1", "client": {"name": "Sri", "email": "not an address"}},
        "/client/email",
        "client_invalid",
    ),
    ({"amount": "1", "discounts": [{"label": "x", "amount": "2"}]}, "/discounts/0", "totals_invalid"),
    ({"amount": "1", "discounts": [{"label": "x", "percent": "100"}]}, "/items", "totals_invalid"),
    (
        {"items": [{**ITEM, "quantity": "999999999999", "unit_price": "922337203685"}]},
        "/items",
        "totals_invalid",
    ),
    ({"items": [{**ITEM, "unit_price": "0"}]}, "/items", "totals_invalid"),
]

QUERIES = [
    ("limit=0", "?limit"),
    ("limit=101", "?limit"),
    ("limit=ten", "?limit"),
    ("limit=1&limit=2", "?limit"),
    ("limit=" + "9" * 5000, "?limit"),
    ("status=paid", "?status"),
    ("colour=red", "?colour"),
    ("client=cli_1", "?client"),
    ("created_after=yesterday", "?created_after"),
    ("created_after=9999-12-31T23:59:59-14:00", "?created_after"),
    ("q=ab", "?q"),
    ("q=a%00bc", "?q"),
    ("%00=1", "?\0"),
    ("cursor=", "?cursor"),
    ("cursor=abc", "?cursor"),
    ("cursor=%F0%9F%92%B8", "?cursor"),
    ("cursor=OTk5OTk5OTk5OTk5OTk5OS5jbGlfMDFKRDRXNlEzWThONUsyUjdUOVYwWDFaQUI", "?cursor"),
]


@pytest.fixture(scope="module")
def caller(new_caller):
    """One for all: nothing is written by what is refused, and nothing issued, so the wallet need not exist."""
    return new_caller(funded=False)


class TestCreateInvoice:
    @pytest.mark.parametrize(("raw", "status", "code"), UNREADABLE)
    def test_says_why_a_body_cannot_be_read(self, caller, raw, status, code):
        document = problem(caller.post_raw("/invoices", raw))

        assert (document["status"], document["code"]) == (status, code)

    @pytest.mark.parametrize(("body", "pointer", "code"), REFUSED)
    def test_points_at_what_does_not_fit(self, caller, body, pointer, code):
        document = problem(caller.post("/invoices", body))

        assert document["status"] == 422
        assert (pointer, code) in [(each["pointer"], each["code"]) for each in document["errors"]]
        assert all(each["detail"] and "{" not in each["detail"] for each in document["errors"])

    @pytest.mark.parametrize(("body", "pointer", "code"), BUSINESS)
    def test_points_at_what_makes_no_invoice(self, caller, body, pointer, code):
        document = problem(caller.post("/invoices", body))

        assert (document["status"], document["code"]) == (422, code)
        assert document["errors"][0]["pointer"] == pointer

    @pytest.mark.parametrize(
        "content_type",
        ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin-1"],
    )
    def test_reads_json_alone(self, caller, content_type):
        response = caller.post_raw("/invoices", b'{"amount":"1"}', Content_Type=content_type)

        assert (response.status_code, problem(response)["code"]) == (415, "media_type_refused")

    def test_refuses_more_than_a_megabyte(self, caller):
        response = caller.post_raw("/invoices", b'{"amount":"1","description":"' + b"x" * 1_000_000 + b'"}')

        assert (response.status_code, problem(response)["code"]) == (413, "body_too_large")

    def test_keeps_other_scripts_as_they_were_sent(self, caller):
        text = "\u0642\u0647\u0648\u0629 \u2615 <b>&amp;</b> {{ 7 * 7 }} '; DROP TABLE invoices; --"

        document = caller.make_invoice(issue=False, description=text, metadata={"\u0643": text})

        assert document["description"] == text and document["metadata"] == {"\u0643": text}


class TestQueries:
    @pytest.mark.parametrize(("query", "pointer"), QUERIES)
    def test_points_at_the_parameter(self, caller, query, pointer):
        response = caller.send("GET", "/invoices", query_string=query)

        document = problem(response)
        assert document["status"] == 422
        assert pointer in [each["pointer"] for each in document["errors"]]

    def test_reads_what_is_sent_in_odd_encodings(self, caller):
        assert caller.send("GET", "/invoices", query_string="q=%FF%FE%FF").status_code == 200
        assert caller.get("/invoices", q="100%_\\ '\" \u2615").get_json()["data"] == []


class TestRefs:
    @pytest.mark.parametrize(
        "ref",
        [
            "inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB",
            "inv_01jd4w6q3y8n5k2r7t9v0x1zab",
            "cli_01JD4W6Q3Y8N5K2R7T9V0X1ZAB",
            "inv_",
            "1",
            "inv_01JD4W6Q3Y8N5K2R7T9V0X1ZAB%00",
            "inv_ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "%F0%9F%92%B8",
            "x" * 3000,
        ],
    )
    def test_answers_404_to_a_ref_of_nothing(self, caller, ref):
        for path in ("/invoices", "/payments", "/submissions", "/clients"):
            assert problem(caller.get(f"{path}/{ref}"))["status"] == 404


class TestEmptyBodies:
    def test_takes_nothing_or_an_empty_object(self, new_caller):
        caller = new_caller()
        draft = caller.make_invoice(issue=False)

        assert problem(caller.post(f"/invoices/{draft['id']}/issue", {"now": True}))["status"] == 422
        assert problem(caller.post_raw(f"/invoices/{draft['id']}/issue", b"null"))["status"] == 422
        assert problem(caller.post_raw(f"/invoices/{draft['id']}/issue", b"{"))["status"] == 400
        assert caller.post(f"/invoices/{draft['id']}/issue", {}).status_code == 200
