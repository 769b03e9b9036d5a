"""Closing a ledger: the transactions it took in become the rows that one write records."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stellar_sdk import xdr as sx

from portal.kernel.clock import iso
from portal.sandbox.application import Applied
from portal.sandbox.entries import BASE_FEE, BASE_RESERVE, State
from portal.sandbox.market import TOTAL_COINS
from portal.sandbox.operations import units
from portal.sandbox.records import PAYMENT_TYPES, operation_record, transaction_record
from portal.sandbox.store import Closing, dump

PROTOCOL_VERSION = 23
TRANSACTION_SET_MAX = 1000


@dataclass(frozen=True, slots=True)
class Header:
    """What the next ledger needs to know of the last one; the fee pool in stroops."""

    sequence: int
    hash: str
    fee_pool: int


def ledger_id(sequence: int) -> int:
    """Return the TOID (SEP-35) of a ledger; a transaction adds its order << 12, an operation its own."""
    return sequence << 32


def build(previous: Header, applied: list[Applied], state: State, now: datetime) -> tuple[Closing, Header]:
    """Return everything that closing the ledger after `previous` writes, and its own header."""
    sequence = previous.sequence + 1
    closed_at = iso(now)
    closing = Closing(sequence, {})
    for order, item in enumerate(applied, start=1):
        _add_transaction(closing, item, sequence, order, closed_at)
        for address in item.touched:
            account = state.read(address)
            if account is not None and account.modified_ledger == sequence:
                account.modified_at = closed_at
                if account.sequence_ledger == sequence:
                    account.sequence_time = int(now.timestamp())
            closing.accounts[address] = account
    fee_pool = previous.fee_pool + sum(item.verdict.fee_charged for item in applied)
    header_xdr = _header_xdr(previous, fee_pool, applied, now)
    header = Header(sequence, hashlib.sha256(header_xdr).hexdigest(), fee_pool)
    closing.ledger = _ledger_record(header, previous.hash, applied, closed_at, header_xdr)
    return closing, header


def _ledger_record(
    header: Header, previous_hash: str, applied: list[Applied], closed_at: str, header_xdr: bytes
) -> dict[str, Any]:
    successful = [item for item in applied if item.verdict.successful]
    return {
        "id": header.hash,
        "paging_token": str(ledger_id(header.sequence)),
        "hash": header.hash,
        "prev_hash": previous_hash,
        "sequence": header.sequence,
        "successful_transaction_count": len(successful),
        "failed_transaction_count": len(applied) - len(successful),
        "operation_count": sum(len(item.envelope.operations) for item in successful),
        "tx_set_operation_count": sum(len(item.envelope.operations) for item in applied),
        "closed_at": closed_at,
        "total_coins": units(TOTAL_COINS),
        "fee_pool": units(header.fee_pool),
        "base_fee_in_stroops": BASE_FEE,
        "base_reserve_in_stroops": BASE_RESERVE,
        "max_tx_set_size": TRANSACTION_SET_MAX,
        "protocol_version": PROTOCOL_VERSION,
        "header_xdr": base64.b64encode(header_xdr).decode(),
    }


def _header_xdr(previous: Header, fee_pool: int, applied: list[Applied], now: datetime) -> bytes:
    content = hashlib.sha256("".join(item.envelope.hash for item in applied).encode()).digest()
    value = sx.StellarValue(
        tx_set_hash=sx.Hash(content),
        close_time=sx.TimePoint(sx.Uint64(int(now.timestamp()))),
        upgrades=[],
        ext=sx.StellarValueExt(sx.StellarValueType.STELLAR_VALUE_BASIC),
    )
    nothing = sx.Hash(bytes(32))
    header = sx.LedgerHeader(
        ledger_version=sx.Uint32(PROTOCOL_VERSION),
        previous_ledger_hash=sx.Hash(bytes.fromhex(previous.hash)),
        scp_value=value,
        tx_set_result_hash=nothing,
        bucket_list_hash=nothing,
        ledger_seq=sx.Uint32(previous.sequence + 1),
        total_coins=sx.Int64(TOTAL_COINS),
        fee_pool=sx.Int64(fee_pool),
        inflation_seq=sx.Uint32(0),
        id_pool=sx.Uint64(0),
        base_fee=sx.Uint32(BASE_FEE),
        base_reserve=sx.Uint32(BASE_RESERVE),
        max_tx_set_size=sx.Uint32(TRANSACTION_SET_MAX),
        skip_list=[nothing] * 4,
        ext=sx.LedgerHeaderExt(0),
    )
    return header.to_xdr_bytes()


def _add_transaction(closing: Closing, item: Applied, sequence: int, order: int, closed_at: str) -> None:
    identity = ledger_id(sequence) | order << 12
    envelope = item.envelope
    successful = item.verdict.successful
    body = transaction_record(item, identity=identity, ledger=sequence, closed_at=closed_at)
    words = None if successful else dump(item.verdict.words(envelope))
    closing.transactions.append(
        (identity, envelope.hash, envelope.inner_hash, sequence, int(successful), dump(body), words)
    )
    listed = {envelope.source.account, envelope.fee_source.account}
    for index, operation in enumerate(envelope.operations):
        operation_id = identity + index + 1
        record, accounts = operation_record(item, index, identity=operation_id, closed_at=closed_at)
        listed |= accounts
        payment = int(operation.body.type in PAYMENT_TYPES)
        closing.operations.append((operation_id, int(successful), payment, dump(record)))
        closing.operation_accounts += [(account, operation_id) for account in accounts]
        _add_effects(closing, item, index, operation_id, closed_at)
    closing.transaction_accounts += [(account, identity) for account in listed]


def _add_effects(closing: Closing, item: Applied, index: int, operation_id: int, closed_at: str) -> None:
    for position, effect in enumerate(item.effects(index), start=1):
        record = {
            "id": f"{operation_id:019d}-{position:010d}",
            "paging_token": f"{operation_id}-{position}",
            "account": effect.account,
            "type": effect.type,
            "type_i": effect.type_i,
            "created_at": closed_at,
            **effect.extra,
        }
        closing.effects.append((operation_id, position, effect.account, dump(record)))
