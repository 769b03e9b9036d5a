"""Payments that are none for this invoice, by design or by mistake: not a stroop of them may reach it.

What did reach a wallet of the merchant is in his books all the same, with its reason.
"""

from datetime import timedelta

from stellar_sdk import (
    AccountMerge,
    Asset,
    BumpSequence,
    Claimant,
    ClaimClaimableBalance,
    Clawback,
    CreateAccount,
    CreateClaimableBalance,
    HashMemo,
    IdMemo,
    PathPaymentStrictReceive,
    PathPaymentStrictSend,
    Payment,
    ReturnHashMemo,
    SetTrustLineFlags,
    TextMemo,
    TrustLineFlags,
)

from tests.cases.scene import Scene
from tests.cases.signing import CONTRACT, Signed, asset_fields, contract_call
from tests.cases.table import (
    DUE,
    NO_SUCH_PAGE,
    USED,
    Answer,
    Left,
    Money,
    Told,
    confirmed,
    hostile,
    ignored,
    refused,
    unmatched,
)

NO_REFERENCE = {"money": (unmatched("no_reference"),)}
UNKNOWN = {"money": (unmatched("unknown_reference"),)}
CONFLICT = {"money": (unmatched("reference_conflict"),)}
WRONG_ASSET = {"money": (unmatched("wrong_asset"),)}
WRONG_WALLET = {"money": (unmatched("wrong_destination"),)}
RETURNED = {"money": (unmatched("pay_and_return"),)}
MALFORMED = Answer(422, "hash_malformed")


# References


@hostile(refused("no_reference"), **NO_REFERENCE)
def exact_amount_without_memo(scene: Scene) -> Signed:
    return scene.pay(memo=None)


@hostile(refused("no_reference"), **NO_REFERENCE)
def memo_of_nothing(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(b""))


@hostile(refused("no_reference"), money=(unmatched("no_reference", "dust", amount="0.0099999"),))
def dust_without_memo(scene: Scene) -> Signed:
    return scene.pay("0.0099999", memo=None)


@hostile(refused("unknown_reference"), money=(unmatched("unknown_reference", "dust", amount="0.0000001"),))
def dust_with_an_address_to_lure(scene: Scene) -> Signed:
    return scene.pay("0.0000001", memo=TextMemo("claim at https://evil.test"))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_nul_inside(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(scene.digits[:6] + b"\0" + scene.digits[6:]))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_nul_behind(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(scene.digits + b"\0"))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_tab_and_newline(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(b"\t" + scene.digits + b"\n"))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_a_no_break_space(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(scene.digits[:6] + "\u00a0".encode() + scene.digits[6:]))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_of_invalid_utf8(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(b"\xff" + scene.digits))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_a_digit_of_another_script(scene: Scene) -> Signed:
    wide = chr(ord("\uff10") + int(scene.digits[:1])).encode()
    return scene.pay(memo=TextMemo(wide + scene.digits[1:]))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_of_the_number_in_small_letters(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo("inv-2026-11-0001"))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_leading_zero(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(b"0" + scene.digits))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_plus_sign(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(b"+" + scene.digits))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_decimals(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(scene.digits + b".0"))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_words_around(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(b"ref " + scene.digits))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_with_two_number_signs(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(b"##" + scene.digits))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_in_hexadecimal(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(f"{scene.ref:x}"))


@hostile(refused("unknown_reference"), **UNKNOWN)
def right_digits_in_a_hash_memo(scene: Scene) -> Signed:
    return scene.pay(memo=HashMemo(scene.digits.rjust(32, b"\0")))


@hostile(refused("unknown_reference"), **UNKNOWN)
def right_digits_in_a_return_memo(scene: Scene) -> Signed:
    return scene.pay(memo=ReturnHashMemo(scene.digits.ljust(32, b"\0")))


@hostile(refused("unknown_reference"), **UNKNOWN)
def right_number_in_the_bits_of_a_hash_memo(scene: Scene) -> Signed:
    return scene.pay(memo=HashMemo(scene.ref.to_bytes(32, "big")))


@hostile(refused("unknown_reference"), **UNKNOWN)
def one_wrong_digit(scene: Scene) -> Signed:
    wrong = (scene.ref // 10) * 10 + (scene.ref + 1) % 10
    return scene.pay(memo=IdMemo(wrong))


@hostile(refused("unknown_reference"), **UNKNOWN)
def two_digits_swapped(scene: Scene) -> Signed:
    text = str(scene.ref)
    place = next(index for index in range(1, 11) if text[index] != text[index + 1])
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return scene.pay(memo=TextMemo(swapped))


@hostile(refused("unknown_reference"), **UNKNOWN)
def a_digit_left_out(scene: Scene) -> Signed:
    return scene.pay(memo=IdMemo(scene.ref // 10))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_id_of_zero(scene: Scene) -> Signed:
    return scene.pay(memo=IdMemo(0))


@hostile(refused("unknown_reference"), **UNKNOWN)
def memo_id_beyond_64_bits_of_the_reference(scene: Scene) -> Signed:
    # What a reader keeps that cuts a number to 53 bits.
    return scene.pay(memo=IdMemo(scene.ref + 2**53))


@hostile(refused("unknown_reference"), **UNKNOWN)
def valid_reference_of_no_invoice(scene: Scene) -> Signed:
    # 15 digits with a good check digit: ours have 12.
    return scene.pay(memo=IdMemo(123456789012345))


@hostile(refused("unknown_reference"), **UNKNOWN)
def muxed_id_of_nobody(scene: Scene) -> Signed:
    return scene.pay(to=scene.muxed(2**64 - 1), memo=None)


@hostile(refused("reference_conflict"), **CONFLICT)
def muxed_id_and_memo_of_two_invoices(scene: Scene) -> Told:
    other = scene.another_bill()
    return Told([scene.pay(to=scene.muxed(other.pay_ref))], also=[(other, Left())])


@hostile(refused("unknown_reference"), **UNKNOWN)
def reference_of_another_merchants_invoice(scene: Scene) -> Told:
    theirs = scene.another_bill(rival=True)
    return Told([scene.pay(memo=IdMemo(theirs.pay_ref))], also=[(theirs, Left())])


@hostile(refused("unknown_reference"), money=(unmatched("unknown_reference", amount="3.0000000"),))
def contract_transfer_whose_muxed_id_is_a_text(scene: Scene) -> Signed:
    change = {**asset_fields(scene.bill.asset), "type": "transfer", "from": CONTRACT, "to": scene.wallet}
    muxed = {"destination_muxed_id": str(scene.ref), "destination_muxed_id_type": "string"}
    signed = scene.sign(contract_call(), memo=IdMemo(7))
    return signed.edited(asset_balance_changes=[{**change, "amount": "3.0000000", **muxed}])


# Invoices that cannot be paid


@hostile(refused("invoice_cancelled"), money=(unmatched("invoice_cancelled"),), left=Left("CANCELLED"))
def invoice_that_was_cancelled(scene: Scene) -> Signed:
    scene.cancel()
    return scene.pay()


@hostile(
    refused("late"),
    money=(unmatched("late"),),
    left=Left("EXPIRED"),
    shop="strict",
    issued_hours_ago=5,
    expires_in_hours=2,
)
def late_where_lateness_is_refused(scene: Scene) -> Signed:
    scene.expire()
    return scene.pay(closed_at=scene.bill.expires_at + timedelta(seconds=1))


@hostile(refused("late"), money=(unmatched("late"),), shop="strict", issued_hours_ago=5, expires_in_hours=2)
def late_before_the_sweep_where_lateness_is_refused(scene: Scene) -> Signed:
    return scene.pay(closed_at=scene.bill.expires_at + timedelta(seconds=1))


@hostile(refused("predates"), money=(unmatched("predates"),))
def transaction_older_than_the_invoice(scene: Scene) -> Signed:
    return scene.pay(closed_at=scene.bill.issued_at - timedelta(seconds=62))


@hostile(NO_SUCH_PAGE, issue=False, left=Left("DRAFT"), is_seen=False)
def draft_that_nobody_can_pay(scene: Scene) -> Signed:
    return scene.sign(scene.send(to=scene.premises.main.public_key), memo=None)


# Assets


@hostile(refused("wrong_asset"), **WRONG_ASSET, asset="usdc")
def right_code_of_another_issuer(scene: Scene) -> Signed:
    return scene.pay(asset=Asset("USDC", scene.stage.forger.public_key))


@hostile(refused("wrong_asset"), **WRONG_ASSET, asset="usdc")
def code_in_small_letters(scene: Scene) -> Signed:
    return scene.pay(asset=Asset("usdc", scene.issuer.public_key))


@hostile(refused("wrong_asset"), **WRONG_ASSET, asset="usdc")
def code_with_one_letter_more(scene: Scene) -> Signed:
    return scene.pay(asset=Asset("USDCX", scene.issuer.public_key))


@hostile(refused("wrong_asset"), **WRONG_ASSET)
def issued_asset_called_xlm(scene: Scene) -> Signed:
    return scene.pay(asset=Asset("XLM", scene.stage.forger.public_key))


@hostile(refused("wrong_asset"), **WRONG_ASSET)
def issued_asset_called_native(scene: Scene) -> Signed:
    return scene.pay(asset=Asset("native", scene.stage.forger.public_key))


@hostile(refused("wrong_asset"), **WRONG_ASSET, asset="usdc")
def xlm_for_an_invoice_in_usdc(scene: Scene) -> Signed:
    return scene.pay(asset=Asset.native())


@hostile(refused("wrong_asset"), **WRONG_ASSET, asset="usdc")
def created_account_for_an_invoice_in_usdc(scene: Scene) -> Signed:
    return scene.sign(CreateAccount(scene.wallet, "12.5"))


@hostile(refused("wrong_asset"), money=(unmatched("wrong_asset", amount="9.0000000"),), asset="usdc")
def merged_account_for_an_invoice_in_usdc(scene: Scene) -> Signed:
    return scene.serve_merge(scene.sign(AccountMerge(scene.wallet)), "9.0000000")


@hostile(refused("wrong_asset"), money=(unmatched("wrong_asset", amount="0.0000001"),), asset="usdc")
def path_payment_that_sends_usdc_and_brings_a_stroop_of_xlm(scene: Scene) -> Signed:
    return scene.sign(
        PathPaymentStrictSend(scene.wallet, scene.usdc, "12.5", Asset.native(), "0.0000001", [])
    )


@hostile(refused("wrong_asset"), **WRONG_ASSET, asset="usdc")
def path_payment_that_brings_another_issuers_usdc(scene: Scene) -> Signed:
    forged = Asset("USDC", scene.stage.forger.public_key)
    return scene.sign(PathPaymentStrictReceive(scene.wallet, scene.usdc, "12.5", forged, "12.5", []))


@hostile(refused("wrong_asset"), **WRONG_ASSET, asset="usdc")
def contract_transfer_of_another_issuers_usdc(scene: Scene) -> Signed:
    forged = asset_fields(Asset("USDC", scene.stage.forger.public_key))
    change = {**forged, "type": "transfer", "from": CONTRACT, "to": scene.wallet, "amount": DUE}
    return scene.sign(contract_call()).edited(asset_balance_changes=[change])


# Destinations


@hostile(refused("wrong_destination"))
def payment_to_a_stranger(scene: Scene) -> Signed:
    return scene.pay(to=scene.stranger.public_key)


@hostile(refused("wrong_destination"))
def muxed_address_of_a_stranger_with_our_reference(scene: Scene) -> Signed:
    return scene.pay(to=scene.muxed(scene.ref, scene.stranger.public_key))


@hostile(refused("wrong_destination"))
def wallet_of_another_merchant(scene: Scene) -> Signed:
    return scene.pay(to=scene.stage.premises["rival"].main.public_key)


@hostile(refused("wrong_destination"), **WRONG_WALLET)
def another_wallet_of_the_same_merchant(scene: Scene) -> Signed:
    return scene.pay(to=scene.premises.other.public_key)


@hostile(refused("wrong_destination"), **WRONG_WALLET)
def retired_wallet_of_the_merchant(scene: Scene) -> Signed:
    return scene.pay(to=scene.premises.retired.public_key)


@hostile(refused("no_reference"), **NO_REFERENCE)
def retired_wallet_without_memo(scene: Scene) -> Signed:
    return scene.pay(to=scene.premises.retired.public_key, memo=None)


@hostile(refused("not_a_payment"))
def claimable_balance_for_the_wallet(scene: Scene) -> Signed:
    return scene.sign(CreateClaimableBalance(scene.bill.asset, "12.5", [Claimant(scene.wallet)]))


@hostile(refused("not_a_payment"))
def claimed_balance_of_somebody(scene: Scene) -> Signed:
    return scene.sign(ClaimClaimableBalance("00000000" + "ab" * 32))


@hostile(refused("not_a_payment"), asset="usdc")
def clawback_from_the_wallet(scene: Scene) -> Signed:
    # An amount that nobody paid: a clawback takes back the payment of just its amount where there is one.
    return scene.sign(Clawback(scene.usdc, scene.wallet, "7.7777777"), payer=scene.issuer)


@hostile(refused("not_a_payment"), asset="usdc")
def trustline_that_was_deauthorised(scene: Scene) -> Signed:
    cleared = TrustLineFlags.AUTHORIZED_FLAG
    return scene.sign(SetTrustLineFlags(scene.wallet, scene.usdc, cleared), payer=scene.issuer)


@hostile(refused("transaction_failed"), asset="usdc")
def payment_to_a_deauthorised_trustline_fails(scene: Scene) -> Signed:
    return scene.pay(successful=False)


@hostile(refused("not_a_payment"))
def operations_that_pay_nobody(scene: Scene) -> Signed:
    return scene.sign(BumpSequence(1), BumpSequence(2))


@hostile(refused("wrong_destination"))
def contract_transfer_to_a_contract(scene: Scene) -> Signed:
    usdc = asset_fields(scene.usdc)
    changes = [
        {**usdc, "type": "transfer", "from": scene.payer.public_key, "to": CONTRACT, "amount": DUE},
        {**usdc, "type": "transfer", "from": CONTRACT, "to": scene.stranger.public_key, "amount": DUE},
    ]
    return scene.sign(contract_call()).edited(asset_balance_changes=changes)


@hostile(refused("not_a_payment"))
def contract_call_that_moves_nothing(scene: Scene) -> Signed:
    return scene.sign(contract_call())


# Money that goes round


@hostile(refused("transaction_failed"))
def failed_transaction(scene: Scene) -> Signed:
    return scene.pay(successful=False)


@hostile(refused("transaction_failed"))
def failed_fee_bump(scene: Scene) -> Told:
    signed = scene.pay(successful=False, fee_payer=scene.stranger)
    return Told([signed], [(scene.bill, signed.inner_hash)])


@hostile(refused("self_payment"), money=(ignored("self_payment"),))
def wallet_that_pays_itself(scene: Scene) -> Signed:
    return scene.pay(payer=scene.premises.main)


@hostile(refused("self_payment"), money=(ignored("self_payment"),))
def wallet_that_pays_its_own_muxed_address(scene: Scene) -> Signed:
    return scene.pay(payer=scene.premises.main, to=scene.muxed(scene.ref), muxed_payer_id=3)


@hostile(refused("self_payment"), money=(ignored("self_payment"),))
def wallet_that_pays_itself_in_a_strangers_transaction(scene: Scene) -> Signed:
    return scene.pay(source=scene.premises.main.public_key)


@hostile(refused("self_payment"), money=(ignored("self_payment"),), asset="usdc")
def wallet_that_changes_its_own_xlm_to_usdc(scene: Scene) -> Signed:
    sent = PathPaymentStrictReceive(scene.wallet, Asset.native(), "60", scene.usdc, "12.5", [])
    return scene.sign(sent, payer=scene.premises.main)


@hostile(refused("pay_and_return"), **RETURNED)
def pay_and_return(scene: Scene) -> Signed:
    back = Payment(scene.payer.public_key, scene.bill.asset, "12.5", scene.wallet)
    return scene.sign(scene.send(), back)


@hostile(refused("pay_and_return"), **RETURNED)
def return_before_the_payment(scene: Scene) -> Signed:
    back = Payment(scene.payer.public_key, scene.bill.asset, "12.5", scene.wallet)
    return scene.sign(back, scene.send())


@hostile(refused("pay_and_return"), **RETURNED)
def return_of_a_single_stroop(scene: Scene) -> Signed:
    back = Payment(scene.payer.public_key, scene.bill.asset, "0.0000001", scene.wallet)
    return scene.sign(scene.send(), back)


@hostile(refused("pay_and_return"), **RETURNED)
def return_to_a_third_party(scene: Scene) -> Signed:
    away = Payment(scene.stranger.public_key, scene.bill.asset, "12.5", scene.wallet)
    return scene.sign(scene.send(), away)


@hostile(refused("pay_and_return"), **RETURNED)
def return_by_a_claimable_balance(scene: Scene) -> Signed:
    back = CreateClaimableBalance(
        scene.bill.asset, "12.5", [Claimant(scene.payer.public_key)], source=scene.wallet
    )
    return scene.sign(scene.send(), back)


@hostile(refused("pay_and_return"), **RETURNED)
def return_by_merging_the_wallet_away(scene: Scene) -> Signed:
    signed = scene.sign(scene.send(), AccountMerge(scene.payer.public_key, source=scene.wallet))
    return scene.serve_merge(signed, "99.0000000", index=1)


@hostile(refused("pay_and_return"), **RETURNED)
def return_by_creating_an_account(scene: Scene) -> Signed:
    return scene.sign(scene.send(), CreateAccount(scene.stranger.public_key, "12.5", source=scene.wallet))


@hostile(refused("pay_and_return"), **RETURNED, asset="usdc")
def return_through_a_path(scene: Scene) -> Signed:
    back = PathPaymentStrictSend(
        scene.payer.public_key, scene.usdc, "12.5", Asset.native(), "1", [], source=scene.wallet
    )
    return scene.sign(scene.send(), back)


@hostile(refused("pay_and_return"), money=(Money("REVERSED", "clawback", (), DUE),), asset="usdc")
def return_by_clawback(scene: Scene) -> Signed:
    return scene.sign(scene.send(), Clawback(scene.usdc, scene.wallet, "12.5"), payer=scene.issuer)


@hostile(refused("pay_and_return"), **RETURNED, asset="usdc")
def return_by_a_contract(scene: Scene) -> Signed:
    usdc = asset_fields(scene.usdc)
    changes = [
        {**usdc, "type": "transfer", "from": CONTRACT, "to": scene.wallet, "amount": DUE},
        {**usdc, "type": "transfer", "from": scene.wallet, "to": CONTRACT, "amount": DUE},
    ]
    return scene.sign(contract_call()).edited(asset_balance_changes=changes)


@hostile(refused("pay_and_return"), **RETURNED, asset="usdc")
def return_by_burning_in_a_contract(scene: Scene) -> Signed:
    usdc = asset_fields(scene.usdc)
    changes = [
        {**usdc, "type": "mint", "to": scene.wallet, "amount": DUE},
        {**usdc, "type": "burn", "from": scene.wallet, "amount": DUE},
    ]
    return scene.sign(contract_call()).edited(asset_balance_changes=changes)


# Transactions that paid something else


@hostile(USED, money=(confirmed(),))
def transaction_of_another_invoice(scene: Scene) -> Told:
    other = scene.another_bill()
    return Told([scene.pay(memo=IdMemo(other.pay_ref))], also=[(other, Left("PAID", "PAID", DUE))])


@hostile(Answer(201), USED, money=(confirmed(),))
def transaction_that_was_credited_to_another_invoice(scene: Scene) -> Told:
    other = scene.another_bill()
    signed = scene.pay(memo=IdMemo(other.pay_ref))
    claims = [(other, signed.hash), (scene.bill, signed.hash)]
    return Told([signed], claims, also=[(other, Left("PAID", "PAID", DUE))])


@hostile(Answer(201), USED, money=(confirmed(),))
def inner_hash_of_what_another_invoice_was_credited_for(scene: Scene) -> Told:
    other = scene.another_bill()
    signed = scene.pay(memo=IdMemo(other.pay_ref), fee_payer=scene.stranger)
    claims = [(other, signed.hash), (scene.bill, signed.inner_hash)]
    return Told([signed], claims, also=[(other, Left("PAID", "PAID", DUE))])


# Claims that are no hash


@hostile(*[MALFORMED] * 9, is_seen=False)
def texts_that_are_no_hash(scene: Scene) -> Told:
    good = scene.pay().hash
    texts = ["", "ab", good[:-1], good + "0", "g" + good[1:], "\uff10" + good[1:], "0x" + good[2:]]
    return Told([], [(scene.bill, text) for text in [*texts, good[:63] + "\n0", good[:32] + " " + good[32:]]])
