"""Decide what an observed transaction pays: pure functions over integer stroops.

One function, `judge`, for every entry point (pasted hash, watcher, API, manual match), so that the same
facts always have the same verdict. Nothing is ever matched by amount alone: a hash is public and proves
nothing about who paid; only the reference names an invoice.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from portal.domain.payments.references import candidate_references, resolve_reference
from portal.kernel.assets import NATIVE
from portal.kernel.chain import Credit, Debit, ObservedTransaction
from portal.kernel.errors import Invalid

__all__ = [
    "ISSUE_SKEW",
    "Context",
    "CreditVerdict",
    "HashMalformed",
    "InvoiceFacts",
    "MerchantPolicy",
    "Outcome",
    "RuleResult",
    "Verdict",
    "candidate_references",
    "explain_for_invoice",
    "judge",
    "parse_hash",
]

# ASCII only: \d and str.isalnum() would let other scripts' digits through.
_HASH = re.compile(r"[0-9a-fA-F]{64}")
# The portal's clock and the validators' need not agree to the second.
ISSUE_SKEW = timedelta(seconds=60)


class HashMalformed(Invalid):
    code = "hash_malformed"


class Outcome(StrEnum):
    CREDITED = "CREDITED"
    UNMATCHED = "UNMATCHED"
    IGNORED = "IGNORED"
    ALREADY = "ALREADY"


@dataclass(frozen=True, slots=True)
class InvoiceFacts:
    """What the rules need of an issued invoice, read under its lock."""

    id: UUID
    pay_ref: int
    status: str
    asset: str
    amount_stroops: int
    received_stroops: int
    """Sum of its allocations, rounding included."""
    destination: str
    issued_at: datetime
    expires_at: datetime | None

    @property
    def rest_stroops(self) -> int:
        return max(0, self.amount_stroops - self.received_stroops)


@dataclass(frozen=True, slots=True)
class MerchantPolicy:
    """`tolerance_stroops` is how much may be missing; `accepted_assets` None accepts every asset."""

    tolerance_stroops: int = 0
    accept_late: bool = True
    # 0.01 XLM: below it a payment costs more to read than it is worth (design, section 6).
    dust_stroops: int = 100_000
    accepted_assets: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What the merchant's side knows: all his wallets and the locked invoices the references may name.

    `recorded` holds the (operation_index, credit_index) of this transaction that are payments already.
    """

    wallets: frozenset[str]
    invoices: tuple[InvoiceFacts, ...]
    policy: MerchantPolicy = MerchantPolicy()
    recorded: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One question that was asked; `detail` names the field that answered it."""

    code: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class CreditVerdict:
    """What becomes of one credit.

    CREDITED: `allocated_stroops + excess_stroops` is the credit, `rounding_stroops` closes a tolerated rest.
    UNMATCHED and IGNORED: `reason` says why; `invoice_id` is the invoice its reference names, if any.
    ALREADY: nothing is to be done; `reason` and `invoice_id` say what the same credit meets when judged anew.
    """

    credit: Credit
    outcome: Outcome
    reason: str | None = None
    invoice_id: UUID | None = None
    allocated_stroops: int = 0
    excess_stroops: int = 0
    rounding_stroops: int = 0
    flags: tuple[str, ...] = ()
    rules: tuple[RuleResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    transaction_ok: bool
    reason: str | None
    credits: tuple[CreditVerdict, ...]
    rules: tuple[RuleResult, ...] = ()


@dataclass(slots=True)
class _Findings:
    """The questions asked about one credit so far; the first that fails gives the reason."""

    rules: list[RuleResult]
    reason: str | None = None
    invoice: InvoiceFacts | None = None
    is_late: bool = False
    flags: list[str] = field(default_factory=list)

    def ask(self, code: str, ok: bool, detail: str, *, otherwise: str) -> bool:
        self.rules.append(RuleResult(code, ok, detail))
        if not ok:
            self.reason = otherwise
        return ok


def parse_hash(text: str) -> str:
    """Return the lower-case form of a transaction hash.

    :raises HashMalformed: for anything but 64 ASCII hex digits.
    """
    if _HASH.fullmatch(text) is None:
        sentence = "A transaction hash has 64 characters, 0 to 9 and a to f."
        raise HashMalformed(sentence, pointer="/transaction_hash")
    return text.lower()


def judge(transaction: ObservedTransaction, context: Context) -> Verdict:
    """Return what every credit of `transaction` to the merchant's wallets becomes.

    Credits are judged in the order of the ledger and several to one invoice accumulate, so an invoice is
    never allocated more than its amount.
    """
    said = f"successful is {str(transaction.successful).lower()}"
    successful = RuleResult("successful", transaction.successful, said)
    if not transaction.successful:
        return Verdict(transaction_ok=False, reason="transaction_failed", credits=(), rules=(successful,))
    verified = RuleResult("hash_verified", True, f"the envelope hashes to {transaction.canonical_hash}")
    rules = (verified, successful)
    received = {invoice.id: invoice.received_stroops for invoice in context.invoices}
    verdicts = []
    for credit in sorted(transaction.credits, key=_position):
        if credit.destination in context.wallets:
            verdict = _judge_credit(transaction, credit, context, received, rules)
            if verdict.invoice_id is not None:
                received[verdict.invoice_id] += verdict.allocated_stroops
            verdicts.append(verdict)
    return Verdict(True, None, _accept_short(verdicts, received, context), rules)


def _position(credit: Credit) -> tuple[int, int]:
    return credit.operation_index, credit.credit_index


def _judge_credit(
    transaction: ObservedTransaction,
    credit: Credit,
    context: Context,
    received: dict[UUID, int],
    rules: Iterable[RuleResult],
) -> CreditVerdict:
    findings = _Findings(rules=list(rules))
    if credit.source in context.wallets and credit.source != credit.destination:
        findings.flags.append("own_wallet")
    _examine(transaction, credit, context, findings)
    invoice_id = None if findings.invoice is None else findings.invoice.id
    base = CreditVerdict(credit, Outcome.UNMATCHED, findings.reason, invoice_id)
    if _position(credit) in context.recorded:
        findings.rules.append(RuleResult("new", False, "this credit is recorded already"))
        return replace(
            base, outcome=Outcome.ALREADY, flags=tuple(findings.flags), rules=tuple(findings.rules)
        )
    if findings.reason is not None or findings.invoice is None:
        outcome = Outcome.IGNORED if findings.reason == "self_payment" else Outcome.UNMATCHED
        if outcome is Outcome.UNMATCHED and _is_dust(credit, findings.reason, context.policy):
            findings.flags.append("dust")
        return replace(base, outcome=outcome, flags=tuple(findings.flags), rules=tuple(findings.rules))
    return _allocate(base, findings, findings.invoice.amount_stroops - received[findings.invoice.id])


def _examine(transaction: ObservedTransaction, credit: Credit, context: Context, findings: _Findings) -> None:
    """Ask every question in order and stop at the first that fails."""
    ask = findings.ask
    paid_self = credit.source == credit.destination
    if not ask("not_self_payment", not paid_self, f"paid by {credit.source}", otherwise="self_payment"):
        return
    returned = _returned(transaction.debits, transaction.credits, credit)
    detail = "nothing is sent back"
    if returned is not None:
        detail = f"operation {returned.operation_index} sends {credit.asset} out again"
    if not ask("kept", returned is None, detail, otherwise="pay_and_return"):
        return
    reference = resolve_reference(transaction, credit)
    if not ask("reference", reference.number is not None, reference.detail, otherwise=reference.reason):
        return
    findings.invoice = next((known for known in context.invoices if known.pay_ref == reference.number), None)
    detail = f"reference {reference.number}"
    if not ask("invoice", findings.invoice is not None, detail, otherwise="unknown_reference"):
        return
    assert findings.invoice is not None
    _compare(transaction, credit, findings.invoice, context.policy, findings)


def _compare(
    transaction: ObservedTransaction,
    credit: Credit,
    invoice: InvoiceFacts,
    policy: MerchantPolicy,
    findings: _Findings,
) -> None:
    ask = findings.ask
    is_paid_there = credit.destination == invoice.destination
    if not ask("destination", is_paid_there, credit.destination, otherwise="wrong_destination"):
        return
    if not ask("asset", credit.asset == invoice.asset, credit.asset, otherwise="wrong_asset"):
        return
    closed = f"ledger {transaction.ledger} closed at {transaction.closed_at.isoformat()}"
    is_after_issue = transaction.closed_at >= invoice.issued_at - ISSUE_SKEW
    if not ask("after_issue", is_after_issue, closed, otherwise="predates"):
        return
    if not ask("not_cancelled", invoice.status != "CANCELLED", invoice.status, otherwise="invoice_cancelled"):
        return
    findings.is_late = invoice.expires_at is not None and transaction.closed_at > invoice.expires_at
    if findings.is_late:
        closed += ", after the invoice expired"
    ask("in_time", not findings.is_late or policy.accept_late, closed, otherwise="late")


def _returned(debits: Iterable[Debit], credits: Iterable[Credit], credit: Credit) -> Debit | None:
    """Return the debit by which the receiver sends the same asset out again in the same transaction.

    An account that merely pays itself sends nothing out.
    """
    to_itself = {
        (other.operation_index, other.destination, other.asset)
        for other in credits
        if other.source == other.destination
    }
    for debit in debits:
        if debit.source != credit.destination or debit.asset != credit.asset:
            continue
        if (debit.operation_index, debit.source, debit.asset) not in to_itself:
            return debit
    return None


def _is_dust(credit: Credit, reason: str | None, policy: MerchantPolicy) -> bool:
    if reason not in {"no_reference", "unknown_reference"}:
        return False
    if policy.accepted_assets is not None and credit.asset not in policy.accepted_assets:
        return True
    return credit.asset == NATIVE and credit.stroops < policy.dust_stroops


def _allocate(base: CreditVerdict, findings: _Findings, rest_stroops: int) -> CreditVerdict:
    credit = base.credit
    allocated = min(credit.stroops, max(0, rest_stroops))
    excess = credit.stroops - allocated
    if findings.is_late and allocated > 0:
        findings.flags.append("late")
    if excess > 0:
        findings.flags.append("overpaid" if allocated > 0 else "duplicate")
    detail = f"{credit.stroops} stroops received, {allocated} allocated, {excess} in excess"
    findings.rules.append(RuleResult("amount", True, detail))
    return replace(
        base,
        outcome=Outcome.CREDITED,
        allocated_stroops=allocated,
        excess_stroops=excess,
        flags=tuple(findings.flags),
        rules=tuple(findings.rules),
    )


def _accept_short(
    verdicts: list[CreditVerdict], received: dict[UUID, int], context: Context
) -> tuple[CreditVerdict, ...]:
    """Close rests within the tolerance, on the last credit of each invoice.

    Only when all credits are counted: otherwise the order of a transaction's operations would decide
    whether the second of two pays the rest or is an excess.
    """
    closed: set[UUID] = set()
    result = []
    for verdict in reversed(verdicts):
        if verdict.allocated_stroops > 0 and verdict.invoice_id not in closed:
            assert verdict.invoice_id is not None
            closed.add(verdict.invoice_id)
            invoice = next(known for known in context.invoices if known.id == verdict.invoice_id)
            rest = invoice.amount_stroops - received[invoice.id]
            if 0 < rest <= context.policy.tolerance_stroops:
                rule = RuleResult("tolerance", True, f"{rest} stroops short, within the tolerance")
                flags, rules = (*verdict.flags, "short"), (*verdict.rules, rule)
                verdict = replace(verdict, rounding_stroops=rest, flags=flags, rules=rules)
        result.append(verdict)
    return tuple(reversed(result))


def explain_for_invoice(
    transaction: ObservedTransaction, verdict: Verdict, invoice: InvoiceFacts
) -> tuple[str | None, tuple[RuleResult, ...]]:
    """Return (code, rules) for the page of `invoice` on which the hash was submitted.

    The code is None when a credit names this invoice and passes every rule, whether it is credited now or
    was recorded before; `hash_used` when everything that reached the merchant went to other invoices.
    """
    if not verdict.transaction_ok:
        return verdict.reason, verdict.rules
    if not verdict.credits:
        return _explain_elsewhere(transaction, invoice, verdict)
    mine = [found for found in verdict.credits if found.invoice_id == invoice.id]
    passed = next((found for found in mine if found.reason is None), None)
    if passed is not None:
        return None, passed.rules
    if mine:
        return mine[0].reason, mine[0].rules
    failed = [found for found in verdict.credits if found.reason is not None]
    if not failed:
        elsewhere = RuleResult("names_this_invoice", False, "its reference names another invoice")
        return "hash_used", (*verdict.rules, elsewhere)
    # What reached this invoice's own wallet in its own asset is the likeliest to have been meant for it.
    expected = (invoice.destination, invoice.asset)
    failed.sort(key=lambda found: (found.credit.destination, found.credit.asset) != expected)
    return failed[0].reason, failed[0].rules


def _explain_elsewhere(
    transaction: ObservedTransaction, invoice: InvoiceFacts, verdict: Verdict
) -> tuple[str, tuple[RuleResult, ...]]:
    if not transaction.credits:
        return "not_a_payment", (*verdict.rules, RuleResult("payment", False, "no operation pays an account"))
    paid = ", ".join(sorted({credit.destination for credit in transaction.credits})[:3])
    return "wrong_destination", (
        *verdict.rules,
        RuleResult("destination", False, f"it pays {paid}, not {invoice.destination}"),
    )
