"""Whether a transaction may enter the ledger at all: fee, time, sequence, signatures.

The order of the checks is stellar-core's, so that a transaction wrong in two ways gets the same answer here
as on the network. A transaction refused here changes nothing and is not recorded.
"""

from enum import IntEnum

from stellar_sdk import Keypair
from stellar_sdk import xdr as sx
from stellar_sdk.exceptions import BadSignatureError

from portal.sandbox import operations
from portal.sandbox.entries import BASE_FEE, Account, State
from portal.sandbox.envelopes import Envelope, time_limits
from portal.sandbox.results import (
    Code,
    OperationVerdict,
    Outcome,
    Refused,
    TransactionVerdict,
    TxCode,
    Type,
    is_supported,
    success_code,
)

WEIGHT_MAX = 255


class Signatures:
    """The signatures on one hash; remembers which were needed, since an unneeded one is refused."""

    def __init__(self, signed_hash: bytes, signatures: tuple[sx.DecoratedSignature, ...]) -> None:
        self._hash = signed_hash
        self._signatures = signatures
        self._used: set[int] = set()

    def reach(self, account: Account, needed: int) -> bool:
        """Say whether the signers of `account` reach the weight `needed`; at least one must have signed."""
        signers = {
            address: min(weight, WEIGHT_MAX) for address, weight in account.signers.items() if weight > 0
        }
        if account.master_weight > 0:
            signers[account.address] = account.master_weight
        return self._collect(signers, needed)

    def by_key(self, address: str) -> bool:
        """Say whether the key of an account that does not exist yet has signed."""
        return self._collect({address: 1}, 0)

    def _collect(self, signers: dict[str, int], needed: int) -> bool:
        total = 0
        remaining = dict(signers)
        for index, decorated in enumerate(self._signatures):
            for address in list(remaining):
                if self._is_by(decorated, address):
                    self._used.add(index)
                    total += remaining.pop(address)
                    if total >= needed:
                        return True
                    break
        return False

    def _is_by(self, decorated: sx.DecoratedSignature, address: str) -> bool:
        keypair = Keypair.from_public_key(address)
        if keypair.signature_hint() != decorated.hint.signature_hint:
            return False
        try:
            keypair.verify(self._hash, decorated.signature.signature)
        except (BadSignatureError, ValueError):
            return False
        return True

    @property
    def all_used(self) -> bool:
        return len(self._used) == len(self._signatures)


def fee_due(envelope: Envelope) -> int:
    """Return the least fee in stroops; a fee-bump pays for one operation more."""
    return BASE_FEE * (len(envelope.operations) + (envelope.bump_fee is not None))


def check(envelope: Envelope, state: State, *, ledger: int, now: int) -> TransactionVerdict | None:
    """Return the refusal of a transaction that may not enter `ledger`, or None when it may.

    :param now: unix seconds.
    """
    if envelope.bump_fee is not None:
        refusal = _check_fee_bump(envelope, state)
        if refusal is not None:
            return TransactionVerdict(refusal, 0, outer=True)
    code = _before_sequence(envelope, now=now, ledger=ledger)
    if code is not None:
        return TransactionVerdict(code, 0)
    account = state.read(envelope.source.account)
    if account is None:
        return TransactionVerdict(TxCode.txNO_ACCOUNT, 0)
    if not _sequence_fits(envelope, account, ledger):
        return TransactionVerdict(TxCode.txBAD_SEQ, 0)
    signatures = Signatures(envelope.signed_hash, envelope.source_signatures)
    if not signatures.reach(account, account.low):
        return TransactionVerdict(TxCode.txBAD_AUTH, 0)
    if envelope.bump_fee is None and account.spendable < envelope.fee:
        return TransactionVerdict(TxCode.txINSUFFICIENT_BALANCE, 0)
    verdicts = _check_operations(envelope, state, signatures)
    if verdicts is not None:
        return TransactionVerdict(TxCode.txFAILED, 0, verdicts)
    if not signatures.all_used:
        return TransactionVerdict(TxCode.txBAD_AUTH_EXTRA, 0)
    return None


def _check_fee_bump(envelope: Envelope, state: State) -> sx.TransactionResultCode | None:
    assert envelope.bump_fee is not None
    # CAP-15: at least the minimum, and per operation at least what the inner transaction offers.
    too_small = envelope.bump_fee < fee_due(envelope) or (
        envelope.bump_fee * max(1, len(envelope.operations)) < envelope.fee * (len(envelope.operations) + 1)
    )
    if too_small:
        return TxCode.txINSUFFICIENT_FEE
    payer = state.read(envelope.fee_source.account)
    if payer is None:
        return TxCode.txNO_ACCOUNT
    signatures = Signatures(bytes.fromhex(envelope.hash), envelope.signatures)
    if not signatures.reach(payer, payer.low):
        return TxCode.txBAD_AUTH
    if payer.spendable < envelope.bump_fee:
        return TxCode.txINSUFFICIENT_BALANCE
    return None if signatures.all_used else TxCode.txBAD_AUTH_EXTRA


def _before_sequence(envelope: Envelope, *, now: int, ledger: int) -> sx.TransactionResultCode | None:
    if not envelope.operations:
        return TxCode.txMISSING_OPERATION
    limits = time_limits(envelope.tx)
    conditions = envelope.tx.cond.v2
    ledgers = None if conditions is None else conditions.ledger_bounds
    if (limits and now < limits.min_time) or (ledgers and ledger < ledgers.min_ledger.uint32):
        return TxCode.txTOO_EARLY
    if (limits and limits.max_time and now > limits.max_time) or (
        ledgers and ledgers.max_ledger.uint32 and ledger >= ledgers.max_ledger.uint32
    ):
        return TxCode.txTOO_LATE
    if envelope.bump_fee is None and envelope.fee < fee_due(envelope):
        return TxCode.txINSUFFICIENT_FEE
    return None


def _sequence_fits(envelope: Envelope, account: Account, ledger: int) -> bool:
    conditions = envelope.tx.cond.v2
    # A sequence equal to the first of its own ledger is reserved for accounts created in it (CAP-19).
    if envelope.sequence == ledger << 32:
        return False
    if conditions is not None and conditions.min_seq_num is not None:
        return conditions.min_seq_num.sequence_number.int64 <= account.sequence < envelope.sequence
    return envelope.sequence == account.sequence + 1


def _check_operations(
    envelope: Envelope, state: State, signatures: Signatures
) -> list[OperationVerdict] | None:
    """Return verdicts when an operation is malformed or its source did not sign, as core does: the first such
    operation carries the refusal, all others read as successes."""
    for index, operation in enumerate(envelope.operations):
        refusal = _operation_refusal(envelope, index, state, signatures)
        if refusal is None and is_supported(operation.body.type):
            try:
                operations.check_form(operation, envelope.operation_source(index))
            except Refused as refused:
                refusal = refused.code
        if refusal is not None:
            verdicts = [_untouched(other) for other in envelope.operations]
            verdicts[index] = OperationVerdict(refusal)
            return verdicts
    return None


def _untouched(operation: sx.Operation) -> OperationVerdict:
    kind = operation.body.type
    if not is_supported(kind):
        return OperationVerdict(Code.opNOT_SUPPORTED)
    return OperationVerdict(success_code(kind), Outcome())


def _operation_refusal(
    envelope: Envelope, index: int, state: State, signatures: Signatures
) -> IntEnum | None:
    operation = envelope.operations[index]
    source = envelope.operation_source(index).account
    account = state.read(source)
    if account is None:
        return None if signatures.by_key(source) else Code.opBAD_AUTH
    if not signatures.reach(account, _threshold(operation, account)):
        return Code.opBAD_AUTH
    return None if is_supported(operation.body.type) else Code.opNOT_SUPPORTED


def _threshold(operation: sx.Operation, account: Account) -> int:
    """Return the weight an operation needs; the categories are those of the Stellar documentation."""
    body = operation.body
    if body.type in (Type.BUMP_SEQUENCE, Type.ALLOW_TRUST, Type.SET_TRUST_LINE_FLAGS):
        return account.low
    if body.type == Type.ACCOUNT_MERGE:
        return account.high
    if body.type == Type.SET_OPTIONS and body.set_options_op is not None:
        options = body.set_options_op
        changes = (
            options.master_weight,
            options.low_threshold,
            options.med_threshold,
            options.high_threshold,
            options.signer,
        )
        return account.high if any(change is not None for change in changes) else account.medium
    return account.medium
