"""Payments as payers mean them: everything that was sent for the invoice reaches it."""

from datetime import timedelta

from stellar_sdk import (
    AccountMerge,
    Asset,
    BumpSequence,
    CreateAccount,
    IdMemo,
    PathPaymentStrictReceive,
    PathPaymentStrictSend,
    TextMemo,
)

from tests.cases.scene import Scene
from tests.cases.signing import CONTRACT, Signed, asset_fields, contract_call
from tests.cases.table import ACCEPTED, AGAIN, DUE, USED, Left, Told, confirmed, honest, refused, unmatched

LARGEST = "922337203685.4775807"


@honest()
def memo_id(scene: Scene) -> Signed:
    return scene.pay()


@honest()
def memo_text(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(scene.digits))


@honest()
def memo_text_with_number_sign_and_spaces(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(b" # " + scene.digits[:4] + b" " + scene.digits[4:] + b" "))


@honest()
def muxed_address(scene: Scene) -> Signed:
    return scene.pay(to=scene.muxed(scene.ref), memo=None)


@honest()
def muxed_address_and_memo_agree(scene: Scene) -> Signed:
    return scene.pay(to=scene.muxed(scene.ref))


@honest()
def muxed_address_beside_a_memo_of_words(scene: Scene) -> Signed:
    return scene.pay(to=scene.muxed(scene.ref), memo=TextMemo("for the class"))


@honest()
def memo_beside_a_muxed_id_of_no_invoice(scene: Scene) -> Signed:
    return scene.pay(to=scene.muxed(5))


@honest(asset="usdc")
def issued_asset(scene: Scene) -> Signed:
    return scene.pay()


@honest(asset="usdc")
def paid_by_the_issuer(scene: Scene) -> Signed:
    return scene.pay(payer=scene.issuer)


@honest()
def from_a_muxed_payer(scene: Scene) -> Signed:
    return scene.pay(muxed_payer_id=77)


@honest()
def from_another_source_than_the_transactions(scene: Scene) -> Signed:
    return scene.pay(source=scene.stranger.public_key)


@honest()
def legacy_envelope(scene: Scene) -> Signed:
    return scene.pay(legacy=True)


@honest()
def create_account(scene: Scene) -> Signed:
    return scene.sign(CreateAccount(scene.wallet, "12.5"))


@honest()
def account_merge(scene: Scene) -> Signed:
    return scene.serve_merge(scene.sign(AccountMerge(scene.wallet)), DUE)


@honest()
def account_merge_to_a_muxed_address(scene: Scene) -> Signed:
    return scene.serve_merge(scene.sign(AccountMerge(scene.muxed(scene.ref)), memo=None), DUE)


@honest(asset="usdc")
def path_payment_strict_send_that_brings_more_than_its_least(scene: Scene) -> Signed:
    sent = PathPaymentStrictSend(scene.wallet, Asset.native(), "50", scene.usdc, "11", [])
    return scene.sign(sent).edited(amount=DUE)


@honest(asset="usdc")
def path_payment_strict_receive_that_takes_less_than_its_most(scene: Scene) -> Signed:
    sent = PathPaymentStrictReceive(scene.wallet, Asset.native(), "60", scene.usdc, "12.5", [])
    return scene.sign(sent).edited(source_amount="48.1234567")


@honest(asset="usdc")
def contract_transfer_with_a_muxed_id(scene: Scene) -> Signed:
    return scene.sign(contract_call(), memo=None).edited(
        asset_balance_changes=[
            {**asset_fields(scene.usdc), "type": "transfer", "from": CONTRACT, "to": scene.wallet}
            | {"amount": DUE, "destination_muxed_id": str(scene.ref), "destination_muxed_id_type": "uint64"}
        ]
    )


@honest(asset="usdc", money=(confirmed(amount="12.0000000"), confirmed(amount="0.5000000")))
def contract_transfer_and_mint_by_memo(scene: Scene) -> Signed:
    usdc = asset_fields(scene.usdc)
    return scene.sign(contract_call()).edited(
        asset_balance_changes=[
            {
                **usdc,
                "type": "transfer",
                "from": scene.payer.public_key,
                "to": CONTRACT,
                "amount": "12.0000000",
            },
            {**usdc, "type": "transfer", "from": CONTRACT, "to": scene.wallet, "amount": "12.0000000"},
            {**usdc, "type": "mint", "to": scene.wallet, "amount": "0.5000000"},
            {**usdc, "type": "burn", "from": CONTRACT, "amount": "9" * 30 + ".0000000"},
        ]
    )


@honest(ACCEPTED, AGAIN)
def fee_bump_by_both_hashes(scene: Scene) -> Told:
    signed = scene.pay(fee_payer=scene.stranger)
    return Told([signed], [(scene.bill, signed.hash), (scene.bill, signed.inner_hash)])


@honest(ACCEPTED, AGAIN)
def fee_bump_by_its_inner_hash_first(scene: Scene) -> Told:
    signed = scene.pay(fee_payer=scene.stranger)
    return Told([signed], [(scene.bill, signed.inner_hash), (scene.bill, signed.hash)])


@honest()
def hash_in_capitals_between_spaces(scene: Scene) -> Told:
    signed = scene.pay()
    return Told([signed], [(scene.bill, f"  {signed.hash.upper()}\n")])


@honest(ACCEPTED, AGAIN, AGAIN)
def same_transaction_three_times(scene: Scene) -> Told:
    signed = scene.pay()
    return Told([signed], [(scene.bill, signed.hash)] * 3)


@honest()
def operation_57_of_100(scene: Scene) -> Signed:
    others = [BumpSequence(1) for _ in range(99)]
    return scene.sign(*others[:56], scene.send(), *others[56:])


@honest(ACCEPTED, ACCEPTED, money=(confirmed(amount="5.0000000"), confirmed(amount="7.5000000")))
def a_part_and_then_the_rest(scene: Scene) -> Told:
    return Told([scene.pay("5"), scene.pay("7.5")])


@honest(money=(confirmed(amount="5.0000000"), confirmed(amount="7.5000000")))
def two_operations_that_make_the_sum(scene: Scene) -> Signed:
    return scene.sign(scene.send("5"), scene.send("7.5"))


@honest(money=(confirmed(amount="5.0000000"),), left=Left("PENDING", "PARTIAL", "5.0000000"))
def partial(scene: Scene) -> Signed:
    return scene.pay("5")


@honest(money=(confirmed(amount="0.0000001"),), left=Left("PENDING", "PARTIAL", "0.0000001"))
def one_stroop_of_many(scene: Scene) -> Signed:
    return scene.pay("0.0000001")


@honest(
    money=(confirmed(amount="0.0000001"),),
    left=Left("PAID", "PAID", "0.0000001"),
    amount="0.0000001",
)
def invoice_of_one_stroop(scene: Scene) -> Signed:
    return scene.pay()


@honest(money=(confirmed(amount=LARGEST),), left=Left("PAID", "PAID", LARGEST), amount=LARGEST, asset="usdc")
def largest_amount(scene: Scene) -> Signed:
    return scene.pay()


@honest(
    money=(confirmed("overpaid", amount=LARGEST),),
    left=Left("PAID", "OVERPAID", "0.0000001", "922337203685.4775806"),
    amount="0.0000001",
    asset="usdc",
)
def largest_amount_for_one_stroop(scene: Scene) -> Signed:
    return scene.pay(LARGEST)


@honest(
    money=(confirmed("overpaid", amount="20.0000000"),),
    left=Left("PAID", "OVERPAID", DUE, "7.5000000"),
)
def overpaid(scene: Scene) -> Signed:
    return scene.pay("20")


@honest(
    ACCEPTED,
    ACCEPTED,
    money=(confirmed(), confirmed("duplicate")),
    left=Left("PAID", "OVERPAID", DUE, DUE),
)
def paid_twice(scene: Scene) -> Told:
    return Told([scene.pay(), scene.pay()])


@honest(money=(confirmed("short", amount="12.0000000"),), shop="tolerant")
def short_within_the_tolerance(scene: Scene) -> Signed:
    return scene.pay("12")


@honest(
    money=(confirmed(amount="11.9999999"),), left=Left("PENDING", "PARTIAL", "11.9999999"), shop="tolerant"
)
def short_by_one_stroop_more_than_the_tolerance(scene: Scene) -> Signed:
    return scene.pay("11.9999999")


@honest(
    money=(confirmed(amount="0.2600000"),),
    left=Left("PENDING", "PARTIAL", "0.2600000"),
    shop="tolerant",
    amount="0.3",
)
def short_by_more_than_a_tenth_of_a_small_invoice(scene: Scene) -> Signed:
    return scene.pay("0.26")


@honest(
    ACCEPTED,
    ACCEPTED,
    money=(confirmed(), confirmed("duplicate", amount="5.0000000")),
    left=Left("PAID", "OVERPAID", DUE, "5.0000000"),
)
def claimed_in_the_reverse_order(scene: Scene) -> Told:
    first, second = scene.pay(), scene.pay("5")
    return Told([first, second], [(scene.bill, second.hash), (scene.bill, first.hash)])


@honest(
    ACCEPTED,
    refused("late"),
    money=(confirmed(amount="5.0000000"), unmatched("late", amount="7.5000000")),
    left=Left("EXPIRED", "PARTIAL", "5.0000000"),
    shop="strict",
    issued_hours_ago=5,
    expires_in_hours=2,
)
def a_part_in_time_and_the_rest_too_late(scene: Scene) -> Told:
    scene.expire()
    return Told([scene.pay("5", closed_at=scene.bill.expires_at), scene.pay("7.5")])


@honest(money=(confirmed("late"),), issued_hours_ago=5, expires_in_hours=2)
def late_and_accepted(scene: Scene) -> Signed:
    scene.expire()
    return scene.pay(closed_at=scene.bill.expires_at + timedelta(seconds=1))


@honest(money=(confirmed("late"),), issued_hours_ago=5, expires_in_hours=2)
def late_before_the_sweep_came_by(scene: Scene) -> Signed:
    return scene.pay(closed_at=scene.bill.expires_at + timedelta(seconds=1))


@honest(
    money=(confirmed("late", amount="5.0000000"),),
    left=Left("EXPIRED", "PARTIAL", "5.0000000"),
    issued_hours_ago=5,
    expires_in_hours=2,
)
def late_and_partial(scene: Scene) -> Signed:
    scene.expire()
    return scene.pay("5")


@honest(issued_hours_ago=5, expires_in_hours=2, shop="strict")
def in_time_and_seen_after_expiry(scene: Scene) -> Signed:
    scene.expire()
    return scene.pay(closed_at=scene.bill.expires_at)


@honest()
def a_minute_before_the_issue(scene: Scene) -> Signed:
    return scene.pay(closed_at=scene.bill.issued_at.replace(microsecond=0) - timedelta(seconds=59))


@honest(money=(confirmed("own_wallet"),))
def from_another_wallet_of_the_merchant(scene: Scene) -> Signed:
    return scene.pay(payer=scene.premises.other)


@honest(wallet="retired")
def invoice_of_a_wallet_that_was_retired(scene: Scene) -> Signed:
    return scene.pay()


@honest(money=(confirmed(), confirmed(amount="3.0000000")))
def two_muxed_ids_of_one_wallet(scene: Scene) -> Told:
    other = scene.another_bill(amount="3")
    signed = scene.sign(
        scene.send(to=scene.muxed(scene.ref)), scene.send("3", to=scene.muxed(other.pay_ref)), memo=None
    )
    return Told([signed], also=[(other, Left("PAID", "PAID", "3.0000000"))])


@honest(ACCEPTED, ACCEPTED, money=(confirmed(), confirmed(amount="3.0000000")))
def each_of_two_invoices_by_its_own_page(scene: Scene) -> Told:
    other = scene.another_bill(amount="3")
    first, second = scene.pay(), scene.pay("3", memo=IdMemo(other.pay_ref))
    return Told(
        [first, second],
        [(scene.bill, first.hash), (other, second.hash)],
        also=[(other, Left("PAID", "PAID", "3.0000000"))],
    )


@honest(USED, AGAIN)
def claimed_for_another_invoice_of_the_merchant_first(scene: Scene) -> Told:
    other = scene.another_bill()
    signed = scene.pay()
    return Told([signed], [(other, signed.hash), (scene.bill, signed.hash)], also=[(other, Left())])


@honest(refused("wrong_destination"), ACCEPTED)
def claimed_by_another_merchant_first(scene: Scene) -> Told:
    theirs = scene.another_bill(rival=True)
    signed = scene.pay()
    return Told([signed], [(theirs, signed.hash), (scene.bill, signed.hash)], also=[(theirs, Left())])


@honest()
def two_merchants_paid_by_one_transaction(scene: Scene) -> Signed:
    theirs = scene.another_bill(rival=True)
    return scene.sign(
        scene.send(to=scene.muxed(theirs.pay_ref, theirs.destination)),
        scene.send(to=scene.muxed(scene.ref)),
        memo=None,
    )


@honest(money=(confirmed(), unmatched("wrong_asset", amount="3.0000000")))
def one_good_operation_beside_one_of_a_forged_asset(scene: Scene) -> Signed:
    forged = Asset("USDC", scene.stage.forger.public_key)
    return scene.sign(scene.send(), scene.send("3", asset=forged))


@honest(money=(confirmed(amount="0.0050000"),), left=Left("PENDING", "PARTIAL", "0.0050000"))
def dust_with_a_reference_is_money(scene: Scene) -> Signed:
    return scene.pay("0.005")


@honest(
    ACCEPTED,
    ACCEPTED,
    money=(confirmed("late", amount="5.0000000"), confirmed("late", amount="7.5000000")),
    issued_hours_ago=5,
    expires_in_hours=2,
)
def late_in_two_parts(scene: Scene) -> Told:
    scene.expire()
    return Told([scene.pay("5"), scene.pay("7.5")])
