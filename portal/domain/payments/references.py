"""Read the payment reference that a memo or a muxed id carries.

Each invoice has one number with a check digit (`kernel/tokens.new_pay_ref`); it travels as MEMO_ID, as the
digits of MEMO_TEXT or as the id of an `M...` address. Hash and return memos never carry one.
"""

import re
from dataclasses import dataclass

from portal.kernel.chain import Credit, ObservedTransaction
from portal.kernel.tokens import pay_ref_is_valid

# A reference has no leading zero, so no two texts of plain digits name the same one.
_DIGITS = re.compile(rb"[1-9][0-9]{11,14}")


@dataclass(frozen=True, slots=True)
class Reference:
    """The number a credit names, or None with the reason why it names none."""

    number: int | None
    reason: str
    detail: str


def memo_reference(transaction: ObservedTransaction) -> int | None:
    """Return the valid reference in the memo; spaces and a leading `#` of a text are overlooked."""
    if transaction.memo_type == "id" and transaction.memo is not None:
        number = int(transaction.memo)
    elif transaction.memo_type == "text" and transaction.memo_bytes is not None:
        digits = transaction.memo_bytes.replace(b" ", b"").removeprefix(b"#")
        if _DIGITS.fullmatch(digits) is None:
            return None
        number = int(digits)
    else:
        return None
    return number if pay_ref_is_valid(number) else None


def muxed_reference(credit: Credit) -> int | None:
    if credit.muxed_id is not None and pay_ref_is_valid(credit.muxed_id):
        return credit.muxed_id
    return None


def candidate_references(transaction: ObservedTransaction) -> frozenset[int]:
    """Return every valid reference that the transaction may name, so that invoices can be locked first."""
    numbers = {memo_reference(transaction)} | {muxed_reference(credit) for credit in transaction.credits}
    return frozenset(number for number in numbers if number is not None)


def resolve_reference(transaction: ObservedTransaction, credit: Credit) -> Reference:
    """Return the one reference of `credit`: its muxed id first, then the memo; both must agree."""
    from_muxed, from_memo = muxed_reference(credit), memo_reference(transaction)
    if from_muxed is not None and from_memo is not None and from_muxed != from_memo:
        return Reference(None, "reference_conflict", f"muxed id {from_muxed} and memo {from_memo} disagree")
    if from_muxed is not None:
        return Reference(from_muxed, "", f"muxed id {from_muxed}")
    if from_memo is not None:
        return Reference(from_memo, "", f"memo_{transaction.memo_type} {from_memo}")
    if credit.muxed_id is not None:
        return Reference(None, "unknown_reference", f"muxed id {credit.muxed_id} is not a reference of ours")
    if transaction.memo_type == "none" or not transaction.memo:
        return Reference(None, "no_reference", "there is no memo and no muxed id")
    return Reference(None, "unknown_reference", f"memo_{transaction.memo_type} is not a reference of ours")
