"""Every row of the payment table (design, section 6) that a transaction alone can decide."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from stdnum import damm

from portal.domain.payments import rules
from portal.domain.payments.explaining import explain_for_invoice
from portal.domain.payments.rules import (
    Context,
    InvoiceFacts,
    MerchantPolicy,
    Outcome,
    candidate_references,
    judge,
    parse_hash,
)
from portal.kernel.chain import Credit, Debit, ObservedTransaction


def reference(body: str) -> int:
    return int(body + damm.calc_check_digit(body))


NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WALLET, OTHER_WALLET = "G" + "A" * 55, "G" + "B" * 55
PAYER, STRANGER = "G" + "C" * 55, "G" + "D" * 55
USDC, FALSE_USDC = "USDC:" + "G" + "E" * 55, "USDC:" + "G" + "F" * 55
REF, OTHER_REF, UNKNOWN_REF = reference("48291307741"), reference("77120055512"), reference("90000000001")
INVOICE = InvoiceFacts(
    id=UUID(int=1),
    pay_ref=REF,
    status="PENDING",
    asset="native",
    amount_stroops=1_000,
    received_stroops=0,
    destination=WALLET,
    issued_at=NOON - timedelta(hours=1),
    expires_at=NOON + timedelta(hours=1),
)
OTHER_INVOICE = replace(INVOICE, id=UUID(int=2), pay_ref=OTHER_REF)
CONTEXT = Context(
    wallets=frozenset({WALLET, OTHER_WALLET}),
    invoices=(INVOICE, OTHER_INVOICE),
    policy=MerchantPolicy(dust_stroops=10),
)


def credit(stroops: int = 1_000, *, index: int = 0, **overrides: object) -> Credit:
    values = {"kind": "payment", "source": PAYER, "destination": WALLET, "asset": "native", **overrides}
    return Credit(operation_index=index, credit_index=0, stroops=stroops, **values)  # type: ignore[arg-type]


def paying(*credits: Credit, **overrides: object) -> ObservedTransaction:
    values: dict[str, object] = {
        "canonical_hash": "ab" * 32,
        "hashes": ("ab" * 32,),
        "ledger": 7,
        "closed_at": NOON,
        "source_account": PAYER,
        "successful": True,
        "memo_type": "id",
        "memo": str(REF),
        "memo_bytes": None,
        "envelope_xdr": "",
        "credits": credits,
        "debits": (),
        "raw": {},
        **overrides,
    }
    return ObservedTransaction(**values)  # type: ignore[arg-type]


def text(octets: bytes) -> dict[str, object]:
    return {"memo_type": "text", "memo": octets.decode(errors="replace"), "memo_bytes": octets}


def only(transaction: ObservedTransaction, context: Context = CONTEXT) -> rules.CreditVerdict:
    verdict = judge(transaction, context)
    assert len(verdict.credits) == 1
    return verdict.credits[0]


def with_policy(**policy: object) -> Context:
    return replace(CONTEXT, policy=replace(CONTEXT.policy, **policy))


class TestHash:
    def test_is_lower_cased(self) -> None:
        assert parse_hash("AB" * 32) == "ab" * 32

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ab" * 31,
            "ab" * 33,
            "zz" * 32,
            " " + "ab" * 32,
            "ab" * 32 + "\n",
            "\uff41b" + "ab" * 31,
            "0x" + "ab" * 31,
        ],
    )
    def test_is_refused_unless_it_is_64_ascii_hex_digits(self, text: str) -> None:
        with pytest.raises(rules.HashMalformed) as refusal:
            parse_hash(text)

        assert refusal.value.code == "hash_malformed"


class TestReference:
    @pytest.mark.parametrize(
        "memo",
        [
            {"memo_type": "id", "memo": str(REF)},
            text(str(REF).encode()),
            text(b" " + str(REF).encode() + b" "),
            text(b"#" + str(REF).encode()),
            text(b"# " + str(REF)[:4].encode() + b" " + str(REF)[4:].encode()),
        ],
    )
    def test_in_the_memo_credits_its_invoice(self, memo: dict[str, object]) -> None:
        transaction = paying(credit(), **memo)

        assert candidate_references(transaction) == {REF}
        assert only(transaction).invoice_id == INVOICE.id
        assert only(transaction).outcome is Outcome.CREDITED

    @pytest.mark.parametrize(
        ("memo", "reason"),
        [
            ({"memo_type": "none", "memo": None}, "no_reference"),
            (text(b""), "no_reference"),
            (text(str(REF).encode() + b"\0"), "unknown_reference"),
            (text(b"\xff" + str(REF).encode()), "unknown_reference"),
            (text("\uff14\uff18".encode() + str(REF)[2:].encode()), "unknown_reference"),
            (text(b"0" + str(REF).encode()), "unknown_reference"),
            (text(b"##" + str(REF).encode()), "unknown_reference"),
            (text(b"\t" + str(REF).encode()), "unknown_reference"),
            (text(b"INV " + str(REF).encode()), "unknown_reference"),
            (text(str(REF + 1).encode()), "unknown_reference"),
            ({"memo_type": "id", "memo": str(REF + 1)}, "unknown_reference"),
            ({"memo_type": "id", "memo": str(UNKNOWN_REF)}, "unknown_reference"),
            ({"memo_type": "id", "memo": str(2**64 - 1)}, "unknown_reference"),
            (
                {"memo_type": "hash", "memo": "00" * 32, "memo_bytes": str(REF).encode().rjust(32)},
                "unknown_reference",
            ),
            (
                {"memo_type": "return", "memo": "00" * 32, "memo_bytes": bytes(24) + REF.to_bytes(8)},
                "unknown_reference",
            ),
        ],
    )
    def test_is_never_guessed(self, memo: dict[str, object], reason: str) -> None:
        found = only(paying(credit(), **memo))

        assert (found.outcome, found.reason, found.invoice_id) == (Outcome.UNMATCHED, reason, None)

    def test_in_the_muxed_id_counts_without_a_memo(self) -> None:
        found = only(paying(credit(muxed_id=OTHER_REF), memo_type="none", memo=None))

        assert (found.outcome, found.invoice_id) == (Outcome.CREDITED, OTHER_INVOICE.id)

    def test_in_both_may_agree(self) -> None:
        assert only(paying(credit(muxed_id=REF))).outcome is Outcome.CREDITED

    def test_that_disagrees_with_the_muxed_id_matches_nothing(self) -> None:
        transaction = paying(credit(muxed_id=OTHER_REF))

        assert candidate_references(transaction) == {REF, OTHER_REF}
        assert only(transaction).reason == "reference_conflict"

    def test_in_the_memo_counts_when_the_muxed_id_is_somebody_elses_number(self) -> None:
        assert only(paying(credit(muxed_id=5))).invoice_id == INVOICE.id

    def test_is_not_replaced_by_an_equal_amount(self) -> None:
        found = only(paying(credit(INVOICE.amount_stroops), memo_type="none", memo=None))

        assert found.reason == "no_reference"


class TestFailedTransaction:
    def test_credits_nothing(self) -> None:
        verdict = judge(paying(credit(), successful=False), CONTEXT)

        assert (verdict.transaction_ok, verdict.reason, verdict.credits) == (False, "transaction_failed", ())


class TestCredit:
    def test_of_the_exact_amount_is_allocated_whole(self) -> None:
        found = only(paying(credit()))

        assert (found.allocated_stroops, found.excess_stroops, found.flags) == (1_000, 0, ())
        assert all(rule.ok for rule in found.rules)

    def test_to_nobody_of_this_merchant_is_left_out(self) -> None:
        assert judge(paying(credit(destination=STRANGER)), CONTEXT).credits == ()

    @pytest.mark.parametrize(
        "kind", ["create_account", "account_merge", "path_payment_strict_send", "contract_transfer"]
    )
    def test_counts_whatever_operation_brought_it(self, kind: str) -> None:
        assert only(paying(credit(kind=kind))).outcome is Outcome.CREDITED

    def test_to_oneself_is_ignored(self) -> None:
        found = only(paying(credit(source=WALLET)))

        assert (found.outcome, found.reason, found.flags) == (Outcome.IGNORED, "self_payment", ())

    def test_from_another_own_wallet_is_credited_with_a_flag(self) -> None:
        found = only(paying(credit(source=OTHER_WALLET)))

        assert (found.outcome, found.flags) == (Outcome.CREDITED, ("own_wallet",))

    def test_that_is_sent_back_in_the_same_transaction_is_unmatched_whole(self) -> None:
        back = Debit(operation_index=1, source=WALLET, destination=PAYER, asset="native", stroops=1)

        found = only(paying(credit(), debits=(back,)))

        assert (found.outcome, found.reason, found.allocated_stroops) == (
            Outcome.UNMATCHED,
            "pay_and_return",
            0,
        )

    def test_that_is_clawed_back_in_the_same_transaction_is_unmatched(self) -> None:
        taken = Debit(operation_index=1, source=WALLET, destination=None, asset=USDC, stroops=1)
        context = replace(CONTEXT, invoices=(replace(INVOICE, asset=USDC),))

        assert only(paying(credit(asset=USDC), debits=(taken,)), context).reason == "pay_and_return"

    def test_is_kept_when_another_asset_or_another_account_sends(self) -> None:
        debits = (
            Debit(1, WALLET, PAYER, USDC, 5),
            Debit(2, PAYER, WALLET, "native", 1_000),
            Debit(3, OTHER_WALLET, PAYER, "native", 5),
        )

        assert only(paying(credit(), debits=debits)).outcome is Outcome.CREDITED

    def test_is_kept_beside_a_self_payment_of_the_receiver(self) -> None:
        itself = credit(5, index=1, source=WALLET)
        transaction = paying(credit(), itself, debits=(Debit(1, WALLET, WALLET, "native", 5),))

        outcomes = [found.outcome for found in judge(transaction, CONTEXT).credits]

        assert outcomes == [Outcome.CREDITED, Outcome.IGNORED]

    @pytest.mark.parametrize(
        ("asset", "due"),
        [(FALSE_USDC, USDC), ("usdc:" + USDC[5:], USDC), ("XLM:" + USDC[5:], "native"), ("native", USDC)],
    )
    def test_in_another_asset_is_unmatched(self, asset: str, due: str) -> None:
        context = replace(CONTEXT, invoices=(replace(INVOICE, asset=due),))

        found = only(paying(credit(asset=asset)), context)

        assert (found.outcome, found.reason, found.invoice_id) == (
            Outcome.UNMATCHED,
            "wrong_asset",
            INVOICE.id,
        )

    def test_to_another_wallet_than_the_invoice_names_is_unmatched(self) -> None:
        found = only(paying(credit(destination=OTHER_WALLET)))

        assert (found.outcome, found.reason) == (Outcome.UNMATCHED, "wrong_destination")

    def test_that_is_recorded_already_changes_nothing(self) -> None:
        context = replace(CONTEXT, recorded=frozenset({(0, 0)}))

        found = only(paying(credit()), context)

        assert (found.outcome, found.allocated_stroops, found.excess_stroops) == (Outcome.ALREADY, 0, 0)


class TestAmount:
    def test_that_is_less_leaves_a_rest(self) -> None:
        found = only(paying(credit(600)))

        assert (found.allocated_stroops, found.rounding_stroops, found.flags) == (600, 0, ())

    def test_that_is_less_within_the_tolerance_closes_the_invoice_short(self) -> None:
        found = only(paying(credit(995)), with_policy(tolerance_stroops=5))

        assert (found.allocated_stroops, found.rounding_stroops, found.flags) == (995, 5, ("short",))

    def test_that_is_one_stroop_below_the_tolerance_does_not(self) -> None:
        found = only(paying(credit(994)), with_policy(tolerance_stroops=5))

        assert (found.rounding_stroops, found.flags) == (0, ())

    def test_that_is_more_goes_into_excess(self) -> None:
        found = only(paying(credit(1_250)))

        assert (found.allocated_stroops, found.excess_stroops, found.flags) == (1_000, 250, ("overpaid",))

    def test_on_a_paid_invoice_is_all_excess(self) -> None:
        paid = replace(INVOICE, status="PAID", received_stroops=1_000)

        found = only(paying(credit()), replace(CONTEXT, invoices=(paid,)))

        assert (found.outcome, found.allocated_stroops, found.excess_stroops) == (Outcome.CREDITED, 0, 1_000)
        assert found.flags == ("duplicate",)

    def test_completes_what_was_paid_before(self) -> None:
        partly = replace(INVOICE, received_stroops=600)

        found = only(paying(credit(500)), replace(CONTEXT, invoices=(partly,)))

        assert (found.allocated_stroops, found.excess_stroops) == (400, 100)

    def test_of_several_operations_adds_up(self) -> None:
        found = judge(paying(credit(600, index=0), credit(600, index=1)), CONTEXT).credits

        assert [(each.allocated_stroops, each.excess_stroops) for each in found] == [(600, 0), (400, 200)]

    def test_of_several_operations_is_short_only_when_all_are_counted(self) -> None:
        parts = paying(credit(996, index=0), credit(2, index=1))

        found = judge(parts, with_policy(tolerance_stroops=5)).credits

        assert [(each.allocated_stroops, each.rounding_stroops) for each in found] == [(996, 0), (2, 2)]

    def test_of_several_muxed_ids_goes_to_each_reference(self) -> None:
        transaction = paying(
            credit(1_000, index=0, muxed_id=REF),
            credit(300, index=57, muxed_id=OTHER_REF),
            memo_type="none",
            memo=None,
        )

        found = judge(transaction, CONTEXT).credits

        assert [(each.invoice_id, each.allocated_stroops) for each in found] == [
            (INVOICE.id, 1_000),
            (OTHER_INVOICE.id, 300),
        ]

    def test_that_is_dust_without_a_reference_is_flagged(self) -> None:
        found = only(paying(credit(9), memo_type="none", memo=None))

        assert (found.outcome, found.reason, found.flags) == (Outcome.UNMATCHED, "no_reference", ("dust",))

    def test_that_is_dust_with_a_reference_is_credited(self) -> None:
        assert only(paying(credit(9))).flags == ()
        assert only(paying(credit(9))).outcome is Outcome.CREDITED

    def test_in_an_asset_never_accepted_is_dust(self) -> None:
        context = with_policy(accepted_assets=frozenset({"native"}))

        assert only(paying(credit(10**9, asset=USDC), memo_type="none", memo=None), context).flags == (
            "dust",
        )


class TestTime:
    def test_before_the_end_counts_although_seen_after_expiry(self) -> None:
        expired = replace(INVOICE, status="EXPIRED", expires_at=NOON)

        found = only(paying(credit()), replace(CONTEXT, invoices=(expired,)))

        assert (found.outcome, found.flags) == (Outcome.CREDITED, ())

    def test_after_the_end_is_accepted_late_by_default(self) -> None:
        late = paying(credit(), closed_at=NOON + timedelta(hours=1, seconds=1))

        assert (only(late).outcome, only(late).flags) == (Outcome.CREDITED, ("late",))

    def test_after_the_end_is_unmatched_when_the_merchant_wants_so(self) -> None:
        late = paying(credit(), closed_at=NOON + timedelta(hours=2))

        found = only(late, with_policy(accept_late=False))

        assert (found.outcome, found.reason) == (Outcome.UNMATCHED, "late")

    def test_after_the_end_does_not_make_a_paid_invoice_late(self) -> None:
        paid = replace(INVOICE, status="PAID", received_stroops=1_000)
        late = paying(credit(), closed_at=NOON + timedelta(hours=2))

        assert only(late, replace(CONTEXT, invoices=(paid,))).flags == ("duplicate",)

    @pytest.mark.parametrize(("seconds", "outcome"), [(-60, Outcome.CREDITED), (-61, Outcome.UNMATCHED)])
    def test_before_the_issue_is_forgiven_for_a_minute(self, seconds: int, outcome: Outcome) -> None:
        early = paying(credit(), closed_at=INVOICE.issued_at + timedelta(seconds=seconds))

        assert only(early).outcome is outcome

    def test_without_expiry_never_ends(self) -> None:
        endless = replace(INVOICE, expires_at=None)

        found = only(
            paying(credit(), closed_at=NOON + timedelta(days=999)), replace(CONTEXT, invoices=(endless,))
        )

        assert (found.outcome, found.flags) == (Outcome.CREDITED, ())

    def test_does_not_revive_a_cancelled_invoice(self) -> None:
        cancelled = replace(INVOICE, status="CANCELLED")

        found = only(paying(credit()), replace(CONTEXT, invoices=(cancelled,)))

        assert (found.outcome, found.reason) == (Outcome.UNMATCHED, "invoice_cancelled")


class TestExplanation:
    def explain(self, transaction: ObservedTransaction, context: Context = CONTEXT) -> str | None:
        code, asked = explain_for_invoice(transaction, judge(transaction, context), context.invoices[0])
        assert asked
        assert code is None or any(not rule.ok for rule in asked)
        return code

    def test_of_a_credited_payment_has_no_code(self) -> None:
        assert self.explain(paying(credit())) is None

    def test_of_a_payment_recorded_before_has_no_code(self) -> None:
        assert self.explain(paying(credit()), replace(CONTEXT, recorded=frozenset({(0, 0)}))) is None

    @pytest.mark.parametrize(
        ("transaction", "code"),
        [
            (paying(credit(), successful=False), "transaction_failed"),
            (paying(credit(destination=STRANGER)), "wrong_destination"),
            (paying(), "not_a_payment"),
            (paying(credit(destination=OTHER_WALLET)), "wrong_destination"),
            (paying(credit(asset=FALSE_USDC)), "wrong_asset"),
            (paying(credit(), memo_type="none", memo=None), "no_reference"),
            (paying(credit(), memo=str(UNKNOWN_REF)), "unknown_reference"),
            (paying(credit(muxed_id=OTHER_REF)), "reference_conflict"),
            (paying(credit(source=WALLET)), "self_payment"),
            (paying(credit(), debits=(Debit(1, WALLET, PAYER, "native", 1),)), "pay_and_return"),
            (paying(credit(), closed_at=NOON - timedelta(days=1)), "predates"),
            (paying(credit(), memo=str(OTHER_REF)), "hash_used"),
        ],
    )
    def test_of_a_refusal_names_the_rule(self, transaction: ObservedTransaction, code: str) -> None:
        assert self.explain(transaction) == code

    def test_prefers_the_credit_that_names_this_invoice(self) -> None:
        transaction = paying(
            credit(index=0, muxed_id=OTHER_REF),
            credit(index=1, muxed_id=REF, asset=FALSE_USDC),
            memo_type="none",
            memo=None,
        )

        assert self.explain(transaction) == "wrong_asset"
