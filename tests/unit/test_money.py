"""The laws of amounts: exact, of 7 places, never float, whatever decimal context a thread is in."""

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.kernel import money
from portal.kernel.money import (
    MAX_AMOUNT,
    MAX_STROOPS,
    Settlement,
    display,
    format_units,
    from_stroops,
    multiply,
    parse_amount,
    round_half_up,
    settlement_for,
    to_stroops,
)

STROOP = Fraction(1, 10_000_000)
PLAIN_DIGITS = "Write the amount in plain digits, such as 12.5, with at most 7 decimals."
# Sums over an instance: more than the 28 digits of Python's own context, as Numeric(38, 7) holds them.
WIDE_STROOPS = 10**37 - 1
WIDE = Decimal("999999999999999999999999999999.9999999")

amounts = st.integers(1, MAX_STROOPS).map(from_stroops)
wide_amounts = st.integers(-WIDE_STROOPS, WIDE_STROOPS).map(from_stroops)


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "amount"),
        [
            ("1", "1.0000000"),
            ("12.5", "12.5000000"),
            ("0.0000001", "0.0000001"),
            ("0012.50", "12.5000000"),
            ("00000000922337203685", "922337203685.0000000"),
            ("922337203685.4775807", "922337203685.4775807"),
        ],
    )
    def test_pads_to_seven_places(self, text: str, amount: str) -> None:
        assert f"{parse_amount(text):f}" == amount

    @pytest.mark.parametrize(
        "text",
        [
            *("", " 1", "1 ", "1\n", "+1", "-1", "1.", ".5", "1,5", "1,000", "1_000", "1e3", "0x10", "NaN"),
            *("Infinity", "1.00000001", "1.5.0", "1" * 21, "\uff11", "\u0661", "1\u00a0000", "12.5 XLM"),
            *(None, 1, 12.5, True, Decimal(1), b"1", ["1"]),
        ],
    )
    def test_refuses_all_but_plain_digits(self, text: object) -> None:
        with pytest.raises(money.InvalidAmount) as refusal:
            parse_amount(text, pointer="/amount")

        assert (refusal.value.code, refusal.value.pointer) == ("amount_invalid", "/amount")
        assert refusal.value.detail == PLAIN_DIGITS

    @pytest.mark.parametrize("text", ["0", "0.0000000", "000"])
    def test_refuses_nothing(self, text: str) -> None:
        with pytest.raises(money.InvalidAmount) as refusal:
            parse_amount(text, pointer="/items/0/unit_price")

        assert refusal.value.pointer == "/items/0/unit_price"
        assert refusal.value.detail == "The amount must be above zero."

    @pytest.mark.parametrize("text", ["922337203685.4775808", "922337203686", "9" * 20 + ".9999999"])
    def test_refuses_what_no_ledger_holds(self, text: str) -> None:
        with pytest.raises(money.InvalidAmount) as refusal:
            parse_amount(text, pointer="/amount")

        assert refusal.value.pointer == "/amount"
        assert refusal.value.detail == "The largest amount is 922337203685.4775807."


class TestStroops:
    def test_reach_as_far_as_the_ledger(self) -> None:
        assert MAX_STROOPS == 9_223_372_036_854_775_807
        assert to_stroops(MAX_AMOUNT) == MAX_STROOPS
        assert from_stroops(MAX_STROOPS) == MAX_AMOUNT

    @pytest.mark.parametrize("amount", ["0.00000001", "1.00000005", "0.99999999"])
    def test_are_never_split(self, amount: str) -> None:
        with pytest.raises(AssertionError):
            to_stroops(Decimal(amount))


class TestRounding:
    @pytest.mark.parametrize(
        ("amount", "rounded"),
        [
            ("0.00000005", "0.0000001"),
            ("0.00000004", "0.0000000"),
            ("0.00000015", "0.0000002"),
            ("0.00000025", "0.0000003"),
            ("-0.00000005", "-0.0000001"),
            ("7", "7.0000000"),
        ],
    )
    def test_is_half_up_to_seven_places(self, amount: str, rounded: str) -> None:
        assert f"{round_half_up(Decimal(amount)):f}" == rounded


class TestText:
    @pytest.mark.parametrize(
        ("amount", "text"),
        [("60", "60.0000000"), ("0", "0.0000000"), ("1E+3", "1000.0000000"), ("0.0000001", "0.0000001")],
    )
    def test_of_programs_is_plain(self, amount: str, text: str) -> None:
        assert format_units(Decimal(amount)) == text

    @pytest.mark.parametrize(
        ("amount", "text"),
        [
            ("0", "0.00"),
            ("1240", "1,240.00"),
            ("1234567.1", "1,234,567.10"),
            ("0.1234567", "0.1234567"),
            ("0.1200000", "0.12"),
            ("0.0500000", "0.05"),
            ("-7.05", "\u22127.05"),
            ("-0.0000001", "\u22120.0000001"),
        ],
    )
    def test_of_people_is_grouped_and_short(self, amount: str, text: str) -> None:
        assert display(Decimal(amount)) == text


class TestSettlement:
    @pytest.mark.parametrize(
        ("received", "settlement"),
        [
            ("0", Settlement.UNPAID),
            ("0.0000001", Settlement.PARTIAL),
            ("0.9999999", Settlement.PARTIAL),
            ("1", Settlement.PAID),
            ("1.0000001", Settlement.OVERPAID),
        ],
    )
    def test_is_how_far_the_money_covers_the_amount(self, received: str, settlement: Settlement) -> None:
        assert settlement_for(due=Decimal(1), received=Decimal(received)) is settlement

    @pytest.mark.parametrize(
        ("received", "settlement"),
        [("0", Settlement.UNPAID), ("0.5", Settlement.PARTIAL), ("1", Settlement.OVERPAID)],
    )
    def test_of_an_overpaid_invoice_shows_only_once_it_is_covered(
        self, received: str, settlement: Settlement
    ) -> None:
        assert settlement_for(due=Decimal(1), received=Decimal(received), overpaid=True) is settlement

    def test_of_the_least_invoice_is_known_too(self) -> None:
        assert settlement_for(due=from_stroops(1), received=from_stroops(1)) is Settlement.PAID

    @pytest.mark.parametrize(("due", "received"), [("0", "0"), ("-1", "0"), ("1", "-0.0000001")])
    def test_of_an_impossible_invoice_is_refused(self, due: str, received: str) -> None:
        with pytest.raises(AssertionError):
            settlement_for(due=Decimal(due), received=Decimal(received))


@given(st.integers(1, MAX_STROOPS))
def test_parsing_gives_every_amount_of_the_ledger_back(stroops: int) -> None:
    whole, rest = divmod(stroops, 10_000_000)

    parsed = parse_amount(f"{whole}.{rest:07d}")

    assert Fraction(parsed) == stroops * STROOP
    assert parsed.as_tuple().exponent == -7


@given(st.integers(-WIDE_STROOPS, WIDE_STROOPS))
def test_stroops_come_back_exactly(stroops: int) -> None:
    amount = from_stroops(stroops)

    assert Fraction(amount) == stroops * STROOP
    assert amount.as_tuple().exponent == -7
    back = to_stroops(amount)
    assert back == stroops
    assert type(back) is int


@given(amounts, st.decimals(0, 1000, places=6))
def test_a_rounded_product_errs_by_half_a_stroop_at_most(price: Decimal, quantity: Decimal) -> None:
    product = multiply(price, quantity)

    error = Fraction(product) - Fraction(price) * Fraction(quantity)
    assert -STROOP / 2 < error <= STROOP / 2
    assert product == multiply(quantity, price)
    assert product.as_tuple().exponent == -7


@given(wide_amounts)
def test_text_for_programs_has_all_seven_places(amount: Decimal) -> None:
    text = format_units(amount)

    assert Decimal(text) == amount
    assert len(text.partition(".")[2]) == 7
    assert "E" not in text


@given(amounts)
def test_text_for_programs_can_be_read_back(amount: Decimal) -> None:
    assert parse_amount(format_units(amount)) == amount


@given(wide_amounts)
def test_text_for_people_loses_nothing(amount: Decimal) -> None:
    text = display(amount)

    assert Decimal(text.replace(",", "").replace("\u2212", "-")) == amount
    assert 2 <= len(text.partition(".")[2]) <= 7


@pytest.mark.parametrize(
    ("compute", "result"),
    [
        (lambda: parse_amount("922337203685.4775807"), MAX_AMOUNT),
        (lambda: to_stroops(WIDE), WIDE_STROOPS),
        (lambda: from_stroops(WIDE_STROOPS), WIDE),
        (lambda: round_half_up(WIDE), WIDE),
        (lambda: multiply(MAX_AMOUNT, MAX_AMOUNT), Decimal("850705917302346158473969.0778423")),
        (lambda: format_units(WIDE), "999999999999999999999999999999.9999999"),
        (lambda: display(WIDE), "999,999,999,999,999,999,999,999,999,999.9999999"),
    ],
    ids=[
        "parse_amount",
        "to_stroops",
        "from_stroops",
        "round_half_up",
        "multiply",
        "format_units",
        "display",
    ],
)
def test_no_digit_is_lost_to_a_narrow_decimal_context(compute: Callable[[], object], result: object) -> None:
    with localcontext(prec=3):
        found = compute()

    assert found == result
