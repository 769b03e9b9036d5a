"""What holds for every transaction: money is conserved and neither order nor repetition matters."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from stdnum import damm

from portal.domain.payments.rules import (
    Context,
    CreditVerdict,
    InvoiceFacts,
    MerchantPolicy,
    Outcome,
    judge,
)
from portal.kernel.chain import Credit, Debit, ObservedTransaction

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WALLETS = ("G" + "A" * 55, "G" + "B" * 55)
ADDRESSES = (*WALLETS, "G" + "C" * 55)
ASSETS = ("native", "USDC:" + "G" + "E" * 55)
REFS = tuple(
    int(body + damm.calc_check_digit(body)) for body in ("48291307741", "77120055512", "90000000001")
)

invoices = st.builds(
    lambda number, status, asset, amount, paid, wallet, hours: InvoiceFacts(
        id=UUID(int=number + 1),
        pay_ref=REFS[number],
        status=status,
        asset=asset,
        amount_stroops=amount,
        received_stroops=min(paid, amount),
        destination=wallet,
        issued_at=NOON - timedelta(hours=2),
        expires_at=None if hours is None else NOON + timedelta(hours=hours),
    ),
    st.just(0),
    st.sampled_from(["PENDING", "PAID", "EXPIRED", "CANCELLED"]),
    st.sampled_from(ASSETS),
    st.integers(1, 50),
    st.integers(0, 50),
    st.sampled_from(WALLETS),
    st.sampled_from([None, -1, 1]),
)
credits = st.builds(
    Credit,
    operation_index=st.integers(0, 99),
    credit_index=st.integers(0, 2),
    kind=st.just("payment"),
    source=st.sampled_from(ADDRESSES),
    destination=st.sampled_from(ADDRESSES),
    asset=st.sampled_from(ASSETS),
    stroops=st.integers(1, 60),
    muxed_id=st.sampled_from([None, 7, *REFS]),
)
debits = st.builds(
    Debit,
    st.integers(0, 99),
    st.sampled_from(ADDRESSES),
    st.none(),
    st.sampled_from(ASSETS),
    st.integers(1, 60),
)
credit_lists = st.lists(
    credits, max_size=8, unique_by=lambda credit: (credit.operation_index, credit.credit_index)
)
policies = st.builds(MerchantPolicy, st.integers(0, 10), st.booleans(), st.integers(0, 20), st.none())


def transaction(found: list[Credit], spent: list[Debit], memo: int | None) -> ObservedTransaction:
    return ObservedTransaction(
        canonical_hash="ab" * 32,
        hashes=("ab" * 32,),
        ledger=7,
        closed_at=NOON,
        source_account=ADDRESSES[2],
        successful=True,
        memo_type="none" if memo is None else "id",
        memo=None if memo is None else str(memo),
        memo_bytes=None,
        envelope_xdr="",
        credits=tuple(found),
        debits=tuple(spent),
        raw={},
    )


def sums(verdicts: tuple[CreditVerdict, ...]) -> Counter[str]:
    total: Counter[str] = Counter()
    for verdict in verdicts:
        total[f"{verdict.outcome} {verdict.reason} {verdict.invoice_id}"] += verdict.credit.stroops
        total[f"allocated {verdict.invoice_id}"] += verdict.allocated_stroops
        total[f"excess {verdict.invoice_id}"] += verdict.excess_stroops
        total[f"rounding {verdict.invoice_id}"] += verdict.rounding_stroops
    return total


arguments = (credit_lists, st.lists(debits, max_size=2), st.sampled_from([None, *REFS]), invoices, policies)


@given(*arguments)
def test_every_stroop_of_a_credit_is_allocated_or_excess(
    found: list[Credit], spent: list[Debit], memo: int | None, invoice: InvoiceFacts, policy: MerchantPolicy
) -> None:
    context = Context(frozenset(WALLETS), (invoice,), policy)

    verdict = judge(transaction(found, spent, memo), context)

    allocated = 0
    for each in verdict.credits:
        booked = each.allocated_stroops + each.excess_stroops
        assert booked == (each.credit.stroops if each.outcome is Outcome.CREDITED else 0)
        assert (each.reason is None) == (each.outcome is Outcome.CREDITED)
        allocated += each.allocated_stroops + each.rounding_stroops
    assert invoice.received_stroops + allocated <= invoice.amount_stroops
    assert len(verdict.credits) == sum(credit.destination in WALLETS for credit in found)


@given(*arguments, st.randoms(use_true_random=False))
def test_the_order_in_which_credits_are_listed_changes_nothing(
    found: list[Credit],
    spent: list[Debit],
    memo: int | None,
    invoice: InvoiceFacts,
    policy: MerchantPolicy,
    random: object,
) -> None:
    context = Context(frozenset(WALLETS), (invoice,), policy)
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert judge(transaction(found, spent, memo), context) == judge(
        transaction(shuffled, spent, memo), context
    )


@given(*arguments, st.randoms(use_true_random=False))
def test_the_order_of_the_operations_moves_money_between_no_sums(
    found: list[Credit],
    spent: list[Debit],
    memo: int | None,
    invoice: InvoiceFacts,
    policy: MerchantPolicy,
    random: object,
) -> None:
    context = Context(frozenset(WALLETS), (invoice,), policy)
    positions = [(credit.operation_index, credit.credit_index) for credit in found]
    random.shuffle(positions)  # type: ignore[attr-defined]
    moved = [
        Credit(position[0], position[1], *(getattr(credit, name) for name in Credit.__slots__[2:]))
        for credit, position in zip(found, positions, strict=True)
    ]

    before = judge(transaction(found, [], memo), context)
    after = judge(transaction(moved, [], memo), context)

    assert sums(before.credits) == sums(after.credits)


@given(*arguments)
def test_judging_again_what_is_recorded_books_nothing(
    found: list[Credit], spent: list[Debit], memo: int | None, invoice: InvoiceFacts, policy: MerchantPolicy
) -> None:
    observed = transaction(found, spent, memo)
    recorded = frozenset((credit.operation_index, credit.credit_index) for credit in found)

    verdict = judge(observed, Context(frozenset(WALLETS), (invoice,), policy, recorded))

    for each in verdict.credits:
        assert each.outcome is Outcome.ALREADY
        assert each.allocated_stroops == each.excess_stroops == each.rounding_stroops == 0
