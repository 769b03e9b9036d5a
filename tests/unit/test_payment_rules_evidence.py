"""What "why is this paid?" shows: each question in its order, its answer, and the field that gave it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from portal.domain.payments import rules
from portal.domain.payments.explaining import explain_for_invoice
from portal.domain.payments.rules import Context, CreditVerdict, MerchantPolicy, RuleResult, judge, parse_hash
from portal.domain.payments.settling import Arrival, Share
from portal.kernel.chain import Credit, Debit, ObservedTransaction
from portal.kernel.money import from_stroops
from tests.unit.test_payment_rules import (
    CONTEXT,
    FALSE_USDC,
    INVOICE,
    NOON,
    OTHER_INVOICE,
    OTHER_REF,
    OTHER_WALLET,
    PAYER,
    REF,
    STRANGER,
    UNKNOWN_REF,
    USDC,
    WALLET,
    credit,
    only,
    paying,
    with_policy,
)

ISSUED, ENDED = NOON - timedelta(hours=1), NOON + timedelta(hours=1)
HASH = "ab" * 32


def of(code: str, ok: bool, detail: str) -> RuleResult:
    return RuleResult(code, ok, detail)


SEEN = (
    of("hash_verified", True, f"the envelope hashes to {HASH}"),
    of("successful", True, "successful is true"),
)
# Every question up to the money, of a credit that passes them all.
KEPT = (*SEEN, of("not_self_payment", True, f"paid by {PAYER}"), of("kept", True, "nothing is sent back"))
NAMED = (
    *KEPT,
    of("reference", True, f"memo_id {REF}"),
    of("invoice", True, f"reference {REF}"),
)
PLACED = (*NAMED, of("destination", True, WALLET))
RIGHT = (*PLACED, of("asset", True, "native"))
TIMELY = (*RIGHT, of("after_issue", True, "ledger 7 closed at 2026-11-20T12:00:00+00:00"))
PASSED = (
    *TIMELY,
    of("not_cancelled", True, "PENDING"),
    of("in_time", True, "ledger 7 closed at 2026-11-20T12:00:00+00:00"),
)


def amount(received: int, allocated: int, excess: int) -> RuleResult:
    return of("amount", True, f"{received} stroops received, {allocated} allocated, {excess} in excess")


class TestCredited:
    def test_tells_every_question_and_where_the_money_went(self) -> None:
        found = judge(paying(credit(1_250)), CONTEXT)

        assert found.rules == SEEN
        assert found.credits[0].rules == (*PASSED, amount(1_250, 1_000, 250))

    @pytest.mark.parametrize("tolerated", [1, 5])
    def test_tells_what_was_forgiven(self, tolerated: int) -> None:
        found = only(paying(credit(1_000 - tolerated)), with_policy(tolerance_stroops=5))

        assert found.rules == (
            *PASSED,
            amount(1_000 - tolerated, 1_000 - tolerated, 0),
            of("tolerance", True, f"{tolerated} stroops short, within the tolerance"),
        )

    def test_tells_that_it_came_late(self) -> None:
        found = only(paying(credit(), closed_at=ENDED + timedelta(seconds=1)))

        closed = "ledger 7 closed at 2026-11-20T13:00:01+00:00"
        assert found.rules == (
            *RIGHT,
            of("after_issue", True, closed),
            of("not_cancelled", True, "PENDING"),
            of("in_time", True, f"{closed}, after the invoice expired"),
            amount(1_000, 1_000, 0),
        )

    def test_tells_that_it_came_through_a_muxed_id(self) -> None:
        found = only(paying(credit(muxed_id=REF), memo_type="none", memo=None))

        assert found.rules[4] == of("reference", True, f"muxed id {REF}")


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ((), ()),
        (("horizon.example",), ()),
        (
            ("horizon.example", "second.example"),
            (of("second_source", True, "horizon.example and second.example agree"),),
        ),
    ],
)
def test_a_second_source_that_agreed_is_named(sources: tuple[str, ...], told: tuple[RuleResult, ...]) -> None:
    found = judge(paying(credit(), sources=sources), CONTEXT)

    assert found.rules == (*SEEN, *told)
    assert found.credits[0].rules == (*SEEN, *told, *PASSED[2:], amount(1_000, 1_000, 0))


@pytest.mark.parametrize(
    ("transaction", "reason", "asked"),
    [
        (
            paying(credit(source=WALLET)),
            "self_payment",
            (*SEEN, of("not_self_payment", False, f"paid by {WALLET}")),
        ),
        (
            paying(credit(), debits=(Debit(1, WALLET, PAYER, "native", 5),)),
            "pay_and_return",
            (*KEPT[:3], of("kept", False, "operation 1 sends native out again")),
        ),
        (
            paying(credit(), memo_type="none", memo=None),
            "no_reference",
            (*KEPT, of("reference", False, "there is no memo and no muxed id")),
        ),
        (
            paying(credit(muxed_id=OTHER_REF)),
            "reference_conflict",
            (*KEPT, of("reference", False, f"muxed id {OTHER_REF} and memo {REF} disagree")),
        ),
        (
            paying(credit(), memo=str(UNKNOWN_REF)),
            "unknown_reference",
            (
                *KEPT,
                of("reference", True, f"memo_id {UNKNOWN_REF}"),
                of("invoice", False, f"reference {UNKNOWN_REF}"),
            ),
        ),
        (
            paying(credit(destination=OTHER_WALLET)),
            "wrong_destination",
            (*NAMED, of("destination", False, OTHER_WALLET)),
        ),
        (paying(credit(asset=FALSE_USDC)), "wrong_asset", (*PLACED, of("asset", False, FALSE_USDC))),
        (
            paying(credit(), closed_at=ISSUED - timedelta(seconds=61)),
            "predates",
            (*RIGHT, of("after_issue", False, "ledger 7 closed at 2026-11-20T10:58:59+00:00")),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refused_credit_tells_what_passed_and_the_one_question_that_failed(
    transaction: ObservedTransaction, reason: str, asked: tuple[RuleResult, ...]
) -> None:
    found = only(transaction)

    assert (found.reason, found.rules) == (reason, asked)
    assert (found.allocated_stroops, found.excess_stroops, found.rounding_stroops) == (0, 0, 0)


def test_a_cancelled_invoice_is_told_by_its_status() -> None:
    cancelled = replace(INVOICE, status="CANCELLED")

    found = only(paying(credit()), replace(CONTEXT, invoices=(cancelled,)))

    assert found.rules == (*TIMELY, of("not_cancelled", False, "CANCELLED"))


def test_a_late_credit_that_is_not_wanted_is_told_by_its_ledger() -> None:
    found = only(paying(credit(), closed_at=ENDED + timedelta(hours=1)), with_policy(accept_late=False))

    late = "ledger 7 closed at 2026-11-20T14:00:00+00:00, after the invoice expired"
    assert found.rules[-1] == of("in_time", False, late)


def test_a_failed_transaction_is_told_by_that_alone() -> None:
    found = judge(paying(credit(), successful=False), CONTEXT)

    assert found.rules == (of("successful", False, "successful is false"),)


def test_a_credit_that_is_recorded_already_says_so_last_and_keeps_its_flags() -> None:
    context = replace(CONTEXT, recorded=frozenset({(0, 0)}))

    found = only(paying(credit(source=OTHER_WALLET)), context)

    assert found.rules[-1] == of("new", False, "this credit is recorded already")
    assert found.rules[-2].code == "in_time"
    assert found.flags == ("own_wallet",)
    assert found.invoice_id == INVOICE.id


def test_a_malformed_hash_is_refused_with_a_sentence_beside_its_field() -> None:
    with pytest.raises(rules.HashMalformed) as refusal:
        parse_hash("")

    assert refusal.value.detail == "A transaction hash has 64 characters, 0 to 9 and a to f."
    assert refusal.value.pointer == "/transaction_hash"


class TestDust:
    def find(self, *credits: Credit, context: Context = CONTEXT, **overrides: object) -> CreditVerdict:
        return only(paying(*credits, **overrides), context)

    @pytest.mark.parametrize(("stroops", "flags"), [(1, ("dust",)), (9, ("dust",)), (10, ()), (11, ())])
    def test_ends_at_the_limit(self, stroops: int, flags: tuple[str, ...]) -> None:
        assert self.find(credit(stroops), memo_type="none", memo=None).flags == flags

    def test_may_name_a_reference_that_nobody_knows(self) -> None:
        assert self.find(credit(1), memo=str(UNKNOWN_REF)).flags == ("dust",)

    @pytest.mark.parametrize("overrides", [{"muxed_id": OTHER_REF}, {"destination": OTHER_WALLET}])
    def test_is_not_what_names_an_invoice_and_fails_another_rule(self, overrides: dict[str, object]) -> None:
        assert self.find(credit(1, **overrides)).flags == ()

    def test_is_not_what_sends_itself_back(self) -> None:
        found = self.find(credit(1), debits=(Debit(1, WALLET, PAYER, "native", 1),))

        assert found.flags == ()

    def test_is_native_unless_the_merchant_never_accepts_the_asset(self) -> None:
        accepted = with_policy(accepted_assets=frozenset({USDC}))
        unmarked = {"memo_type": "none", "memo": None}

        assert self.find(credit(1, asset=USDC), **unmarked).flags == ()
        assert self.find(credit(1, asset=USDC), context=accepted, **unmarked).flags == ()
        assert self.find(credit(10**9, asset=FALSE_USDC), context=accepted, **unmarked).flags == ("dust",)

    def test_is_less_than_a_hundredth_of_a_lumen_unless_the_merchant_says_otherwise(self) -> None:
        assert from_stroops(MerchantPolicy().dust_stroops) == Decimal("0.01")

    def test_is_never_a_payment_to_oneself(self) -> None:
        assert self.find(credit(1, source=WALLET)).flags == ()


class TestPayAndReturn:
    def test_is_found_behind_debits_of_other_assets_and_accounts(self) -> None:
        debits = (
            Debit(1, STRANGER, PAYER, "native", 5),
            Debit(2, WALLET, PAYER, USDC, 5),
            Debit(3, WALLET, PAYER, "native", 5),
        )

        found = only(paying(credit(), debits=debits))

        assert found.rules[-1] == of("kept", False, "operation 3 sends native out again")

    @pytest.mark.parametrize(
        "other",
        [
            {"index": 2},
            {"index": 1, "destination": OTHER_WALLET, "source": OTHER_WALLET},
            {"index": 1, "asset": USDC},
        ],
    )
    def test_is_not_hidden_by_a_self_payment_that_is_another_one(self, other: dict[str, object]) -> None:
        itself = credit(5, **{"source": WALLET, **other})
        transaction = paying(credit(), itself, debits=(Debit(1, WALLET, PAYER, "native", 5),))

        assert judge(transaction, CONTEXT).credits[0].reason == "pay_and_return"


class TestSettled:
    def test_tells_the_shares_of_all_credits_of_each_invoice_that_gets_money(self) -> None:
        booked = Arrival((6, "cd" * 32, 0, 0), 600, NOON - timedelta(minutes=1), False, Share(600))
        partly = replace(INVOICE, received_stroops=600, arrivals=(booked,))

        found = judge(paying(credit(500)), replace(CONTEXT, invoices=(partly, OTHER_INVOICE)))

        assert set(found.settled) == {INVOICE.id}
        assert found.settled[INVOICE.id].shares == {
            (6, "cd" * 32, 0, 0): Share(600),
            (7, HASH, 0, 0): Share(400, 100),
        }
        assert found.settled[INVOICE.id].completed_at == NOON

    def test_gives_an_older_credit_that_is_seen_later_the_first_share(self) -> None:
        booked = Arrival((8, "cd" * 32, 0, 0), 700, NOON + timedelta(minutes=1), False, Share(700))
        partly = replace(INVOICE, received_stroops=700, arrivals=(booked,))

        found = judge(paying(credit(600)), replace(CONTEXT, invoices=(partly,)))

        assert found.credits[0].allocated_stroops == 600
        assert found.settled[INVOICE.id].shares[8, "cd" * 32, 0, 0] == Share(400, 300)
        assert found.settled[INVOICE.id].completed_at == NOON + timedelta(minutes=1)

    def test_takes_what_came_from_elsewhere_off_first(self) -> None:
        booked = Arrival((6, "cd" * 32, 0, 0), 300, NOON, False, Share(300))
        partly = replace(INVOICE, received_stroops=500, arrivals=(booked,))

        assert only(paying(credit(600)), replace(CONTEXT, invoices=(partly,))).allocated_stroops == 500

    def test_keeps_forgiving_what_was_forgiven_under_a_greater_tolerance(self) -> None:
        booked = Arrival((6, "cd" * 32, 0, 0), 950, NOON, False, Share(950, 0, 50))
        paid = replace(INVOICE, status="PAID", received_stroops=1_000, arrivals=(booked,))

        found = judge(paying(credit(10)), replace(CONTEXT, invoices=(paid,)))

        assert found.settled[INVOICE.id].shares == {
            (6, "cd" * 32, 0, 0): Share(950),
            (7, HASH, 0, 0): Share(10, 0, 40),
        }

    def test_counts_a_new_credit_beside_those_not_booked_yet(self) -> None:
        unbooked = Arrival((6, "cd" * 32, 0, 0), 900, NOON, False)
        found = rules.settle(replace(INVOICE, arrivals=(unbooked,)), CONTEXT.policy)

        assert found.shares == {(6, "cd" * 32, 0, 0): Share(900)}
        assert found.completed_at is None

    def test_tells_of_no_invoice_that_gets_nothing(self) -> None:
        assert judge(paying(credit(muxed_id=OTHER_REF)), CONTEXT).settled == {}


class TestExplained:
    def explain(
        self, transaction: ObservedTransaction, context: Context = CONTEXT
    ) -> tuple[str | None, tuple[RuleResult, ...]]:
        return explain_for_invoice(transaction, judge(transaction, context), INVOICE)

    def test_shows_the_credit_that_paid_this_invoice_among_others(self) -> None:
        code, asked = self.explain(
            paying(
                credit(5, index=0),
                credit(900, index=1, muxed_id=OTHER_REF),
                credit(1_000, index=2, muxed_id=REF),
                memo_type="none",
                memo=None,
            )
        )

        assert code is None
        assert asked[-1] == amount(1_000, 1_000, 0)

    def test_shows_a_credit_that_passed_rather_than_one_that_failed_before_it(self) -> None:
        code, asked = self.explain(paying(credit(1, index=0, asset=USDC), credit(1_000, index=1)))

        assert code is None
        assert asked[-1] == amount(1_000, 1_000, 0)

    def test_shows_the_first_credit_that_failed_for_this_invoice(self) -> None:
        code, asked = self.explain(
            paying(credit(1, index=0, asset=USDC), credit(1, index=1, destination=OTHER_WALLET))
        )

        assert code == "wrong_asset"
        assert asked == (*PLACED, of("asset", False, USDC))

    def test_says_that_the_money_went_to_another_invoice_and_not_to_which(self) -> None:
        code, asked = self.explain(paying(credit(), memo=str(OTHER_REF)))

        assert code == "hash_used"
        assert asked == (*SEEN, of("names_this_invoice", False, "its reference names another invoice"))

    @pytest.mark.parametrize("first", [{"destination": OTHER_WALLET}, {"asset": USDC}])
    def test_prefers_what_reached_this_wallet_in_this_asset(self, first: dict[str, object]) -> None:
        code, asked = self.explain(
            paying(
                credit(index=0, muxed_id=UNKNOWN_REF, **first),
                credit(index=1, source=WALLET),
                credit(index=2, muxed_id=UNKNOWN_REF),
                memo_type="none",
                memo=None,
            )
        )

        assert code == "self_payment"
        assert asked == (*SEEN, of("not_self_payment", False, f"paid by {WALLET}"))

    def test_says_that_nobody_was_paid(self) -> None:
        code, asked = self.explain(paying())

        assert code == "not_a_payment"
        assert asked == (*SEEN, of("payment", False, "no operation pays an account"))

    def test_names_three_accounts_that_were_paid_instead(self) -> None:
        strangers = ["G" + letter * 55 for letter in "ZYXWZ"]

        code, asked = self.explain(
            paying(*(credit(index=number, destination=each) for number, each in enumerate(strangers)))
        )

        paid = ", ".join("G" + letter * 55 for letter in "WXY")
        assert code == "wrong_destination"
        assert asked == (*SEEN, of("destination", False, f"it pays {paid}, not {WALLET}"))

    def test_of_a_failed_transaction_is_that_it_failed(self) -> None:
        assert self.explain(paying(credit(), successful=False)) == (
            "transaction_failed",
            (of("successful", False, "successful is false"),),
        )
