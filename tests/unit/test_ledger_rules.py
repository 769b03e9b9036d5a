"""What each fact posts: debits equal credits, each on its account, and a reversal undoes all of it."""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.domain.ledger import rules
from portal.domain.ledger.rules import Posting, Side, account_id, is_balanced, reversed_postings
from portal.kernel.money import MAX_STROOPS, from_stroops

MERCHANT, DEBTOR, WALLET = UUID(int=1), UUID(int=2), UUID(int=3)
FEW = Decimal("0.05")
KEY = {"merchant_id": MERCHANT, "network": "test", "kind": "wallet", "asset": "native", "owner_id": WALLET}

amounts = st.integers(1, MAX_STROOPS // 4).map(from_stroops)
shares = st.integers(0, MAX_STROOPS // 4).map(from_stroops)
postings = st.builds(
    Posting,
    st.sampled_from(["wallet", "receivable", "client_credit", "income"]),
    st.sampled_from([None, DEBTOR, WALLET]),
    st.sampled_from(Side),
    amounts,
)


def book(found: list[Posting]) -> dict[tuple[str, UUID | None], Decimal]:
    """Return each account's change, debits positive."""
    total: defaultdict[tuple[str, UUID | None], Decimal] = defaultdict(Decimal)
    for each in found:
        total[each.kind, each.owner_id] += each.amount if each.side is Side.DEBIT else -each.amount
    return total


def changes(found: list[Posting]) -> dict[tuple[str, UUID | None], Decimal]:
    return {account: change for account, change in book(found).items() if change}


class TestAccountId:
    def test_is_the_same_for_the_same_key_and_in_every_release(self) -> None:
        assert account_id(**KEY) == account_id(**KEY)
        assert account_id(**KEY) == UUID("80b967e5-770f-558e-9def-8663c28599b7")
        assert account_id(**{**KEY, "owner_id": None}) == UUID("5ac89415-1e7b-58ad-b939-c9c978406e7f")

    @pytest.mark.parametrize(
        "change",
        [
            {"merchant_id": UUID(int=9)},
            {"network": "live"},
            {"kind": "suspense"},
            {"asset": "USDC:G"},
            {"owner_id": DEBTOR},
            {"owner_id": None},
        ],
    )
    def test_differs_when_any_part_of_the_key_does(self, change: dict[str, object]) -> None:
        assert account_id(**{**KEY, **change}) != account_id(**KEY)


class TestBalance:
    def test_holds_when_debits_equal_credits(self) -> None:
        assert is_balanced([Posting("wallet", WALLET, Side.DEBIT, Decimal("1")),
                            Posting("suspense", None, Side.CREDIT, Decimal("0.4")),
                            Posting("receivable", DEBTOR, Side.CREDIT, Decimal("0.6"))])  # fmt: skip

    def test_is_broken_by_a_single_stroop(self) -> None:
        assert not is_balanced([Posting("wallet", WALLET, Side.DEBIT, Decimal("1")),
                                Posting("suspense", None, Side.CREDIT, Decimal("0.9999999"))])  # fmt: skip

    @pytest.mark.parametrize("side", Side)
    def test_needs_both_sides(self, side: Side) -> None:
        assert not is_balanced([Posting("wallet", WALLET, side, Decimal("1"))])

    def test_of_nothing_is_none(self) -> None:
        assert not is_balanced([])


class TestIssue:
    def test_owes_the_total_and_earns_the_subtotal(self) -> None:
        found = rules.issue_postings(
            debtor_id=DEBTOR,
            total=Decimal("148.6845"),
            subtotal=Decimal("141"),
            discount=Decimal("7.05"),
            tax=Decimal("14.7345"),
        )

        assert found == [
            Posting("receivable", DEBTOR, Side.DEBIT, Decimal("148.6845")),
            Posting("discount", None, Side.DEBIT, Decimal("7.05")),
            Posting("income", None, Side.CREDIT, Decimal("141")),
            Posting("tax_payable", None, Side.CREDIT, Decimal("14.7345")),
        ]


class TestAllocation:
    def test_pays_the_rest_and_keeps_the_excess_for_the_client(self) -> None:
        found = rules.allocation_postings(
            wallet_id=WALLET, debtor_id=DEBTOR, allocated=Decimal("60"), excess=Decimal("2.5")
        )

        assert found == [
            Posting("wallet", WALLET, Side.DEBIT, Decimal("62.5")),
            Posting("receivable", DEBTOR, Side.CREDIT, Decimal("60")),
            Posting("client_credit", DEBTOR, Side.CREDIT, Decimal("2.5")),
        ]


class TestMatch:
    def test_takes_out_of_suspense_what_the_invoice_and_the_client_get(self) -> None:
        found = rules.match_postings(debtor_id=DEBTOR, allocated=Decimal("60"), excess=Decimal("2.5"))

        assert found == [
            Posting("suspense", None, Side.DEBIT, Decimal("62.5")),
            Posting("receivable", DEBTOR, Side.CREDIT, Decimal("60")),
            Posting("client_credit", DEBTOR, Side.CREDIT, Decimal("2.5")),
        ]

    def test_ends_where_a_payment_with_a_reference_does_and_undone_where_it_began(self) -> None:
        parts = {"allocated": Decimal("60"), "excess": Decimal("2.5")}
        unmatched = rules.unmatched_postings(wallet_id=WALLET, amount=Decimal("62.5"))
        matched = rules.match_postings(debtor_id=DEBTOR, **parts)

        direct = rules.allocation_postings(wallet_id=WALLET, debtor_id=DEBTOR, **parts)

        assert changes([*unmatched, *matched]) == changes(direct)
        assert changes([*unmatched, *matched, *reversed_postings(matched)]) == changes(unmatched)


class TestRefund:
    def test_is_borne_by_whatever_the_payment_became(self) -> None:
        found = rules.refund_postings(
            wallet_id=WALLET,
            debtor_id=DEBTOR,
            suspense=Decimal("1"),
            credit=Decimal("2.5"),
            revenue=Decimal("60"),
        )

        assert found == [
            Posting("suspense", None, Side.DEBIT, Decimal("1")),
            Posting("client_credit", DEBTOR, Side.DEBIT, Decimal("2.5")),
            Posting("refunds", None, Side.DEBIT, Decimal("60")),
            Posting("wallet", WALLET, Side.CREDIT, Decimal("63.5")),
        ]


@given(shares, shares, shares)
def test_a_refund_leaves_the_wallet_by_the_sum_of_what_bears_it(
    suspense: Decimal, credit: Decimal, revenue: Decimal
) -> None:
    found = rules.refund_postings(
        wallet_id=WALLET, debtor_id=DEBTOR, suspense=suspense, credit=credit, revenue=revenue
    )

    whole = suspense + credit + revenue
    assert is_balanced(found) == (whole > 0)
    assert book(found).get(("wallet", WALLET), Decimal(0)) == -whole
    assert all(each.amount > 0 for each in found)


@given(st.lists(postings, max_size=6))
def test_balance_means_that_all_accounts_together_change_by_nothing(found: list[Posting]) -> None:
    assert is_balanced(found) == (bool(found) and sum(book(found).values()) == 0)


@given(st.lists(postings, min_size=1, max_size=6))
def test_a_reversal_undoes_every_account_and_reversed_again_is_the_original(found: list[Posting]) -> None:
    reverse = reversed_postings(found)

    assert all(change == 0 for change in book(found + reverse).values())
    assert [(each.kind, each.owner_id, each.amount) for each in reverse] == [
        (each.kind, each.owner_id, each.amount) for each in found
    ]
    assert reversed_postings(reverse) == found
    assert is_balanced(reverse) == is_balanced(found)


@given(amounts, shares, shares)
def test_an_issue_balances_whatever_the_tax_and_the_discount(
    subtotal: Decimal, discount: Decimal, tax: Decimal
) -> None:
    discount = min(discount, subtotal - from_stroops(1))
    found = rules.issue_postings(
        debtor_id=DEBTOR, total=subtotal - discount + tax, subtotal=subtotal, discount=discount, tax=tax
    )

    assert is_balanced(found)
    assert all(each.amount > 0 for each in found)
    assert len(found) == 2 + (discount > 0) + (tax > 0)


@given(amounts, st.integers(0, 100))
def test_an_allocation_books_the_whole_credit_however_it_is_shared(credit: Decimal, percent: int) -> None:
    allocated = from_stroops(int(credit * 10**7) * percent // 100)
    found = rules.allocation_postings(
        wallet_id=WALLET, debtor_id=DEBTOR, allocated=allocated, excess=credit - allocated
    )

    assert is_balanced(found)
    assert book(found)["wallet", WALLET] == credit
    assert all(each.amount > 0 for each in found)


@pytest.mark.parametrize(
    ("compute", "facts", "debited", "credited"),
    [
        (
            rules.short_postings,
            {"debtor_id": DEBTOR, "rest": FEW},
            ("rounding", None),
            ("receivable", DEBTOR),
        ),
        (
            rules.close_postings,
            {"debtor_id": DEBTOR, "rest": FEW},
            ("write_off", None),
            ("receivable", DEBTOR),
        ),
        (
            rules.unmatched_postings,
            {"wallet_id": WALLET, "amount": FEW},
            ("wallet", WALLET),
            ("suspense", None),
        ),
        (
            rules.credit_postings,
            {"debtor_id": DEBTOR, "amount": FEW},
            ("client_credit", DEBTOR),
            ("receivable", DEBTOR),
        ),
        (
            rules.external_postings,
            {"debtor_id": DEBTOR, "amount": FEW},
            ("external", None),
            ("receivable", DEBTOR),
        ),
        (
            rules.clawback_postings,
            {"wallet_id": WALLET, "amount": FEW},
            ("write_off", None),
            ("wallet", WALLET),
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_fact_of_one_amount_moves_it_from_account_to_account(
    compute: Callable[..., list[Posting]],
    facts: dict[str, object],
    debited: tuple[str, UUID | None],
    credited: tuple[str, UUID | None],
) -> None:
    assert compute(**facts) == [
        Posting(*debited, Side.DEBIT, FEW),
        Posting(*credited, Side.CREDIT, FEW),
    ]
