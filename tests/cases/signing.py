"""Transactions signed by stellar-sdk, described as Horizon describes them after their ledger closed."""

import base64
import re
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from stellar_sdk import (
    Account,
    AccountMerge,
    Address,
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
    scval,
    xdr,
)

from portal.kernel.clock import iso
from tests.cases.served import PASSPHRASE, Served, page

CLOSED_AT = "2026-11-20T12:00:00Z"
CONTRACT = "CA66Q2WFBND6V4UEB7RD4SAXSVIWMD6RA4X3U32ELVFGXV5PJK4T4VSZ"


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

    def edited(self, record: dict[str, Any] | None = None, **operation: Any) -> "Signed":
        """Return a copy whose JSON says something else of the transaction or of its first operation."""
        rows = deepcopy(self.operations)
        rows[0].update(operation)
        return replace(self, record={**self.record, **(record or {})}, operations=rows)


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
    return f"{Decimal(amount):.7f}"


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
    return {"type": re.sub(r"(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()}


def contract_call() -> InvokeHostFunction:
    """Return a call of some contract; what it moved is laid into `asset_balance_changes` by the test."""
    call = xdr.InvokeContractArgs(Address(CONTRACT).to_xdr_sc_address(), scval.to_symbol("pay").sym, [])
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT
    return InvokeHostFunction(xdr.HostFunction(kind, invoke_contract=call))


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
    closed_at: datetime | None = None,
    muxed_payer_id: int | None = None,
    legacy: bool = False,
) -> Signed:
    """Build, sign and describe a transaction; its operations are numbered as Horizon numbers them.

    The sequence number follows the ledger, so that equal payments of two ledgers differ.
    """
    memo, moment = memo or NoneMemo(), CLOSED_AT if closed_at is None else iso(closed_at)
    account = Account(MuxedAccount(payer.public_key, muxed_payer_id), ledger)
    builder = TransactionBuilder(account, passphrase, base_fee=100, v1=not legacy)
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
        "created_at": moment,
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
            "created_at": moment,
            "source_account": operation.source.account_id if operation.source else payer.public_key,
            **operation_fields(operation, payer.public_key),
        }
        for position, operation in enumerate(operations, start=1)
    ]
    return Signed(outer, inner, record, rows)
