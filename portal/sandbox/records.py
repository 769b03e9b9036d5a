"""Horizon's JSON of transactions, operations and effects, without the links, which depend on the host asked.

Field names and their presence follow Horizon's own resources; the recorded answers of the public networks
are what the tests hold this against.
"""

import base64
import codecs
from datetime import UTC, datetime
from typing import Any

from stellar_sdk import xdr as sx

from portal.sandbox.application import Applied
from portal.sandbox.envelopes import (
    Envelope,
    account_address,
    asset_key,
    party,
    time_limits,
)
from portal.sandbox.operations import asset_fields, muxed_fields, units
from portal.sandbox.results import FEE_META_XDR, Type, meta_xdr

PAYMENT_TYPES = frozenset(
    {
        Type.CREATE_ACCOUNT,
        Type.PAYMENT,
        Type.PATH_PAYMENT_STRICT_RECEIVE,
        Type.PATH_PAYMENT_STRICT_SEND,
        Type.ACCOUNT_MERGE,
    }
)
_ACCOUNT_FLAG_NAMES = {
    1: "auth_required",
    2: "auth_revocable",
    4: "auth_immutable",
    8: "auth_clawback_enabled",
}
_LINE_FLAG_NAMES = {1: "authorized", 2: "authorized_to_maintain_liabilites", 4: "clawback_enabled"}
_YEAR_9999 = 253402300799


def _one_mark_per_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


# Horizon marks every bad byte, where Python would mark every bad sequence once.
codecs.register_error("sandbox-mark-bytes", _one_mark_per_byte)


def moment(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, _YEAR_9999), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _memo(memo: sx.Memo) -> dict[str, str]:
    if memo.type == sx.MemoType.MEMO_TEXT and memo.text is not None:
        # PostgreSQL, where Horizon keeps it, takes no NUL: the bytes show it, the text does not.
        text = memo.text.decode("utf-8", "sandbox-mark-bytes").replace("\x00", "")
        return {"memo": text, "memo_bytes": _b64(memo.text), "memo_type": "text"}
    if memo.type == sx.MemoType.MEMO_ID and memo.id is not None:
        return {"memo": str(memo.id.uint64), "memo_type": "id"}
    if memo.type == sx.MemoType.MEMO_HASH and memo.hash is not None:
        return {"memo": _b64(memo.hash.hash), "memo_type": "hash"}
    if memo.type == sx.MemoType.MEMO_RETURN and memo.ret_hash is not None:
        return {"memo": _b64(memo.ret_hash.hash), "memo_type": "return"}
    return {"memo_type": "none"}


def _signatures(signatures: tuple[sx.DecoratedSignature, ...]) -> list[str]:
    return [_b64(decorated.signature.signature) for decorated in signatures]


def _preconditions(tx: sx.Transaction) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    limits = time_limits(tx)
    if limits is not None:
        shown["timebounds"] = {"min_time": str(limits.min_time)}
        if limits.max_time:
            shown["timebounds"]["max_time"] = str(limits.max_time)
    conditions = tx.cond.v2
    if conditions is not None and conditions.ledger_bounds is not None:
        bounds = conditions.ledger_bounds
        shown["ledgerbounds"] = {
            "min_ledger": bounds.min_ledger.uint32,
            "max_ledger": bounds.max_ledger.uint32,
        }
    if conditions is not None and conditions.min_seq_num is not None:
        shown["min_account_sequence"] = str(conditions.min_seq_num.sequence_number.int64)
    return shown


def _time_fields(tx: sx.Transaction) -> dict[str, Any]:
    limits = time_limits(tx)
    fields: dict[str, Any] = {}
    if limits is not None:
        fields["valid_after"] = moment(limits.min_time)
        if limits.max_time:
            fields["valid_before"] = moment(limits.max_time)
    preconditions = _preconditions(tx)
    return fields | {"preconditions": preconditions} if preconditions else fields


def transaction_record(applied: Applied, *, identity: int, ledger: int, closed_at: str) -> dict[str, Any]:
    """Return the record as lists show it; `as_asked_by` turns it into the answer for an inner hash."""
    envelope = applied.envelope
    body: dict[str, Any] = _memo(envelope.tx.memo) | {
        "id": envelope.hash,
        "paging_token": str(identity),
        "successful": applied.verdict.successful,
        "hash": envelope.hash,
        "ledger": ledger,
        "created_at": closed_at,
        "source_account": envelope.source.account,
        **muxed_fields("account", envelope.source),
        "source_account_sequence": str(envelope.sequence),
        "fee_account": envelope.fee_source.account,
        **muxed_fields("fee_account", envelope.fee_source),
        "fee_charged": str(applied.verdict.fee_charged),
        "max_fee": str(envelope.fee if envelope.bump_fee is None else envelope.bump_fee),
        "operation_count": len(envelope.operations),
        "envelope_xdr": envelope.xdr,
        "result_xdr": applied.verdict.to_xdr(envelope),
        "result_meta_xdr": meta_xdr(len(envelope.operations)),
        "fee_meta_xdr": FEE_META_XDR,
        "signatures": _signatures(envelope.signatures),
        **_time_fields(envelope.tx),
    }
    if envelope.inner_hash is not None and envelope.inner_signatures is not None:
        body["fee_bump_transaction"] = {"hash": envelope.hash, "signatures": _signatures(envelope.signatures)}
        body["inner_transaction"] = {
            "hash": envelope.inner_hash,
            "signatures": _signatures(envelope.inner_signatures),
            "max_fee": str(envelope.fee),
        }
    return body


def as_asked_by(hash_text: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the record for a lookup by either hash: Horizon echoes the one that was asked for."""
    if body["hash"] == hash_text or "inner_transaction" not in body:
        return body
    return body | {"id": hash_text, "hash": hash_text, "signatures": body["inner_transaction"]["signatures"]}


def operation_record(
    applied: Applied, index: int, *, identity: int, closed_at: str
) -> tuple[dict[str, Any], set[str]]:
    """Return the record of one operation and the accounts it is listed under."""
    envelope = applied.envelope
    operation = envelope.operations[index]
    source = envelope.operation_source(index)
    kind = operation.body.type
    details, others = _details(operation.body, envelope, index)
    outcome = applied.verdict.operations[index].outcome
    if outcome is not None and applied.verdict.successful:
        details |= outcome.details
    body: dict[str, Any] = {
        "id": str(identity),
        "paging_token": str(identity),
        "transaction_successful": applied.verdict.successful,
        "source_account": source.account,
        **muxed_fields("source_account", source),
        "type": kind.name.lower(),
        "type_i": int(kind),
        "created_at": closed_at,
        "transaction_hash": envelope.hash,
        **details,
    }
    return body, {source.account, *others}


def _details(body: sx.OperationBody, envelope: Envelope, index: int) -> tuple[dict[str, Any], list[str]]:
    source = envelope.operation_source(index)
    who = {"from": source.account} | muxed_fields("from", source)
    if body.create_account_op is not None:
        account = account_address(body.create_account_op.destination)
        stroops = body.create_account_op.starting_balance.int64
        funder = {"funder": source.account} | muxed_fields("funder", source)
        return {"starting_balance": units(stroops), **funder, "account": account}, [account]
    if body.payment_op is not None:
        to = party(body.payment_op.destination)
        fields = _asset(body.payment_op.asset) | who | {"to": to.account} | muxed_fields("to", to)
        return fields | {"amount": units(body.payment_op.amount.int64)}, [to.account]
    if body.path_payment_strict_receive_op is not None or body.path_payment_strict_send_op is not None:
        return _path_details(body, who)
    if body.destination is not None:
        into = party(body.destination)
        merged = {"account": source.account} | muxed_fields("account", source)
        return merged | {"into": into.account} | muxed_fields("into", into), [into.account]
    return _settings_details(body, source.account)


def _path_details(body: sx.OperationBody, who: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a path payment; a failed one moved nothing, so the open side of it reads 0."""
    receive, send = body.path_payment_strict_receive_op, body.path_payment_strict_send_op
    if receive is not None:
        to, path = party(receive.destination), receive.path
        amounts = {"amount": units(receive.dest_amount.int64), "path": [_asset(asset) for asset in path]}
        amounts |= {"source_amount": units(0), "source_max": units(receive.send_max.int64)}
        assets = (receive.dest_asset, receive.send_asset)
    else:
        assert send is not None
        to, path = party(send.destination), send.path
        amounts = {"amount": units(0), "path": [_asset(asset) for asset in path]}
        amounts |= {
            "source_amount": units(send.send_amount.int64),
            "destination_min": units(send.dest_min.int64),
        }
        assets = (send.dest_asset, send.send_asset)
    fields = _asset(assets[0]) | who | {"to": to.account} | muxed_fields("to", to)
    return fields | amounts | _asset(assets[1], "source_"), [to.account]


def _asset(asset: sx.Asset, prefix: str = "") -> dict[str, str]:
    return asset_fields(asset_key(asset) or "native", prefix)


def _flags(value: int, names: dict[int, str], prefix: str) -> dict[str, Any]:
    bits = [bit for bit in names if value & bit]
    return {prefix: bits, f"{prefix}_s": [names[bit] for bit in bits]} if bits else {}


def _settings_details(body: sx.OperationBody, source: str) -> tuple[dict[str, Any], list[str]]:
    if body.change_trust_op is not None:
        asset = asset_key(body.change_trust_op.line) or "native"
        limit = {"limit": units(max(0, body.change_trust_op.limit.int64))}
        return asset_fields(asset) | limit | {"trustee": asset.partition(":")[2], "trustor": source}, []
    if body.set_options_op is not None:
        return _option_details(body.set_options_op), []
    if body.manage_data_op is not None:
        value = body.manage_data_op.data_value
        name = body.manage_data_op.data_name.string64.decode("utf-8", "replace")
        return {"name": name, "value": None if value is None else _b64(value.data_value)}, []
    if body.bump_sequence_op is not None:
        return {"bump_to": str(body.bump_sequence_op.bump_to.sequence_number.int64)}, []
    return _issuer_details(body, source)


def _option_details(operation: sx.SetOptionsOp) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if operation.home_domain is not None:
        fields["home_domain"] = operation.home_domain.string32.decode("utf-8", "replace")
    if operation.inflation_dest is not None:
        fields["inflation_dest"] = account_address(operation.inflation_dest)
    numbers = {
        "master_key_weight": operation.master_weight,
        "low_threshold": operation.low_threshold,
        "med_threshold": operation.med_threshold,
        "high_threshold": operation.high_threshold,
    }
    fields |= {name: number.uint32 for name, number in numbers.items() if number is not None}
    if operation.signer is not None and operation.signer.key.ed25519 is not None:
        key = sx.MuxedAccount(sx.CryptoKeyType.KEY_TYPE_ED25519, ed25519=operation.signer.key.ed25519)
        fields |= {"signer_key": party(key).account, "signer_weight": operation.signer.weight.uint32}
    if operation.set_flags is not None:
        fields |= _flags(operation.set_flags.uint32, _ACCOUNT_FLAG_NAMES, "set_flags")
    if operation.clear_flags is not None:
        fields |= _flags(operation.clear_flags.uint32, _ACCOUNT_FLAG_NAMES, "clear_flags")
    return fields


def _issuer_details(body: sx.OperationBody, source: str) -> tuple[dict[str, Any], list[str]]:
    if body.allow_trust_op is not None:
        allow = body.allow_trust_op
        trustor = account_address(allow.trustor)
        raw = allow.asset.asset_code4.asset_code4 if allow.asset.asset_code4 else b""
        raw = allow.asset.asset_code12.asset_code12 if allow.asset.asset_code12 else raw
        asset = f"{raw.rstrip(bytes(1)).decode('ascii', 'replace')}:{source}"
        shown = {"trustee": source, "trustor": trustor, "authorize": allow.authorize.uint32 == 1}
        shown |= {"authorize_to_maintain_liabilities": allow.authorize.uint32 == 2}
        return asset_fields(asset) | shown, [trustor]
    if body.set_trust_line_flags_op is not None:
        change = body.set_trust_line_flags_op
        trustor = account_address(change.trustor)
        fields: dict[str, Any] = _asset(change.asset) | {"trustor": trustor}
        fields |= _flags(change.set_flags.uint32, _LINE_FLAG_NAMES, "set_flags")
        return fields | _flags(change.clear_flags.uint32, _LINE_FLAG_NAMES, "clear_flags"), [trustor]
    if body.clawback_op is not None:
        holder = party(body.clawback_op.from_)
        fields = _asset(body.clawback_op.asset) | {"from": holder.account} | muxed_fields("from", holder)
        return fields | {"amount": units(body.clawback_op.amount.int64)}, [holder.account]
    if body.create_claimable_balance_op is not None:
        balance = body.create_claimable_balance_op
        claimants = [claimant.v0 for claimant in balance.claimants if claimant.v0 is not None]
        shown_claimants = [
            {
                "destination": account_address(claimant.destination),
                "predicate": _predicate(claimant.predicate),
            }
            for claimant in claimants
        ]
        amount = {"asset": asset_key(balance.asset), "amount": units(balance.amount.int64)}
        fields = {"sponsor": source, **amount, "claimants": shown_claimants}
        return fields, [account_address(claimant.destination) for claimant in claimants]
    return {}, []


def _predicate(predicate: sx.ClaimPredicate) -> dict[str, Any]:
    kind = sx.ClaimPredicateType
    if predicate.type == kind.CLAIM_PREDICATE_AND:
        return {"and": [_predicate(part) for part in predicate.and_predicates or []]}
    if predicate.type == kind.CLAIM_PREDICATE_OR:
        return {"or": [_predicate(part) for part in predicate.or_predicates or []]}
    if predicate.type == kind.CLAIM_PREDICATE_NOT and predicate.not_predicate is not None:
        return {"not": _predicate(predicate.not_predicate)}
    if predicate.abs_before is not None:
        seconds = predicate.abs_before.int64
        return {"abs_before": moment(max(0, seconds)), "abs_before_epoch": str(seconds)}
    if predicate.rel_before is not None:
        return {"rel_before": str(predicate.rel_before.int64)}
    return {"unconditional": True}
