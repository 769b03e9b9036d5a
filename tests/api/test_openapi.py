"""The OpenAPI document is valid, and what it says is what the routes do."""

import json
import re

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.api.test_auth import SCOPE_OF_ROUTE

# How many requests are made up for each route; more of them found nothing more when this was written.
EXAMPLES = 25
A_REF = re.compile("[a-z]{3}_[0-7][0-9A-HJKMNP-TV-Z]{25}")


@pytest.fixture(scope="session")
def document(api_app):
    response = api_app.test_client().get("/api/openapi.json")
    assert response.status_code == 200 and response.content_type == "application/json"
    return json.loads(response.data)


@pytest.fixture(scope="module")
def schema(document, api_app):
    return schemathesis.openapi.from_wsgi("/api/openapi.json", api_app)


def test_is_an_openapi_31_document(document):
    assert document["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(document).validate()


def test_every_schema_is_json_schema_2020(document):
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert schema.get("title") == name or "title" in schema


def test_every_reference_leads_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for member in value.values():
                yield from references(member)
        elif isinstance(value, list):
            for member in value:
                yield from references(member)

    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_describes_every_route_once(document, api_app):
    served = {
        (rule.rule.replace("<ref>", "{ref}"), method)
        for rule in api_app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    names = [
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    ]

    assert described == served
    assert len(names) == len(set(names))


def test_asks_for_money_as_strings_alone(document):
    def numbers(value, path=""):
        if isinstance(value, dict):
            if value.get("type") == "number":
                yield path
            for name, member in value.items():
                yield from numbers(member, f"{path}/{name}")
        elif isinstance(value, list):
            for index, member in enumerate(value):
                yield from numbers(member, f"{path}/{index}")

    assert list(numbers(document)) == []


ROUTES = [(method, re.sub("/[a-z]{3}_[0-9A-Z]{26}", "/{ref}", path)) for method, path, _ in SCOPE_OF_ROUTE]


@pytest.fixture(scope="module")
def caller(new_caller):
    return new_caller()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_does_what_it_says(schema, caller, method, path):
    operation = schema[f"/api/v1{path}"][method]
    # Made-up refs lead nowhere; a ref of something shows what lies behind.
    invoice = caller.make_invoice(issue=False, client={"name": "Bu Sri"})
    ref = invoice["client"] if path.startswith("/clients") else invoice["id"]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case):
        if "ref" in (case.path_parameters or {}) and A_REF.fullmatch(str(case.path_parameters["ref"])):
            case.path_parameters["ref"] = ref
        # What fits the schema may still be refused: a total of zero, a client that is not there.
        case.call_and_validate(
            headers={"Authorization": f"Bearer {caller.key}"}, excluded_checks=[positive_data_acceptance]
        )

    call()
