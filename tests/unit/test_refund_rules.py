"""Whether a transaction is the refund that was agreed, and what stands in a refund's way."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Keypair

from portal.domain.refunds import obstacles, rules
from portal.domain.refunds.rules import Expected, Memo, Refundable, RefundStatus, judge_refund
from portal.kernel.chain import AccountState, AssetHolding, Credit, ObservedTransaction

SHOP, PAYER, STRANGER, ISSUER = (Keypair.random().public_key for _ in range(4))
USDC = f"USDC:{ISSUER}"
EXPECTED = Expected(SHOP, PAYER, "native", 400, Memo(), paid_ledger=1000)
HASH = "ab" * 32


def credit(**changes):
    facts = {"operation_index": 0, "credit_index": 0, "kind": "payment", "source": SHOP, "destination": PAYER}
    return Credit(**{**facts, "asset": "native", "stroops": 400, **changes})


def sent(*credits, **changes):
    """Return a transaction of the network with these credits, the agreed refund unless told otherwise."""
    facts = {
        "canonical_hash": HASH, "hashes": (HASH,), "ledger": 1001, "closed_at": datetime(2026, 11, 20, tzinfo=UTC),
        "source_account": SHOP, "successful": True, "memo_type": "none", "memo": None, "memo_bytes": None,
        "envelope_xdr": "AAAA", "credits": credits or (credit(),), "debits": (), "raw": {},
    }  # fmt: skip
    return ObservedTransaction(**{**facts, **changes})


class TestJudge:
    def test_the_agreed_payment_is_the_refund_and_every_rule_says_so(self):
        verdict = judge_refund(sent(), EXPECTED)

        assert (verdict.operation_index, verdict.reason) == (0, None)
        assert [rule.code for rule in verdict.rules] == [
            "hash_verified", "successful", "source", "receiver", "asset", "exact", "memo", "after_payment", "unused",
        ]  # fmt: skip
        assert all(rule.ok for rule in verdict.rules)

    @pytest.mark.parametrize(
        ("reason", "changes", "transaction"),
        [
            ("wrong_source", {"source": STRANGER}, {}),
            ("wrong_receiver", {"destination": STRANGER}, {}),
            ("wrong_asset", {"asset": USDC}, {}),
            ("wrong_asset", {"asset": f"XLM:{ISSUER}"}, {}),
            ("wrong_amount", {"stroops": 399}, {}),
            ("wrong_amount", {"stroops": 401}, {}),
            ("predates_payment", {}, {"ledger": 1000}),
            ("predates_payment", {}, {"ledger": 999}),
        ],
    )
    def test_anything_else_is_not_and_names_the_rule(self, reason, changes, transaction):
        verdict = judge_refund(sent(credit(**changes), **transaction), EXPECTED)

        assert (verdict.operation_index, verdict.reason) == (None, reason)
        assert [rule.ok for rule in verdict.rules][-1] is False
        assert all(rule.ok for rule in verdict.rules[:-1])

    def test_a_failed_transaction_is_none_whatever_it_holds(self):
        verdict = judge_refund(sent(successful=False), EXPECTED)

        assert (verdict.operation_index, verdict.reason) == (None, "transaction_failed")

    def test_a_transaction_that_pays_nobody_is_none(self):
        verdict = judge_refund(replace(sent(), credits=()), EXPECTED)

        assert (verdict.operation_index, verdict.reason) == (None, "not_a_payment")

    def test_any_operation_may_be_it(self):
        others = [credit(operation_index=index, stroops=index + 1) for index in range(56)]

        verdict = judge_refund(sent(*others, credit(operation_index=56)), EXPECTED)

        assert verdict.operation_index == 56

    def test_a_path_payment_counts_by_what_its_receiver_got(self):
        verdict = judge_refund(sent(credit(kind="path_payment_strict_receive")), EXPECTED)

        assert verdict.operation_index == 0

    def test_an_operation_is_one_refund_alone_and_its_twin_another(self):
        twice = sent(credit(), credit(operation_index=1))

        assert judge_refund(twice, replace(EXPECTED, used=frozenset({0}))).operation_index == 1
        spent = judge_refund(twice, replace(EXPECTED, used=frozenset({0, 1})))
        assert (spent.operation_index, spent.reason) == (None, "hash_used")

    def test_the_reason_is_that_of_the_operation_that_came_closest(self):
        stray = credit(destination=STRANGER)
        close = credit(operation_index=1, stroops=399)

        assert judge_refund(sent(stray, close), EXPECTED).reason == "wrong_amount"
        assert judge_refund(sent(replace(close, operation_index=0), stray), EXPECTED).reason == "wrong_amount"

    @pytest.mark.parametrize(
        ("memo", "carried"),
        [
            (Memo(), {}),
            (Memo(), {"memo_type": "text", "memo": "thanks", "memo_bytes": b"thanks"}),
            (Memo("id", "77"), {"memo_type": "id", "memo": "77"}),
            (Memo("text", "kopi 7"), {"memo_type": "text", "memo": "kopi 7", "memo_bytes": b"kopi 7"}),
            (Memo("hash", HASH), {"memo_type": "hash", "memo": HASH, "memo_bytes": bytes.fromhex(HASH)}),
        ],
    )
    def test_the_agreed_memo_is_there(self, memo, carried):
        assert judge_refund(sent(**carried), replace(EXPECTED, memo=memo)).operation_index == 0

    @pytest.mark.parametrize(
        ("memo", "carried"),
        [
            (Memo("id", "77"), {}),
            (Memo("id", "77"), {"memo_type": "text", "memo": "77", "memo_bytes": b"77"}),
            (Memo("id", "77"), {"memo_type": "id", "memo": "78"}),
            (Memo("text", "77"), {"memo_type": "id", "memo": "77"}),
            (Memo("text", "kopi"), {"memo_type": "text", "memo": "kopi", "memo_bytes": b"kopi\x00"}),
            (Memo("hash", HASH), {"memo_type": "return", "memo": HASH, "memo_bytes": bytes.fromhex(HASH)}),
        ],
    )
    def test_another_memo_than_agreed_is_refused(self, memo, carried):
        verdict = judge_refund(sent(**carried), replace(EXPECTED, memo=memo))

        assert (verdict.operation_index, verdict.reason) == (None, "wrong_memo")

    def test_an_id_may_travel_in_a_muxed_address(self):
        expected = replace(EXPECTED, memo=Memo("id", "77"))

        assert judge_refund(sent(credit(muxed_id=77)), expected).operation_index == 0
        assert judge_refund(sent(credit(muxed_id=78)), expected).reason == "wrong_memo"


class TestBurden:
    def test_money_without_an_invoice_leaves_by_suspense(self):
        borne = rules.share_burden(Decimal(7), is_suspense=True, excess=Decimal(9), credit=Decimal(9))

        assert borne == rules.Borne(suspense=Decimal(7))

    @given(*[st.decimals(min_value=-50, max_value=50, places=7) for _ in range(2)])
    def test_credit_bears_what_it_can_and_the_merchant_the_rest(self, excess, credit):
        amount = Decimal(20)

        borne = rules.share_burden(amount, is_suspense=False, excess=excess, credit=credit)

        assert borne.suspense == 0 and borne.credit + borne.revenue == amount
        assert 0 <= borne.credit <= max(0, excess) and borne.credit <= max(0, credit)
        assert borne.credit == max(0, min(amount, excess, credit))


class TestStates:
    def test_what_is_over_stays_over(self):
        over = (RefundStatus.COMPLETED, RefundStatus.CANCELLED, RefundStatus.FAILED)

        assert not any(rules.may_become(status, wanted) for status in over for wanted in RefundStatus)

    def test_what_was_named_cannot_be_cancelled_or_given_up(self):
        assert {wanted for wanted in RefundStatus if rules.may_become("PROCESSING", wanted)} == {
            RefundStatus.PROCESSING, RefundStatus.COMPLETED, RefundStatus.PENDING,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("code", "changes"),
        [
            ("payment_reversed", {"status": "REVERSED"}),
            ("self_payment", {"status": "IGNORED", "reason": "self_payment"}),
            ("pay_and_return", {"status": "UNMATCHED", "reason": "pay_and_return"}),
            ("sender_is_contract", {"sender": "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD2KM"}),
            ("nothing_left", {"left": Decimal(0)}),
        ],
    )
    def test_some_payments_cannot_be_refunded_and_say_why(self, code, changes):
        facts = {"status": "CONFIRMED", "reason": None, "sender": PAYER, "left": Decimal(1)}

        with pytest.raises(rules.NotRefundable) as refusal:
            rules.check_refundable(Refundable(**{**facts, **changes}))

        assert refusal.value.code == code and refusal.value.detail.endswith(".")


class TestTyped:
    @pytest.mark.parametrize(
        ("kind", "text", "memo"),
        [
            ("none", " ", Memo()),
            ("id", " 0077 ", Memo("id", "77")),
            ("id", str(2**64 - 1), Memo("id", str(2**64 - 1))),
            ("text", "Zoë", Memo("text", "Zoë")),
            ("hash", HASH.upper(), Memo("hash", HASH)),
        ],
    )
    def test_a_memo_that_the_network_can_carry_is_taken(self, kind, text, memo):
        assert rules.clean_memo(kind, text) == memo

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            ("none", "77"), ("id", ""), ("id", str(2**64)), ("id", "7e3"), ("id", "７"), ("id", "-1"),
            ("text", "é" * 15), ("text", "a\x00b"), ("hash", "ab"), ("colour", "red"),
        ],
    )  # fmt: skip
    def test_one_that_it_cannot_is_refused(self, kind, text):
        with pytest.raises(rules.MemoInvalid):
            rules.clean_memo(kind, text)

    def test_a_reason_is_one_line_and_never_empty(self):
        assert rules.clean_reason(" sent\n twice\x00 ") == "sent twice"
        with pytest.raises(rules.ReasonMissing):
            rules.clean_reason(" \n\x00")


def account(address=PAYER, *holdings, **changes):
    native = AssetHolding("native", 10**9, None, 0, 0, True)
    facts = {
        "address": address, "sequence": 1, "balances": (native, *holdings), "auth_required": False,
        "auth_revocable": False, "auth_clawback_enabled": False, "low_threshold": 0, "medium_threshold": 0,
        "high_threshold": 0, "signers": (), "home_domain": None, "memo_required": False,
    }  # fmt: skip
    return AccountState(**{**facts, **changes})


def holding(**changes):
    facts = {"asset": USDC, "balance_stroops": 100, "limit_stroops": 1000, "buying_liabilities_stroops": 500}
    return AssetHolding(**{**facts, "selling_liabilities_stroops": 60, "authorized": True, **changes})


class TestObstacles:
    @pytest.mark.parametrize(
        ("code", "state"),
        [
            ("sender_missing", None),
            ("sender_no_trustline", account()),
            ("sender_not_authorised", account(PAYER, holding(authorized=False))),
            ("sender_full", account(PAYER, holding(buying_liabilities_stroops=501))),
        ],
    )
    def test_a_sender_who_cannot_receive_is_told_of(self, code, state):
        with pytest.raises(obstacles.CannotReach) as refusal:
            obstacles.check_receiver(state, asset=USDC, stroops=400)

        assert refusal.value.code == code

    def test_one_who_can_is_not(self):
        obstacles.check_receiver(account(PAYER, holding()), asset=USDC, stroops=400)
        obstacles.check_receiver(account(), asset="native", stroops=400)
        obstacles.check_receiver(account(ISSUER), asset=USDC, stroops=400)

    @pytest.mark.parametrize(
        ("code", "state"),
        [
            ("wallet_missing", None),
            ("wallet_short", account(SHOP)),
            ("wallet_short", account(SHOP, holding(selling_liabilities_stroops=61))),
            ("wallet_not_authorised", account(SHOP, holding(authorized=False))),
        ],
    )
    def test_a_wallet_that_cannot_send_is_told_of(self, code, state):
        with pytest.raises(obstacles.CannotSend) as refusal:
            obstacles.check_wallet(state, asset=USDC, stroops=40)

        assert refusal.value.code == code

    def test_one_that_can_is_not(self):
        obstacles.check_wallet(account(SHOP, holding()), asset=USDC, stroops=40)
        obstacles.check_wallet(account(ISSUER), asset=USDC, stroops=40)

    @pytest.mark.parametrize("domain", ["kraken.com", "Deposits.Kraken.com"])
    def test_an_exchange_is_known_by_its_home_domain(self, domain):
        assert rules.is_shared(account(home_domain=domain))
        assert not rules.is_shared(account(home_domain="notkraken.com"))

    def test_a_required_memo_is_obligatory_even_when_the_warning_is_confirmed(self):
        asks = {"pays_for_several": False, "is_confirmed": True}
        state = account(memo_required=True)

        with pytest.raises(obstacles.MemoRequired):
            obstacles.check_memo(state, memo=Memo(), **asks)
        obstacles.check_memo(state, memo=Memo("id", "7"), **asks)

    def test_a_shared_sender_needs_a_memo_or_a_confirmation(self):
        exchange = account(home_domain="kraken.com")

        with pytest.raises(obstacles.ConfirmationMissing):
            obstacles.check_memo(exchange, memo=Memo(), pays_for_several=False, is_confirmed=False)
        with pytest.raises(obstacles.ConfirmationMissing):
            obstacles.check_memo(None, memo=Memo(), pays_for_several=True, is_confirmed=False)
        obstacles.check_memo(exchange, memo=Memo(), pays_for_several=True, is_confirmed=True)
        obstacles.check_memo(exchange, memo=Memo("id", "7"), pays_for_several=True, is_confirmed=False)
        obstacles.check_memo(account(), memo=Memo(), pays_for_several=False, is_confirmed=False)
