"""Writes `/api/openapi.json` from the marks of the routes and the models that their bodies are read by."""

import re
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from portal.api.v1 import shapes
from portal.api.v1.answers import JSON, encode
from portal.api.v1.contract import MARK, Contract, public
from portal.api.v1.errors import PROBLEM
from portal.api.v1.fields import ref_pattern
from portal.extensions import site

bp = Blueprint("api_document", __name__)

VERSION = "1.0.0"
DOCUMENT_KEY = "tagih_openapi"
DESCRIPTION = (
    "Invoices that are paid on the Stellar network. Amounts are strings with up to 7 decimals, assets are `native`"
    " or `CODE:ISSUER`, times are RFC 3339 in UTC. Unknown members are refused. Send an `Idempotency-Key` with"
    " every POST: a repeated request is answered as the first one was, with `Idempotent-Replayed: true`."
)
# Any request with a key may meet these.
COMMON_REFUSALS = (401, 403, 429)
BODY_REFUSALS = (400, 413, 415, 422)
_PREFIX_OF_PATH = {"invoices": "inv", "submissions": "sub", "payments": "pay", "clients": "cli"}


@bp.get("/openapi.json")
@public("The OpenAPI document of this API")
def show_openapi() -> Response:
    kept = current_app.extensions.get(DOCUMENT_KEY)
    if kept is None:
        kept = current_app.extensions[DOCUMENT_KEY] = encode(openapi_document(current_app))
    return Response(kept, content_type=JSON)


def openapi_document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of every route of the app that is marked with a contract."""
    routes = [
        (rule, contract)
        for rule in app.url_map.iter_rules()
        if isinstance(contract := getattr(app.view_functions[rule.endpoint], MARK, None), Contract)
        and contract.kind == "api"
    ]
    references, components = _components([contract for _, contract in routes])
    paths: dict[str, dict[str, Any]] = {}
    for rule, contract in sorted(routes, key=lambda route: route[0].rule):
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(rule, method, contract, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tagih API", "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": site.public_base_url}],
        "security": [{"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: tgh_test_ or tgh_live_.",
                },
                "basic": {"type": "http", "scheme": "basic", "description": "The password is the API key."},
            },
        },
    }


# pydantic names its own dataclasses in this key too; ours are models alone.
Key = tuple[Any, JsonSchemaMode]


def _components(contracts: list[Contract]) -> tuple[dict[Key, Any], dict[str, Any]]:
    wanted: dict[Key, None] = {
        (shapes.Problem, "serialization"): None,
        (shapes.SubmissionProblem, "serialization"): None,
    }
    for contract in contracts:
        for request_model in (contract.body, contract.query):
            if request_model is not None:
                wanted[request_model, "validation"] = None
        for answer_model in contract.answers.values():
            wanted[answer_model, "serialization"] = None
    references, document = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
    return {**references}, document["$defs"]


def _operation(rule: Rule, method: str, contract: Contract, references: dict[Key, Any]) -> dict[str, Any]:
    scope = " ".join(contract.scopes)
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "summary": contract.summary,
        "description": f"{contract.description} Needs the scope `{scope}`.".strip(),
        "tags": [rule.rule.split("/")[3]],
        "parameters": _parameters(rule, method, contract),
        "responses": _responses(method, contract, references),
        "security": [{"bearer": []}, {"basic": []}],
    }
    if contract.body is not None:
        schema = references[contract.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    if not operation["parameters"]:
        del operation["parameters"]
    return operation


def _parameters(rule: Rule, method: str, contract: Contract) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": ref_pattern(_PREFIX_OF_PATH[rule.rule.split("/")[3]])},
        }
        for name in sorted(rule.arguments)
    ]
    if contract.query is not None:
        schema = contract.query.model_json_schema()
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": _without_null(member)}
            for name, member in schema["properties"].items()
        ]
    if method == "POST":
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Makes repeating this request safe for at least 24 hours.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
            }
        )
    return parameters


def _without_null(member: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a query parameter, which is text or left out, never null."""
    branches = [branch for branch in member.get("anyOf", []) if branch.get("type") != "null"]
    if len(branches) != 1:
        return member
    kept = {name: value for name, value in member.items() if name not in {"anyOf", "default"}}
    return {**kept, **branches[0]}


def _responses(method: str, contract: Contract, references: dict[Key, Any]) -> dict[str, Any]:
    responses = {
        str(status): _response(status, JSON, references[model, "serialization"], method)
        for status, model in contract.answers.items()
    }
    refusals = {*COMMON_REFUSALS, *contract.refusals}
    if contract.body is not None or method == "POST":
        refusals |= {*BODY_REFUSALS, *((409,) if method == "POST" else ())}
    if contract.query is not None:
        refusals.add(422)
    for status in sorted(refusals):
        is_verdict = contract.asks_network and status in (409, 422)
        model: type[BaseModel] = shapes.SubmissionProblem if is_verdict else shapes.Problem
        responses[str(status)] = _response(status, PROBLEM, references[model, "serialization"], method)
    responses["default"] = _response(500, PROBLEM, references[shapes.Problem, "serialization"], method)
    return responses


def _response(status: int, media_type: str, schema: dict[str, Any], method: str) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-Id": {"schema": {"type": "string"}}}
    if status in (201, 202):
        headers["Location"] = {"schema": {"type": "string"}}
    if status in (202, 429):
        headers["Retry-After"] = {"schema": {"type": "string", "pattern": "^[0-9]+$"}}
    if method == "POST" and status < 500:
        headers["Idempotent-Replayed"] = {"schema": {"type": "string", "enum": ["true"]}}
    phrase = "Any other failure" if status == 500 else HTTPStatus(status).phrase
    return {"description": phrase, "headers": headers, "content": {media_type: {"schema": schema}}}
