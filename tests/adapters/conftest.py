"""A small HTTP server that answers as Horizon does, fed with transactions signed by stellar-sdk."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from stellar_sdk import (
    Account,
    AccountMerge,
    Asset,
    Clawback,
    CreateAccount,
    CreateClaimableBalance,
    FeeBumpTransactionEnvelope,
    HashMemo,
    IdMemo,
    InvokeHostFunction,
    Keypair,
    MuxedAccount,
    NoneMemo,
    PathPaymentStrictReceive,
    PathPaymentStrictSend,
    Payment,
    ReturnHashMemo,
    TextMemo,
    TransactionBuilder,
)

from portal.adapters.horizon import Horizon

PASSPHRASE = "Tagih Tests ; 2026"
CLOSED_AT = "2026-11-20T12:00:00Z"
PROBLEM_404 = {
    "type": "https://stellar.org/horizon-errors/not_found",
    "title": "Resource Missing",
    "status": 404,
}


@dataclass
class Served:
    """What the double answers to a path: (status, headers, body); a body may be a function."""

    routes: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    delay_seconds: float = 0.0
    drip: bool = False
    url: str = ""

    def add(self, path: str, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.routes[path] = (status, headers or {}, body)

    def count(self, part: str) -> int:
        return sum(part in line for line in self.requests)


def page(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {"_links": {}, "_embedded": {"records": records}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.served.requests.append(f"{self.command} {self.path}")
        status, headers, body = self.served.routes.get(parts.path, (404, {}, PROBLEM_404))
        if callable(body):
            body = body({name: values[-1] for name, values in parse_qs(parts.query).items()})
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        time.sleep(self.served.delay_seconds)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        try:
            if self.served.drip:
                for position in range(len(octets)):
                    self.wfile.write(octets[position : position + 1])
                    time.sleep(0.05)
            else:
                self.wfile.write(octets)
        except OSError:
            self.close_connection = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are kept in `served`."""


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    found.add("/", {"network_passphrase": PASSPHRASE, "history_latest_ledger": 9})
    handler = type("Handler", (_Handler,), {"served": found, "disable_nagle_algorithm": True})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def horizon(served: Served) -> Horizon:
    return Horizon(served.url, passphrase=PASSPHRASE, timeout_seconds=1.0)


@dataclass
class Signed:
    """A signed transaction as Horizon would show it after its ledger closed."""

    hash: str
    inner_hash: str
    record: dict[str, Any]
    operations: list[dict[str, Any]]

    def serve(self, served: Served) -> None:
        for name in {self.hash, self.inner_hash}:
            served.add(f"/transactions/{name}", self.record)
            served.add(f"/transactions/{name}/operations", page(self.operations))


def asset_fields(asset: Asset, prefix: str = "") -> dict[str, str]:
    if asset.is_native():
        return {f"{prefix}asset_type": "native"}
    return {
        f"{prefix}asset_type": asset.type,
        f"{prefix}asset_code": asset.code,
        f"{prefix}asset_issuer": str(asset.issuer),
    }


def place(name: str, account: MuxedAccount) -> dict[str, str]:
    fields = {name: account.account_id}
    if account.account_muxed_id is not None:
        fields[f"{name}_muxed"] = str(account.account_muxed)
        fields[f"{name}_muxed_id"] = str(account.account_muxed_id)
    return fields


def seven(amount: str) -> str:
    whole, _, fraction = amount.partition(".")
    return f"{whole}.{fraction.ljust(7, '0')}"


def operation_fields(operation: Any, source: str) -> dict[str, Any]:
    """Return the fields of one operation as Horizon names them."""
    payer = operation.source.account_id if operation.source else source
    if isinstance(operation, Payment):
        return {
            "type": "payment",
            "from": payer,
            **place("to", operation.destination),
            "amount": seven(operation.amount),
            **asset_fields(operation.asset),
        }
    if isinstance(operation, CreateAccount):
        return {
            "type": "create_account",
            "funder": payer,
            "account": operation.destination,
            "starting_balance": seven(operation.starting_balance),
        }
    if isinstance(operation, AccountMerge):
        return {"type": "account_merge", "account": payer, **place("into", operation.destination)}
    if isinstance(operation, PathPaymentStrictReceive):
        return {
            "type": "path_payment_strict_receive",
            "from": payer,
            **place("to", operation.destination),
            "amount": seven(operation.dest_amount),
            **asset_fields(operation.dest_asset),
            "source_amount": seven(operation.send_max),
            "source_max": seven(operation.send_max),
            **asset_fields(operation.send_asset, "source_"),
        }
    if isinstance(operation, PathPaymentStrictSend):
        return {
            "type": "path_payment_strict_send",
            "from": payer,
            **place("to", operation.destination),
            "amount": seven(operation.dest_min),
            **asset_fields(operation.dest_asset),
            "source_amount": seven(operation.send_amount),
            "destination_min": seven(operation.dest_min),
            **asset_fields(operation.send_asset, "source_"),
        }
    if isinstance(operation, CreateClaimableBalance):
        return {"type": "create_claimable_balance", "amount": seven(operation.amount)}
    if isinstance(operation, Clawback):
        return {
            "type": "clawback",
            **place("from", operation.from_),
            "amount": seven(operation.amount),
            **asset_fields(operation.asset),
        }
    if isinstance(operation, InvokeHostFunction):
        return {"type": "invoke_host_function", "asset_balance_changes": []}
    return {"type": "bump_sequence"}


def memo_fields(memo: Any) -> dict[str, Any]:
    if isinstance(memo, TextMemo):
        encoded = base64.b64encode(memo.memo_text).decode()
        return {"memo_type": "text", "memo": memo.memo_text.decode(errors="replace"), "memo_bytes": encoded}
    if isinstance(memo, IdMemo):
        return {"memo_type": "id", "memo": str(memo.memo_id)}
    if isinstance(memo, HashMemo):
        return {"memo_type": "hash", "memo": base64.b64encode(memo.memo_hash).decode()}
    if isinstance(memo, ReturnHashMemo):
        return {"memo_type": "return", "memo": base64.b64encode(memo.memo_return).decode()}
    return {"memo_type": "none"}


def sign(
    operations: list[Any],
    *,
    payer: Keypair,
    memo: Any = None,
    fee_payer: Keypair | None = None,
    passphrase: str = PASSPHRASE,
    successful: bool = True,
    ledger: int = 7,
) -> Signed:
    """Build, sign and describe a transaction; its operations are numbered as Horizon numbers them.

    The sequence number follows the ledger, so that equal payments of two ledgers differ.
    """
    memo = memo or NoneMemo()
    builder = TransactionBuilder(Account(payer.public_key, ledger), passphrase, base_fee=100)
    for operation in operations:
        builder.append_operation(operation)
    envelope: Any = builder.add_memo(memo).set_timeout(0).build()
    envelope.sign(payer)
    inner = outer = envelope.hash_hex()
    fee_account, extra = payer.public_key, {}
    if fee_payer is not None:
        bump: FeeBumpTransactionEnvelope = TransactionBuilder.build_fee_bump_transaction(
            fee_payer, 200, envelope, passphrase
        )
        bump.sign(fee_payer)
        envelope, outer, fee_account = bump, bump.hash_hex(), fee_payer.public_key
        extra = {"fee_bump_transaction": {"hash": outer}, "inner_transaction": {"hash": inner}}
    first = (ledger << 32) + (1 << 12)
    record = {
        "id": outer,
        "hash": outer,
        "paging_token": str(first),
        "successful": successful,
        "ledger": ledger,
        "created_at": CLOSED_AT,
        "source_account": payer.public_key,
        "fee_account": fee_account,
        "operation_count": len(operations),
        "envelope_xdr": envelope.to_xdr(),
        **memo_fields(memo),
        **extra,
    }
    rows = [
        {
            "id": str(first + position),
            "paging_token": str(first + position),
            "transaction_successful": successful,
            "transaction_hash": outer,
            "created_at": CLOSED_AT,
            "source_account": operation.source.account_id if operation.source else payer.public_key,
            **operation_fields(operation, payer.public_key),
        }
        for position, operation in enumerate(operations, start=1)
    ]
    return Signed(outer, inner, record, rows)


@pytest.fixture(scope="session")
def chain() -> SimpleNamespace:
    """The helpers and a cast of accounts."""
    return SimpleNamespace(
        sign=sign,
        page=page,
        passphrase=PASSPHRASE,
        payer=Keypair.random(),
        merchant=Keypair.random(),
        stranger=Keypair.random(),
        issuer=Keypair.random(),
    )


@pytest.fixture
def pay(chain: SimpleNamespace, served: Served) -> Callable[..., Signed]:
    """Sign a payment of 12.5 XLM to the merchant, change its JSON by `edit` and `edit_operation`, serve."""

    def serve(*, edit: Any = None, edit_operation: Any = None, **options: Any) -> Signed:
        operation = Payment(chain.merchant.public_key, Asset.native(), "12.5")
        signed = sign(options.pop("operations", [operation]), payer=chain.payer, **options)
        signed.record.update(edit or {})
        signed.operations[0].update(edit_operation or {})
        signed.serve(served)
        return signed

    return serve
