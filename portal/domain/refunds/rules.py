"""What a refund may do, and whether a transaction is the refund that was agreed: pure, integer stroops.

A refund is judged by the same standards as a payment: what the signed envelope holds decides, not who says so.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from portal.domain.payments.rules import RuleResult
from portal.kernel.addresses import is_account
from portal.kernel.chain import AccountState, Credit, ObservedTransaction
from portal.kernel.errors import Conflict, Invalid
from portal.kernel.money import ZERO

REASON_MAX = 300
# Each prepared transaction is looked for until its time is over, and a day sees few wallets that busy.
PREPARED_MAX = 10
# A text memo is 28 bytes, an id 64 bits, a hash 32 bytes, by the protocol.
MEMO_TEXT_BYTES_MAX = 28
MEMO_ID_MAX = 2**64 - 1
_DIGITS = re.compile(r"[0-9]{1,20}")
_HASH = re.compile(r"[0-9a-fA-F]{64}")
# Home domains of custodians who hold many people's money in one account, apart by memo. Not all of them set
# SEP-29's flag; a name below one of these counts too.
EXCHANGES = frozenset(
    {
        "binance.com",
        "bitfinex.com",
        "bitstamp.net",
        "bybit.com",
        "coinbase.com",
        "crypto.com",
        "gate.io",
        "huobi.com",
        "indodax.com",
        "kraken.com",
        "kucoin.com",
        "okx.com",
        "tokocrypto.com",
        "upbit.com",
    }
)


class RefundStatus(StrEnum):
    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


# PROCESSING means that a hash was named and the network does not show it yet; it falls back when that is not it.
TRANSITIONS: dict[RefundStatus, frozenset[RefundStatus]] = {
    RefundStatus.PENDING: frozenset(
        {RefundStatus.PROCESSING, RefundStatus.COMPLETED, RefundStatus.CANCELLED, RefundStatus.FAILED}
    ),
    RefundStatus.PROCESSING: frozenset(
        {RefundStatus.PROCESSING, RefundStatus.COMPLETED, RefundStatus.PENDING}
    ),
    RefundStatus.COMPLETED: frozenset(),
    RefundStatus.FAILED: frozenset(),
    RefundStatus.CANCELLED: frozenset(),
}
OPEN = frozenset({RefundStatus.PENDING, RefundStatus.PROCESSING})


class NotRefundable(Conflict):
    """Nothing can be sent back, whatever the amount; `code` says why."""

    code = "not_refundable"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class MemoInvalid(Invalid):
    code = "memo_invalid"


class ReasonMissing(Invalid):
    code = "reason_missing"


@dataclass(frozen=True, slots=True)
class Envelope:
    """An unsigned transaction in base64 XDR and the hash it will have once it is signed."""

    xdr: str
    hash: str


@dataclass(frozen=True, slots=True)
class Memo:
    """`text` is None for kind `none`; an id in digits, a hash in lower-case hex."""

    kind: str = "none"
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """The refund as it was agreed; `used` are operations of the transaction that are other refunds already."""

    source: str
    destination: str
    asset: str
    stroops: int
    memo: Memo
    paid_ledger: int
    used: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class RefundVerdict:
    """`operation_index` is the operation that is the refund; `reason` says why none is."""

    operation_index: int | None
    reason: str | None
    rules: tuple[RuleResult, ...]


@dataclass(frozen=True, slots=True)
class Borne:
    """Which accounts bear a refund; the three add up to its amount, in units of the asset."""

    suspense: Decimal = ZERO
    credit: Decimal = ZERO
    revenue: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Refundable:
    """What decides whether a payment can be refunded at all."""

    status: str
    reason: str | None
    sender: str
    left: Decimal


@dataclass(slots=True)
class _Findings:
    rules: list[RuleResult] = field(default_factory=list)
    reason: str | None = None

    def ask(self, code: str, ok: bool, detail: str, *, otherwise: str) -> bool:
        self.rules.append(RuleResult(code, ok, detail))
        if not ok:
            self.reason = otherwise
        return ok


def may_become(status: str, wanted: RefundStatus) -> bool:
    return wanted in TRANSITIONS[RefundStatus(status)]


def check_not_taken_back(status: str) -> None:
    """:raises NotRefundable: for a payment that was clawed back, also after a refund of it was promised."""
    if status == "REVERSED":
        raise NotRefundable(
            "payment_reversed",
            "The issuer of the asset took this payment back, so there is nothing to refund.",
        )


def check_refundable(payment: Refundable) -> None:
    """:raises NotRefundable: with a sentence that says why and what can be done instead."""
    check_not_taken_back(payment.status)
    if payment.reason == "self_payment":
        raise NotRefundable(
            "self_payment", "This account paid itself: nothing came in, so nothing goes back."
        )
    if payment.reason == "pay_and_return":
        raise NotRefundable(
            "pay_and_return", "The same transaction sent the money out of your wallet again already."
        )
    if not is_account(payment.sender):
        raise NotRefundable(
            "sender_is_contract",
            "A contract sent this payment. A contract cannot be paid like an account, and nobody but its"
            " owner knows whose money it was. Ask your client for an account and send it from your wallet.",
        )
    if payment.left <= 0:
        raise NotRefundable(
            "nothing_left", "All of this payment was refunded, or refunds of it are under way."
        )


def clean_reason(text: str) -> str:
    """Return a person's reason in one line.

    :raises ReasonMissing: when there is none.
    """
    cleaned = " ".join(text.replace("\x00", " ").split())[:REASON_MAX]
    if not cleaned:
        raise ReasonMissing("Say why, so that your colleagues understand it later.", pointer="/reason")
    return cleaned


def clean_memo(kind: str, text: str) -> Memo:
    """Return a memo that the network can carry.

    :raises MemoInvalid: when the text does not fit its kind.
    """
    typed = text.strip()
    if kind == "none":
        if typed:
            raise MemoInvalid("Choose the kind of memo, or leave the memo empty.", pointer="/memo")
        return Memo()
    if not typed:
        raise MemoInvalid("Write the memo, or choose “No memo”.", pointer="/memo")
    if kind == "id" and _DIGITS.fullmatch(typed) and int(typed) <= MEMO_ID_MAX:
        return Memo("id", str(int(typed)))
    if kind == "hash" and _HASH.fullmatch(typed):
        return Memo("hash", typed.lower())
    if kind == "text" and "\x00" not in typed and len(typed.encode()) <= MEMO_TEXT_BYTES_MAX:
        return Memo("text", typed)
    words = {
        "id": f"A memo ID is a whole number up to {MEMO_ID_MAX}.",
        "hash": "A memo hash has 64 characters, 0 to 9 and a to f.",
        "text": f"A memo text has at most {MEMO_TEXT_BYTES_MAX} characters (fewer when some are not plain letters).",
    }
    raise MemoInvalid(words.get(kind, "Choose the kind of memo."), pointer="/memo")


def is_shared(state: AccountState | None) -> bool:
    """Say whether an account is known to hold many people's money, told apart by memo."""
    if state is None:
        return False
    domain = (state.home_domain or "").lower()
    return state.memo_required or any(domain == each or domain.endswith(f".{each}") for each in EXCHANGES)


def share_burden(amount: Decimal, *, is_suspense: bool, excess: Decimal, credit: Decimal) -> Borne:
    """Return who bears a refund: suspense for money without an invoice, else client credit as far as it goes.

    `excess` is what of the payment became its debtor's credit and was not refunded yet, `credit` what the debtor
    still has; the rest is given up by the merchant.
    """
    if is_suspense:
        return Borne(suspense=amount)
    from_credit = max(ZERO, min(amount, excess, credit))
    return Borne(credit=from_credit, revenue=amount - from_credit)


def judge_refund(transaction: ObservedTransaction, expected: Expected) -> RefundVerdict:
    """Return which operation of `transaction` is the refund, or why none is.

    Any operation may be it, and a path payment counts by what the receiver got. When none is, the rules told
    are those of the operation that came closest.
    """
    said = f"successful is {str(transaction.successful).lower()}"
    verified = RuleResult("hash_verified", True, f"the envelope hashes to {transaction.canonical_hash}")
    common = [verified, RuleResult("successful", transaction.successful, said)]
    if not transaction.successful:
        return RefundVerdict(None, "transaction_failed", tuple(common))
    best: _Findings | None = None
    for credit in sorted(transaction.credits, key=lambda each: (each.operation_index, each.credit_index)):
        found = _Findings(list(common))
        _examine(transaction, credit, expected, found)
        if found.reason is None:
            return RefundVerdict(credit.operation_index, None, tuple(found.rules))
        if best is None or len(found.rules) > len(best.rules):
            best = found
    if best is None:
        best = _Findings(list(common))
        best.ask("payment", False, "it moves no money to an account", otherwise="not_a_payment")
    return RefundVerdict(None, best.reason, tuple(best.rules))


def _examine(transaction: ObservedTransaction, credit: Credit, expected: Expected, found: _Findings) -> None:
    """Ask every question in order and stop at the first that fails."""
    ask = found.ask
    if not ask("source", credit.source == expected.source, credit.source, otherwise="wrong_source"):
        return
    is_sent_there = credit.destination == expected.destination
    if not ask("receiver", is_sent_there, credit.destination, otherwise="wrong_receiver"):
        return
    if not ask("asset", credit.asset == expected.asset, credit.asset, otherwise="wrong_asset"):
        return
    detail = f"{credit.stroops} stroops received, {expected.stroops} agreed"
    if not ask("exact", credit.stroops == expected.stroops, detail, otherwise="wrong_amount"):
        return
    said = f"memo of type {transaction.memo_type}, {expected.memo.kind} agreed"
    if not ask("memo", _carries(transaction, credit, expected.memo), said, otherwise="wrong_memo"):
        return
    closed = f"ledger {transaction.ledger}, paid in {expected.paid_ledger}"
    is_later = transaction.ledger > expected.paid_ledger
    if not ask("after_payment", is_later, closed, otherwise="predates_payment"):
        return
    operation = f"operation {credit.operation_index}"
    ask("unused", credit.operation_index not in expected.used, operation, otherwise="hash_used")


def _carries(transaction: ObservedTransaction, credit: Credit, memo: Memo) -> bool:
    """Say whether the money carries the memo that was agreed; where none was, any will do: nobody asked for it.

    An id may travel in a muxed address instead (SEP-23), which means the same to its receiver.
    """
    if memo.kind == "none":
        return True
    assert memo.text is not None, memo
    if memo.kind == "id":
        in_memo = transaction.memo_type == "id" and transaction.memo == memo.text
        return in_memo or str(credit.muxed_id) == memo.text
    wanted = memo.text.encode() if memo.kind == "text" else bytes.fromhex(memo.text)
    return transaction.memo_type == memo.kind and transaction.memo_bytes == wanted
