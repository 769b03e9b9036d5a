"""Turn Horizon's JSON into checked values: whatever contradicts the signed envelope is refused.

Horizon echoes the hash it was asked for, so nothing in its answer counts until it agrees with the envelope.
Amounts are text with 7 places; a number, an exponent or a digit of another script is a contradiction.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

from portal.adapters.horizon_envelope import SignedEnvelope, SignedOperation, read_envelope
from portal.adapters.horizon_fields import (
    DIGITS,
    UINT32_MAX,
    UINT64_MAX,
    Record,
    asset_of,
    moment,
    natural,
    require,
    stroops_of,
)
from portal.kernel.addresses import is_account
from portal.kernel.assets import NATIVE
from portal.kernel.chain import (
    CLAWBACK,
    ChainContradiction,
    Credit,
    Debit,
    ObservedTransaction,
)

# Signed operations whose amount leaves their source at once although nobody receives it in this operation.
_LEAVES_SOURCE = frozenset({"create_claimable_balance"})
# Predicates of claimable balances nest deepest in what Horizon writes, and stay below 20.
_DEPTH_MAX = 40


def read_transaction(record: object, passphrase: str) -> tuple[Record, SignedEnvelope]:
    """Return a transaction's JSON with its envelope after comparing the two.

    :raises ChainContradiction: naming the first field that disagrees.
    """
    if not isinstance(record, dict):
        raise ChainContradiction("the transaction is no object")
    envelope = read_envelope(record.get("envelope_xdr"), passphrase)
    require(isinstance(record.get("hash"), str), "hash")
    require(record["hash"].lower() in envelope.hashes, "hash")
    for part in ("fee_bump_transaction", "inner_transaction"):
        if part in record:
            require(isinstance(record[part], dict) and record[part].get("hash") in envelope.hashes, part)
    require(isinstance(record.get("successful"), bool), "successful")
    require(record.get("source_account") == envelope.source_account, "source_account")
    require(record.get("fee_account", envelope.fee_account) == envelope.fee_account, "fee_account")
    require(record.get("operation_count") == len(envelope.operations), "operation_count")
    require(type(record.get("ledger")) is int and 0 < record["ledger"] <= UINT32_MAX, "ledger")
    _compare_memo(record, envelope)
    return record, envelope


def observe(
    record: Record,
    envelope: SignedEnvelope,
    operations: Sequence[object],
    merged_stroops: Callable[[str, str], int],
) -> ObservedTransaction:
    """Return the transaction with the credits and debits of `operations`, all of them or none if it failed.

    `merged_stroops(operation_id, address)` tells what an account_merge paid to `address`, from its effect.

    :raises ChainContradiction: when an operation disagrees with the envelope.
    """
    credits: list[Credit] = []
    debits: list[Debit] = []
    if record["successful"]:
        require(len(operations) == len(envelope.operations), "the number of operations")
        previous = -1
        for index, (found, signed) in enumerate(zip(operations, envelope.operations, strict=True)):
            operation = _matching(found, signed, envelope)
            require(int(operation["id"]) > previous, "the order of operations")
            previous = int(operation["id"])
            _classify(index, operation, signed, credits, debits, merged_stroops)
    return ObservedTransaction(
        canonical_hash=envelope.hashes[0],
        hashes=envelope.hashes,
        ledger=record["ledger"],
        closed_at=moment(record.get("created_at"), "created_at"),
        source_account=envelope.source_account,
        successful=record["successful"],
        memo_type=envelope.memo_type,
        memo=_memo_for_people(envelope),
        memo_bytes=envelope.memo_bytes,
        envelope_xdr=record["envelope_xdr"],
        credits=tuple(credits),
        debits=tuple(debits),
        raw=_storable({**record, "operations": list(operations)}),
    )


def merge_effect_stroops(effects: Sequence[object], address: str) -> int:
    """Return what the effects of one account_merge credit to `address`.

    :raises ChainContradiction: unless exactly one native credit is there.
    """
    credited = [
        effect
        for effect in effects
        if isinstance(effect, dict)
        and effect.get("type") == "account_credited"
        and effect.get("account") == address
    ]
    require(len(credited) == 1 and credited[0].get("asset_type") == NATIVE, "the effect of account_merge")
    return stroops_of(credited[0].get("amount"), "the effect of account_merge")


def _compare_memo(record: Record, envelope: SignedEnvelope) -> None:
    require(record.get("memo_type") == envelope.memo_type, "memo_type")
    memo = record.get("memo")
    if envelope.memo_type == "none":
        require(memo is None, "memo")
    elif envelope.memo_type == "id":
        require(memo == str(envelope.memo_id), "memo")
    elif envelope.memo_type == "text":
        assert envelope.memo_bytes is not None
        _compare_text_memo(record, envelope.memo_bytes)
    else:
        require(_decoded(memo) == envelope.memo_bytes, "memo")


def _compare_text_memo(record: Record, signed: bytes) -> None:
    if record.get("memo_bytes") is not None:
        require(_decoded(record["memo_bytes"]) == signed, "memo_bytes")
    try:
        text = signed.decode()
    except UnicodeDecodeError:
        # Horizon writes replacement characters here, so only the bytes can be compared.
        return
    if "\0" not in text:
        require((record.get("memo") or "") == text, "memo")


def _decoded(text: object) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def _memo_for_people(envelope: SignedEnvelope) -> str | None:
    if envelope.memo_type == "id":
        return str(envelope.memo_id)
    if envelope.memo_bytes is None:
        return None
    if envelope.memo_type == "text":
        return envelope.memo_bytes.decode(errors="replace").replace("\0", "\ufffd")
    return envelope.memo_bytes.hex()


def _matching(found: object, signed: SignedOperation, envelope: SignedEnvelope) -> Record:
    """Return the JSON of an operation after comparing all that the envelope fixes."""
    if not isinstance(found, dict):
        raise ChainContradiction("an operation is no object")
    require(
        isinstance(found.get("id"), str) and DIGITS.fullmatch(found["id"]) is not None, "the operation's id"
    )
    require(found.get("transaction_hash") in envelope.hashes, "transaction_hash")
    # Only operations of successful transactions come here.
    require(found.get("transaction_successful", True) is True, "transaction_successful")
    require(found.get("type") == signed.kind, "type")
    require(found.get("type_i", signed.kind_number) == signed.kind_number, "type_i")
    require(found.get("source_account", signed.source) == signed.source, "source_account")
    names = {"create_account": ("funder", "account"), "account_merge": ("account", "into")}
    if signed.kind in {"payment", "path_payment_strict_receive", "path_payment_strict_send", *names}:
        source, destination = names.get(signed.kind, ("from", "to"))
        require(found.get(source) == signed.source, source)
        require(found.get(destination) == signed.destination, destination)
        muxed = found.get(f"{destination}_muxed_id")
        require(muxed is None or natural(muxed, "muxed id") == signed.muxed_id, f"{destination}_muxed_id")
    return found


def _classify(
    index: int,
    operation: Record,
    signed: SignedOperation,
    credits: list[Credit],
    debits: list[Debit],
    merged_stroops: Callable[[str, str], int],
) -> None:
    """Append what operation `index` brought to and took from accounts."""
    if signed.kind == "invoke_host_function":
        _classify_contract(index, operation, credits, debits)
        return
    if signed.kind == CLAWBACK:
        assert signed.destination is not None and signed.asset is not None and signed.stroops is not None
        require(operation.get("from") == signed.destination, "from")
        require(asset_of(operation) == signed.asset, "asset")
        require(stroops_of(operation.get("amount"), "amount") == signed.stroops, "amount")
        debits.append(
            Debit(index, signed.destination, signed.source, signed.asset, signed.stroops, signed.kind)
        )
        return
    if signed.kind in _LEAVES_SOURCE:
        assert signed.asset is not None and signed.stroops is not None
        debits.append(Debit(index, signed.source, None, signed.asset, signed.stroops, signed.kind))
        return
    received = _received(operation, signed, merged_stroops)
    if received is None:
        return
    assert signed.destination is not None and signed.asset is not None
    sent_asset, sent = signed.asset, received
    if signed.send_asset is not None:
        sent_asset, sent = signed.send_asset, _sent(operation, signed)
    if sent > 0:
        debits.append(Debit(index, signed.source, signed.destination, sent_asset, sent, signed.kind))
    if received > 0:
        credits.append(
            Credit(
                index,
                0,
                signed.kind,
                signed.source,
                signed.destination,
                signed.asset,
                received,
                signed.muxed_id,
            )
        )


def _received(
    operation: Record, signed: SignedOperation, merged_stroops: Callable[[str, str], int]
) -> int | None:
    """Return what the destination received, or None when the operation pays nobody."""
    if signed.kind == "account_merge":
        assert signed.destination is not None
        return merged_stroops(operation["id"], signed.destination)
    if signed.kind == "create_account":
        stroops = stroops_of(operation.get("starting_balance"), "starting_balance")
        require(stroops == signed.stroops, "starting_balance")
        return stroops
    if signed.kind not in {"payment", "path_payment_strict_receive", "path_payment_strict_send"}:
        return None
    require(asset_of(operation) == signed.asset, "asset")
    stroops = stroops_of(operation.get("amount"), "amount")
    assert signed.stroops is not None
    require(stroops >= signed.stroops if signed.is_minimum else stroops == signed.stroops, "amount")
    return stroops


def _sent(operation: Record, signed: SignedOperation) -> int:
    """Return what a path payment took from its source."""
    require(asset_of(operation, "source_") == signed.send_asset, "source_asset")
    stroops = stroops_of(operation.get("source_amount"), "source_amount")
    assert signed.send_stroops is not None
    is_possible = stroops <= signed.send_stroops if signed.is_send_maximum else stroops == signed.send_stroops
    require(is_possible, "source_amount")
    return stroops


def _classify_contract(index: int, operation: Record, credits: list[Credit], debits: list[Debit]) -> None:
    """Read the transfers of Stellar assets that a contract call caused.

    The envelope says only which call was made; what it moved is known from Horizon's list alone. Transfers
    from an issuer appear as `mint` since protocol 23 (CAP-67), so those are money received too.
    """
    changes = operation.get("asset_balance_changes") or []
    require(isinstance(changes, list), "asset_balance_changes")
    received = 0
    for change in changes:
        require(isinstance(change, dict), "asset_balance_changes")
        kind, payer, receiver = change.get("type"), change.get("from"), change.get("to")
        pays = kind in {"transfer", "mint"} and isinstance(receiver, str) and is_account(receiver)
        takes = isinstance(payer, str) and is_account(payer)
        if not pays and not takes:
            # Contract balances are 128-bit and no concern of a wallet.
            continue
        asset, stroops = asset_of(change), stroops_of(change.get("amount"), "asset_balance_changes")
        if takes:
            kind_of_debit = CLAWBACK if kind == CLAWBACK else f"contract_{kind}"
            debits.append(Debit(index, str(payer), receiver if pays else None, asset, stroops, kind_of_debit))
        if pays and stroops > 0:
            source = payer if isinstance(payer, str) and payer else asset.partition(":")[2] or str(receiver)
            muxed_id = _contract_muxed_id(change)
            credits.append(
                Credit(index, received, f"contract_{kind}", source, str(receiver), asset, stroops, muxed_id)
            )
            received += 1


def _contract_muxed_id(change: Record) -> int | None:
    """Return the id of the `M...` address a contract transfer named; texts and byte strings are none."""
    value = change.get("destination_muxed_id")
    if change.get("destination_muxed_id_type", "uint64") != "uint64":
        return None
    if isinstance(value, str) and DIGITS.fullmatch(value) is not None and int(value) <= UINT64_MAX:
        return int(value)
    return value if type(value) is int and 0 <= value <= UINT64_MAX else None


def _storable(value: Any, depth: int = 0) -> Any:
    """Return `value` with what PostgreSQL's jsonb refuses (NUL, lone surrogates) replaced."""
    require(depth <= _DEPTH_MAX, "the nesting")
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_storable(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item, depth + 1) for key, item in value.items()}
    return value
