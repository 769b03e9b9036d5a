"""One function computes every invoice; these are its laws."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.domain.invoices.rules import Discount, Item, Tax, TotalsInvalid, period_of, totals
from portal.kernel.money import MAX_AMOUNT, PLACES
from tests.support.builders import NOON

quantities = st.decimals(min_value=Decimal("0.000001"), max_value=10_000, places=6)
prices = st.decimals(min_value=Decimal("0.0000001"), max_value=100_000, places=7)
percents = st.decimals(min_value=Decimal("0.01"), max_value=Decimal("99.99"), places=2)
items = st.lists(st.builds(Item, st.just("line"), quantities, prices), min_size=1, max_size=20).map(tuple)


def test_the_mockup_adds_up():
    result = totals(
        (Item("Arabica Gayo, 1 kg", Decimal(3), Decimal(42)), Item("Delivery", Decimal(1), Decimal(15))),
        (Discount("KOPI5", percent=Decimal(5)),),
        (Tax("PPN", Decimal(11)),),
    )

    assert result.subtotal == Decimal(141)
    assert result.discount_total == Decimal("7.05")
    assert result.tax_total == Decimal("14.7345")
    assert result.total == Decimal("148.6845")


def test_a_product_is_rounded_half_up_where_it_arises():
    result = totals((Item("x", Decimal("0.5"), Decimal("0.0000001")),) * 2)

    assert result.items == (PLACES, PLACES)
    assert result.total == Decimal("0.0000002")


def test_taxes_are_not_compounded():
    result = totals(
        (Item("x", Decimal(1), Decimal(100)),), taxes=(Tax("a", Decimal(10)), Tax("b", Decimal(10)))
    )

    assert result.total == Decimal(120)


@pytest.mark.parametrize(
    ("lines", "discounts", "pointer"),
    [
        ((), (), "/items"),
        ((Item("x", Decimal(1), Decimal(0)),), (), "/items"),
        ((Item("x", Decimal(1), Decimal(1)),) * 201, (), "/items"),
        ((Item("x", Decimal(2), MAX_AMOUNT),), (), "/items"),
        ((Item("x", Decimal(1), Decimal(10)),), (Discount("d", amount=Decimal(11)),), "/discounts/0"),
        (
            (Item("x", Decimal(1), Decimal(10)),),
            (Discount("d", percent=Decimal(60)), Discount("e", percent=Decimal(60))),
            "/discounts/1",
        ),
        ((Item("x", Decimal(1), Decimal(10)),), (Discount("d", percent=Decimal(100)),), "/items"),
    ],
)
def test_what_makes_no_amount_is_refused_at_its_place(lines, discounts, pointer):
    with pytest.raises(TotalsInvalid) as refusal:
        totals(lines, discounts)

    assert refusal.value.pointer == pointer


@given(items, percents, percents)
def test_the_figures_always_add_up_to_stroops(lines, discount, tax):
    try:
        result = totals(lines, (Discount("d", percent=discount),), (Tax("t", tax),))
    except TotalsInvalid:
        return

    assert sum(result.items) == result.subtotal
    assert result.subtotal - result.discount_total + result.tax_total == result.total
    assert all(each == each.quantize(PLACES) for each in (*result.items, result.discount_total, result.total))


def test_the_month_of_a_number_is_the_merchants_own():
    late_in_utc = NOON.replace(day=30, hour=20)

    assert period_of(late_in_utc, "UTC") == "2026-11"
    assert period_of(late_in_utc, "Asia/Jakarta") == "2026-12"
