"""Results of operations and transactions: the XDR that clients decode and the words Horizon puts on it."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from stellar_sdk import xdr as sx

from portal.sandbox.envelopes import Envelope

Code = sx.OperationResultCode
TxCode = sx.TransactionResultCode
Type = sx.OperationType

# Where the operation's own result sits in OperationResultTr, its class, and the prefix of its codes.
_SHAPES: dict[sx.OperationType, tuple[str, Any, str]] = {
    Type.CREATE_ACCOUNT: ("create_account_result", sx.CreateAccountResult, "CREATE_ACCOUNT_"),
    Type.PAYMENT: ("payment_result", sx.PaymentResult, "PAYMENT_"),
    Type.PATH_PAYMENT_STRICT_RECEIVE: (
        "path_payment_strict_receive_result",
        sx.PathPaymentStrictReceiveResult,
        "PATH_PAYMENT_STRICT_RECEIVE_",
    ),
    Type.PATH_PAYMENT_STRICT_SEND: (
        "path_payment_strict_send_result",
        sx.PathPaymentStrictSendResult,
        "PATH_PAYMENT_STRICT_SEND_",
    ),
    Type.SET_OPTIONS: ("set_options_result", sx.SetOptionsResult, "SET_OPTIONS_"),
    Type.CHANGE_TRUST: ("change_trust_result", sx.ChangeTrustResult, "CHANGE_TRUST_"),
    Type.ALLOW_TRUST: ("allow_trust_result", sx.AllowTrustResult, "ALLOW_TRUST_"),
    Type.ACCOUNT_MERGE: ("account_merge_result", sx.AccountMergeResult, "ACCOUNT_MERGE_"),
    Type.MANAGE_DATA: ("manage_data_result", sx.ManageDataResult, "MANAGE_DATA_"),
    Type.BUMP_SEQUENCE: ("bump_seq_result", sx.BumpSequenceResult, "BUMP_SEQUENCE_"),
    Type.CREATE_CLAIMABLE_BALANCE: (
        "create_claimable_balance_result",
        sx.CreateClaimableBalanceResult,
        "CREATE_CLAIMABLE_BALANCE_",
    ),
    Type.CLAWBACK: ("clawback_result", sx.ClawbackResult, "CLAWBACK_"),
    Type.SET_TRUST_LINE_FLAGS: (
        "set_trust_line_flags_result",
        sx.SetTrustLineFlagsResult,
        "SET_TRUST_LINE_FLAGS_",
    ),
}

# Horizon's words where they are not the code's own name in lower case.
_WORDS = {
    "CREATE_ACCOUNT_ALREADY_EXIST": "op_already_exists",
    "PATH_PAYMENT_STRICT_RECEIVE_OVER_SENDMAX": "op_over_source_max",
    "PATH_PAYMENT_STRICT_RECEIVE_OFFER_CROSS_SELF": "op_cross_self",
    "PATH_PAYMENT_STRICT_SEND_UNDER_DESTMIN": "op_under_dest_min",
    "PATH_PAYMENT_STRICT_SEND_OFFER_CROSS_SELF": "op_cross_self",
    "ACCOUNT_MERGE_SEQNUM_TOO_FAR": "op_seq_num_too_far",
    "ALLOW_TRUST_NO_TRUST_LINE": "op_no_trustline",
    "ALLOW_TRUST_TRUST_NOT_REQUIRED": "op_not_required",
    "MANAGE_DATA_NAME_NOT_FOUND": "op_data_name_not_found",
    "MANAGE_DATA_INVALID_NAME": "op_data_invalid_name",
    "opBAD_AUTH": "op_bad_auth",
    "opNO_ACCOUNT": "op_no_source_account",
    "opNOT_SUPPORTED": "op_not_supported",
    "opTOO_MANY_SUBENTRIES": "op_too_many_subentries",
}
_TRANSACTION_WORDS = {
    TxCode.txNO_ACCOUNT: "tx_no_source_account",
    TxCode.txBAD_MIN_SEQ_AGE_OR_GAP: "tx_bad_minseq_age_or_gap",
}


class Refused(Exception):
    """An operation cannot be applied; `code` is a member of its result enum or of OperationResultCode."""

    def __init__(self, code: IntEnum) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(slots=True)
class Effect:
    """What happened to one account; `extra` are the fields that this type adds in Horizon's JSON."""

    account: str
    type: str
    type_i: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """An applied operation: effects, fields known only afterwards, and what its XDR result carries."""

    effects: list[Effect] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class OperationVerdict:
    code: IntEnum
    outcome: Outcome | None = None

    @property
    def succeeded(self) -> bool:
        return self.outcome is not None

    @property
    def word(self) -> str:
        return "op_success" if self.succeeded else operation_word(self.code)


def operation_word(code: IntEnum) -> str:
    name = code.name
    if name in _WORDS:
        return _WORDS[name]
    for _field, _shape, prefix in _SHAPES.values():
        if name.startswith(prefix):
            return "op_" + name.removeprefix(prefix).lower()
    return "op_" + name.removeprefix("op").lower()


def transaction_word(code: sx.TransactionResultCode) -> str:
    return _TRANSACTION_WORDS.get(code, "tx_" + code.name.removeprefix("tx").lower())


def is_supported(kind: sx.OperationType) -> bool:
    return kind in _SHAPES


def _success_payload(operation: sx.Operation) -> dict[str, Any]:
    """Return the body that a successful result of this operation must carry even where nothing happened.

    stellar-core leaves the operations behind a refused one at "success", so their results still encode.
    """
    body = operation.body
    nowhere = sx.SimplePaymentResult(
        sx.AccountID(sx.PublicKey(sx.PublicKeyType.PUBLIC_KEY_TYPE_ED25519, sx.Uint256(bytes(32)))),
        sx.Asset(sx.AssetType.ASSET_TYPE_NATIVE),
        sx.Int64(0),
    )
    if body.type == Type.PATH_PAYMENT_STRICT_RECEIVE:
        return {"success": sx.PathPaymentStrictReceiveResultSuccess(offers=[], last=nowhere)}
    if body.type == Type.PATH_PAYMENT_STRICT_SEND:
        return {"success": sx.PathPaymentStrictSendResultSuccess(offers=[], last=nowhere)}
    if body.type == Type.ACCOUNT_MERGE:
        return {"source_account_balance": sx.Int64(0)}
    if body.type == Type.CREATE_CLAIMABLE_BALANCE:
        kind = sx.ClaimableBalanceIDType.CLAIMABLE_BALANCE_ID_TYPE_V0
        return {"balance_id": sx.ClaimableBalanceID(kind, v0=sx.Hash(bytes(32)))}
    return {}


def _operation_result(operation: sx.Operation, verdict: OperationVerdict) -> sx.OperationResult:
    if isinstance(verdict.code, Code) and verdict.code != Code.opINNER:
        return sx.OperationResult(verdict.code)
    kind = operation.body.type
    if kind not in _SHAPES:
        return sx.OperationResult(Code.opNOT_SUPPORTED)
    name, shape, _prefix = _SHAPES[kind]
    payload: dict[str, Any] = {}
    code: Any = verdict.code
    if verdict.outcome is not None:
        code = success_code(kind)
        payload = verdict.outcome.payload or _success_payload(operation)
    return sx.OperationResult(Code.opINNER, sx.OperationResultTr(kind, **{name: shape(code=code, **payload)}))


def success_code(kind: sx.OperationType) -> IntEnum:
    _name, shape, prefix = _SHAPES[kind]
    enum = getattr(sx, shape.__name__ + "Code")
    code: IntEnum = enum[prefix + "SUCCESS"]
    return code


@dataclass(slots=True)
class TransactionVerdict:
    """How a transaction ended: its code, one verdict per operation if it got that far, the fee in stroops."""

    code: sx.TransactionResultCode
    fee_charged: int
    operations: list[OperationVerdict] = field(default_factory=list)
    # True when the fee-bump itself was refused, before the inner transaction was looked at.
    outer: bool = False

    @property
    def successful(self) -> bool:
        return self.code == TxCode.txSUCCESS

    def words(self, envelope: Envelope) -> dict[str, Any]:
        """Return Horizon's `result_codes`."""
        words: dict[str, Any] = {"transaction": transaction_word(self.code)}
        if envelope.inner_hash is not None and not self.outer:
            name = "tx_fee_bump_inner_success" if self.successful else "tx_fee_bump_inner_failed"
            words = {"transaction": name, "inner_transaction": transaction_word(self.code)}
        if self.operations:
            words["operations"] = [verdict.word for verdict in self.operations]
        return words

    def to_xdr(self, envelope: Envelope) -> str:
        results = None
        if self.code in (TxCode.txSUCCESS, TxCode.txFAILED):
            pairs = zip(envelope.operations, self.operations, strict=True)
            results = [_operation_result(operation, verdict) for operation, verdict in pairs]
        if envelope.inner_hash is None or self.outer:
            result = sx.TransactionResultResult(self.code, results=results)
        else:
            result = self._wrapped(envelope.inner_hash, results)
        return sx.TransactionResult(sx.Int64(self.fee_charged), result, sx.TransactionResultExt(0)).to_xdr()

    def _wrapped(
        self, inner_hash: str, results: list[sx.OperationResult] | None
    ) -> sx.TransactionResultResult:
        inner = sx.InnerTransactionResult(
            # The inner transaction pays nothing; the fee-bump does (CAP-15).
            sx.Int64(0),
            sx.InnerTransactionResultResult(self.code, results=results),
            sx.InnerTransactionResultExt(0),
        )
        code = TxCode.txFEE_BUMP_INNER_SUCCESS if self.successful else TxCode.txFEE_BUMP_INNER_FAILED
        pair = sx.InnerTransactionResultPair(sx.Hash(bytes.fromhex(inner_hash)), inner)
        return sx.TransactionResultResult(code, inner_result_pair=pair)


def meta_xdr(operations: int) -> str:
    """Return a TransactionMeta that says nothing of the entries changed: clients of Horizon's JSON read none."""
    nothing = sx.LedgerEntryChanges([])
    meta = sx.TransactionMetaV3(
        ext=sx.ExtensionPoint(0),
        tx_changes_before=nothing,
        operations=[sx.OperationMeta(nothing) for _ in range(operations)],
        tx_changes_after=nothing,
        soroban_meta=None,
    )
    return sx.TransactionMeta(3, v3=meta).to_xdr()


FEE_META_XDR = sx.LedgerEntryChanges([]).to_xdr()
