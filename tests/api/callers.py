"""Who calls the API in tests: a program with a key, and a payer with a funded account."""

import json
from dataclasses import dataclass
from typing import Any

import requests
from stellar_sdk import Asset, Keypair, Server, TransactionBuilder
from stellar_sdk.memo import IdMemo

from config import SANDBOX_PASSPHRASE
from tests.support.builders import Shop


@dataclass
class Caller:
    """A program that holds one of the shop's keys."""

    app: Any
    shop: Shop
    key: str

    def send(self, method: str, path: str, **options: Any):
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return self.app.test_client().open(f"/api/v1{path}", method=method, headers=headers, **options)

    def get(self, path: str, **query: Any):
        return self.send("GET", path, query_string=query)

    def post(self, path: str, body: Any = None, *, key: str | None = None):
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.send("POST", path, headers=headers, **({} if body is None else {"json": body}))

    def patch(self, path: str, body: Any):
        return self.send("PATCH", path, json=body)

    def post_raw(self, path: str, raw: bytes, **headers: str):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", path, data=raw, headers={"Content-Type": "application/json", **named})

    def make_invoice(self, **fields: Any) -> dict[str, Any]:
        response = self.post("/invoices", {"amount": "90", "asset": "native", "issue": True, **fields})
        assert response.status_code == 201, response.get_data(as_text=True)
        return response.get_json()


class Payer:
    """A funded account of the sandbox that pays by real signed transactions."""

    def __init__(self, url: str) -> None:
        self.server = Server(url)
        self.url = url
        self.pair = Keypair.random()
        self.fund(self.pair.public_key)

    def fund(self, address: str) -> None:
        answer = requests.get(f"{self.url}/friendbot", params={"addr": address}, timeout=10)
        assert answer.status_code == 200, answer.text

    def pay(self, address: str, amount: str, memo: str) -> str:
        """Return the hash of a payment in XLM, which is on the ledger by then."""
        source = self.server.load_account(self.pair.public_key)
        transaction = (
            TransactionBuilder(source, SANDBOX_PASSPHRASE, base_fee=100)
            .append_payment_op(address, Asset.native(), amount)
            .add_memo(IdMemo(int(memo)))
            .set_timeout(60)
            .build()
        )
        transaction.sign(self.pair)
        return str(self.server.submit_transaction(transaction)["hash"])


def problem(response) -> dict[str, Any]:
    """Return the problem document of a refusal after checking that it is one."""
    assert response.content_type == "application/problem+json", response.get_data(as_text=True)
    document = json.loads(response.data)
    assert document["status"] == response.status_code
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert document["type"].endswith(document["code"])
    assert document["detail"] and document["title"]
    return document
