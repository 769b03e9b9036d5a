"""Applying one valid transaction: fee and sequence first, for good; then its operations, all or none."""

from dataclasses import dataclass, field

from portal.sandbox import operations, settings_operations
from portal.sandbox.entries import State
from portal.sandbox.envelopes import Envelope
from portal.sandbox.market import Market
from portal.sandbox.operations import Context, Handler
from portal.sandbox.results import (
    Code,
    Effect,
    OperationVerdict,
    Outcome,
    Refused,
    TransactionVerdict,
    TxCode,
    Type,
    success_code,
)
from portal.sandbox.validity import fee_due

_HANDLERS: dict[Type, Handler] = {
    Type.CREATE_ACCOUNT: operations.apply_create_account,
    Type.PAYMENT: operations.apply_payment,
    Type.PATH_PAYMENT_STRICT_RECEIVE: operations.apply_strict_receive,
    Type.PATH_PAYMENT_STRICT_SEND: operations.apply_strict_send,
    Type.ACCOUNT_MERGE: operations.apply_merge,
    Type.CHANGE_TRUST: settings_operations.apply_change_trust,
    Type.ALLOW_TRUST: settings_operations.apply_allow_trust,
    Type.SET_TRUST_LINE_FLAGS: settings_operations.apply_trustline_flags,
    Type.SET_OPTIONS: settings_operations.apply_set_options,
    Type.MANAGE_DATA: settings_operations.apply_manage_data,
    Type.BUMP_SEQUENCE: settings_operations.apply_bump_sequence,
    Type.CLAWBACK: settings_operations.apply_clawback,
    Type.CREATE_CLAIMABLE_BALANCE: settings_operations.apply_create_claimable,
}


@dataclass(slots=True)
class Applied:
    """A transaction of the open ledger, waiting for the close that gives it its time."""

    envelope: Envelope
    verdict: TransactionVerdict
    touched: set[str] = field(default_factory=set)

    def effects(self, index: int) -> list[Effect]:
        outcome = self.verdict.operations[index].outcome
        return [] if outcome is None or not self.verdict.successful else outcome.effects


def apply(envelope: Envelope, state: State, market: Market, *, ledger: int) -> Applied:
    """Apply a transaction that `validity.check` let through to the bottom `state` of the open ledger."""
    fee_charged = fee_due(envelope)
    work = state.overlay()
    _charge(envelope, work, fee_charged, ledger)
    touched = work.merge_down()

    verdicts = [_attempt(envelope, index, work, market, ledger) for index in range(len(envelope.operations))]
    succeeded = all(verdict.succeeded for verdict in verdicts)
    if succeeded:
        touched |= work.merge_down()
    code = TxCode.txSUCCESS if succeeded else TxCode.txFAILED
    return Applied(envelope, TransactionVerdict(code, fee_charged, verdicts), touched)


def _charge(envelope: Envelope, state: State, fee: int, ledger: int) -> None:
    payer = state.write(envelope.fee_source.account)
    source = state.write(envelope.source.account)
    assert payer is not None and source is not None
    payer.balance -= fee
    payer.modified_ledger = ledger
    source.sequence = envelope.sequence
    source.sequence_ledger = source.modified_ledger = ledger


def _attempt(envelope: Envelope, index: int, state: State, market: Market, ledger: int) -> OperationVerdict:
    """Apply one operation; a refused one leaves no trace, and the rest are tried all the same, as core does."""
    source = envelope.operation_source(index)
    if state.read(source.account) is None:
        return OperationVerdict(Code.opNO_ACCOUNT)
    body = envelope.operations[index].body
    layer = state.overlay()
    context = Context(
        layer, market, ledger, source, body, envelope.source.account, sequence=envelope.sequence, index=index
    )
    try:
        outcome: Outcome = _HANDLERS[body.type](context)
    except Refused as refused:
        return OperationVerdict(refused.code)
    layer.merge_down()
    return OperationVerdict(success_code(body.type), outcome)
