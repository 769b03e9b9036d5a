"""Decide what an observed transaction pays: pure functions over integer stroops.

One function, `judge`, for every entry point (pasted hash, watcher, API, manual match), so that the same
facts always have the same verdict. Nothing is ever matched by amount alone: a hash is public and proves
nothing about who paid; only the reference names an invoice.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from portal.domain.payments.references import candidate_references, resolve_reference
from portal.domain.payments.settling import (
    Arrival,
    ChainPlace,
    Settled,
    Share,
    flags_of,
    share_out,
    tolerance_for,
)
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
    arrivals: tuple[Arrival, ...] = ()
    """Its credits that are shared out anew when another one comes; all the rest it received stays as it is."""
    withheld_stroops: int = 0
    """Of the arrivals' excess, what was spent elsewhere before a gap opened that it could have paid."""


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
    A credit that comes later may move these amounts between the credits of one invoice, see `settling`.
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
    settled: dict[UUID, Settled] = field(default_factory=dict)
    """Of each invoice that gets money now: the shares of all its credits, those booked before included."""


@dataclass(slots=True)
class _Findings:
    """The questions asked about one credit so far; the first that fails gives the reason."""

    rules: list[RuleResult]
    reason: str | None = None
    invoice: InvoiceFacts | None = None
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
    rules: tuple[RuleResult, ...] = (verified, successful)
    if len(transaction.sources) > 1:
        agreed = f"{' and '.join(transaction.sources)} agree"
        rules = (*rules, RuleResult("second_source", True, agreed))
    verdicts = [
        _judge_credit(transaction, credit, context, rules)
        for credit in sorted(transaction.credits, key=_position)
        if credit.destination in context.wallets
    ]
    settled = {
        invoice.id: settled
        for invoice in context.invoices
        if (settled := _settle(transaction, verdicts, invoice, context.policy)) is not None
    }
    shared = tuple(_with_share(transaction, verdict, context, settled) for verdict in verdicts)
    return Verdict(True, None, shared, rules, settled)


def settle(invoice: InvoiceFacts, policy: MerchantPolicy, new: Sequence[Arrival] = ()) -> Settled:
    """Return the shares of an invoice's arrivals and `new` ones, once the rest it received is taken off.

    A rest that was forgiven stays forgiven, also after the merchant lowered the tolerance. New money moves
    others back in the row, so what is an excess by now stays one.
    """
    booked = [arrival.booked for arrival in invoice.arrivals if arrival.booked is not None]
    shared = sum(share.allocated_stroops + share.rounding_stroops for share in booked)
    excess = sum(share.excess_stroops for share in booked)
    tolerance = tolerance_for(amount_stroops=invoice.amount_stroops, policy_stroops=policy.tolerance_stroops)
    forgiven = sum(share.rounding_stroops for share in booked)
    return share_out(
        [*invoice.arrivals, *new],
        capacity_stroops=invoice.amount_stroops - (invoice.received_stroops - shared),
        tolerance_stroops=max(tolerance, forgiven),
        withheld_stroops=excess if new else invoice.withheld_stroops,
    )


def _settle(
    transaction: ObservedTransaction,
    verdicts: Iterable[CreditVerdict],
    invoice: InvoiceFacts,
    policy: MerchantPolicy,
) -> Settled | None:
    new = [
        _arrival(transaction, verdict.credit, invoice)
        for verdict in verdicts
        if verdict.outcome is Outcome.CREDITED and verdict.invoice_id == invoice.id
    ]
    return settle(invoice, policy, new) if new else None


def place_of(transaction: ObservedTransaction, credit: Credit) -> ChainPlace:
    return transaction.ledger, transaction.canonical_hash, credit.operation_index, credit.credit_index


def _arrival(transaction: ObservedTransaction, credit: Credit, invoice: InvoiceFacts) -> Arrival:
    return Arrival(
        place_of(transaction, credit),
        credit.stroops,
        transaction.closed_at,
        is_late(invoice.expires_at, transaction.closed_at),
    )


def is_late(expires_at: datetime | None, closed_at: datetime) -> bool:
    """Say whether money came after its invoice's time; when its ledger closed counts, not when it was seen."""
    return expires_at is not None and closed_at > expires_at


def _with_share(
    transaction: ObservedTransaction,
    verdict: CreditVerdict,
    context: Context,
    settled: dict[UUID, Settled],
) -> CreditVerdict:
    """Return a credited verdict with its amounts, flags and the rules that tell of them."""
    if verdict.outcome is not Outcome.CREDITED:
        return verdict
    assert verdict.invoice_id is not None, verdict
    invoice = next(known for known in context.invoices if known.id == verdict.invoice_id)
    arrival = _arrival(transaction, verdict.credit, invoice)
    share = settled[invoice.id].shares[arrival.place]
    return replace(
        verdict,
        allocated_stroops=share.allocated_stroops,
        excess_stroops=share.excess_stroops,
        rounding_stroops=share.rounding_stroops,
        flags=(*verdict.flags, *flags_of(arrival, share)),
        rules=(*verdict.rules, *amount_rules(share, arrival.stroops)),
    )


def amount_rules(share: Share, stroops: int) -> list[RuleResult]:
    """Return the rules that say what became of a credit of `stroops`."""
    detail = (
        f"{stroops} stroops received, {share.allocated_stroops} allocated, {share.excess_stroops} in excess"
    )
    found = [RuleResult("amount", True, detail)]
    if share.rounding_stroops > 0:
        short = f"{share.rounding_stroops} stroops short, within the tolerance"
        found.append(RuleResult("tolerance", True, short))
    return found


def _position(credit: Credit) -> tuple[int, int]:
    return credit.operation_index, credit.credit_index


def _judge_credit(
    transaction: ObservedTransaction,
    credit: Credit,
    context: Context,
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
    return replace(base, outcome=Outcome.CREDITED, flags=tuple(findings.flags), rules=tuple(findings.rules))


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
    came_late = is_late(invoice.expires_at, transaction.closed_at)
    if came_late:
        closed += ", after the invoice expired"
    ask("in_time", not came_late or policy.accept_late, closed, otherwise="late")


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
