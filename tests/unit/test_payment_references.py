"""The number that a memo or a muxed id carries, or why it carries none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.domain.payments.references import (
    Reference,
    candidate_references,
    memo_reference,
    muxed_reference,
    resolve_reference,
)
from portal.kernel.tokens import new_pay_ref, pay_ref_is_valid
from tests.unit.test_payment_rules import OTHER_REF, REF, credit, paying, text

WRONG = REF + 1
NONE: dict[str, object] = {"memo_type": "none", "memo": None}
any_number = st.integers(0, 2**64 - 1)
references = st.builds(new_pay_ref)


@given(references, st.integers(0, 11), st.integers(1, 9))
def test_one_wrong_digit_makes_it_none(number: int, place: int, step: int) -> None:
    digits = [int(digit) for digit in str(number)]
    digits[place] = (digits[place] + step) % 10
    wrong = int("".join(map(str, digits)))

    assert memo_reference(paying(memo=str(number))) == number
    assert memo_reference(paying(memo=str(wrong))) is None
    assert muxed_reference(credit(muxed_id=wrong)) is None


@given(any_number)
def test_whatever_the_number_only_a_reference_is_one(number: int) -> None:
    expected = number if pay_ref_is_valid(number) else None

    assert memo_reference(paying(memo=str(number))) == expected
    assert memo_reference(paying(**text(str(number).encode()))) == expected
    assert muxed_reference(credit(muxed_id=number)) == expected


@given(st.binary(max_size=28))
def test_whatever_the_text_no_reference_appears_that_it_does_not_spell(octets: bytes) -> None:
    found = memo_reference(paying(**text(octets)))

    assert found is None or str(found).encode() in octets.replace(b" ", b"")


@pytest.mark.parametrize("memo_type", ["hash", "return", "none"])
def test_other_memos_carry_none(memo_type: str) -> None:
    octets = str(REF).encode()

    assert memo_reference(paying(memo_type=memo_type, memo=str(REF), memo_bytes=octets)) is None


@pytest.mark.parametrize("memo_type", ["id", "text"])
def test_a_memo_without_content_carries_none(memo_type: str) -> None:
    assert memo_reference(paying(memo_type=memo_type, memo=None, memo_bytes=None)) is None


def test_a_text_is_read_from_its_octets_and_an_id_from_its_number() -> None:
    octets = str(OTHER_REF).encode()

    assert memo_reference(paying(memo_type="text", memo=str(REF), memo_bytes=octets)) == OTHER_REF
    assert memo_reference(paying(memo_type="id", memo=str(REF), memo_bytes=octets)) == REF


@pytest.mark.parametrize(
    ("memo", "muxed_id", "expected"),
    [
        ({"memo": str(REF)}, None, Reference(REF, "", f"memo_id {REF}")),
        (text(str(REF).encode()), None, Reference(REF, "", f"memo_text {REF}")),
        (NONE, REF, Reference(REF, "", f"muxed id {REF}")),
        ({"memo": str(REF)}, REF, Reference(REF, "", f"muxed id {REF}")),
        ({"memo": str(REF)}, 5, Reference(REF, "", f"memo_id {REF}")),
        ({"memo": "5"}, REF, Reference(REF, "", f"muxed id {REF}")),
        (
            {"memo": str(REF)},
            OTHER_REF,
            Reference(None, "reference_conflict", f"muxed id {OTHER_REF} and memo {REF} disagree"),
        ),
        (NONE, 0, Reference(None, "unknown_reference", "muxed id 0 is not a reference of ours")),
        ({"memo": "7"}, WRONG, Reference(None, "unknown_reference", f"muxed id {WRONG} is not a reference of ours")),
        (NONE, None, Reference(None, "no_reference", "there is no memo and no muxed id")),
        ({"memo_type": "none", "memo": "x"}, None, Reference(None, "no_reference", "there is no memo and no muxed id")),
        (text(b""), None, Reference(None, "no_reference", "there is no memo and no muxed id")),
        ({"memo": str(WRONG)}, None, Reference(None, "unknown_reference", "memo_id is not a reference of ours")),
        (text(b"thanks"), None, Reference(None, "unknown_reference", "memo_text is not a reference of ours")),
    ],
)  # fmt: skip
def test_the_muxed_id_comes_first_and_the_memo_must_agree(
    memo: dict[str, object], muxed_id: int | None, expected: Reference
) -> None:
    paid = credit(muxed_id=muxed_id)

    assert resolve_reference(paying(paid, **memo), paid) == expected


def test_the_candidates_are_all_that_any_credit_may_name() -> None:
    transaction = paying(credit(muxed_id=OTHER_REF), credit(index=1, muxed_id=5), credit(index=2))

    assert candidate_references(transaction) == {REF, OTHER_REF}
    assert candidate_references(paying(credit(), **NONE)) == frozenset()
