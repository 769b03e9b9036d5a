"""Answers of the network that prove nothing: told 202 and looked at again, never a payment and never its absence.

Each lies about, or garbles, a transaction that is honest: once the network answers as it should, the same
hash is credited in full, so no payer loses by an outage.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from stellar_sdk import AccountMerge, Asset, PathPaymentStrictReceive, PathPaymentStrictSend, TextMemo

from tests.cases.scene import Scene
from tests.cases.served import ELSEWHERE, Spoil
from tests.cases.signing import CONTRACT, Signed, asset_fields, contract_call
from tests.cases.table import DUE, PATIENCE_SECONDS, Told, unusable

STRANGER = "GBZG3SMBL6FPLYYNQP6DMVZHDHCDIR4J4GYRGKE5BYRVLBYN364RBL5S"
# The one case about slowness need not take seconds.
SHORT_PATIENCE_SECONDS = 0.5
Garble = Callable[[Any], Any]


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def spoiled(
    name: str,
    garble: Garble | None,
    *,
    status: int | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
    **headers: str,
) -> None:
    """Note a case in which every answer is garbled, or has this status."""

    def spoil(path: str, found: int, body: Any) -> tuple[int, dict[str, str], Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return status or found, named, body if garble is None else garble(body)

    unusable(name, lambda scene: Told([scene.pay()], spoil=spoil, patience_seconds=patience_seconds))


def slowly(body: Any) -> Any:
    time.sleep(SHORT_PATIENCE_SECONDS * 1.6)
    return body


def problem(status: int) -> Garble:
    return lambda _: {"type": "about:blank", "title": "?", "status": status}


spoiled("answer_in_html", lambda _: b"<!DOCTYPE html><title>It works!</title>")
spoiled("answer_of_nothing", lambda _: b"")
spoiled("answer_cut_short", lambda body: encoded(body)[:-40])
spoiled("answer_in_an_array", lambda body: [body])
spoiled("answer_of_null", lambda _: b"null")
spoiled("answer_with_nan", lambda body: {**body, "more": float("nan")})
spoiled("answer_with_infinity", lambda body: encoded(body)[:-1] + b', "more": 1e999}')
spoiled(
    "answer_with_doubled_keys", lambda body: b'{"successful": false, "_embedded": 1, ' + encoded(body)[1:]
)
spoiled("answer_in_broken_utf8", lambda body: encoded(body)[:-1] + b', "more": "\xff"}')
spoiled("answer_nested_without_end", lambda body: encoded(body)[:-1] + b', "m": ' + b"[" * 9_000 + b"]" * 9_000 + b"}")  # fmt: skip
spoiled(
    "answer_with_an_endless_number", lambda body: encoded(body)[:-1] + b', "more": ' + b"9" * 5_000 + b"}"
)
spoiled("answer_above_two_megabytes", lambda body: encoded(body)[:-1] + b', "more": "' + b"a" * 2_200_000 + b'"}')  # fmt: skip
spoiled("answer_too_late", slowly, patience_seconds=SHORT_PATIENCE_SECONDS)
spoiled("status_500", problem(500), status=500)
spoiled("status_503_with_a_good_body", None, status=503)
spoiled("status_403", problem(403), status=403)
spoiled("status_404_in_html", lambda _: b"<h1>Not found</h1>", status=404)
spoiled("status_404_that_says_200", problem(200), status=404)
spoiled("status_410_history_is_gone", problem(410), status=410)
spoiled("status_429", problem(429), status=429, Retry_After="7")


def redirected(status: int) -> Spoil:
    def spoil(path: str, found: int, body: Any) -> tuple[int, dict[str, str], Any]:
        if path.startswith(ELSEWHERE):
            return found, {}, body
        return status, {"Location": f"{ELSEWHERE}{path}"}, {"status": status}

    return spoil


for _status in (301, 302, 307):
    unusable(
        f"redirect_{_status}",
        lambda scene, status=_status: Told([scene.pay()], spoil=redirected(status)),
    )


# JSON that contradicts the signed envelope


def lie(
    name: str,
    record: dict[str, Any] | None = None,
    make: Callable[[Scene], Signed] = Scene.pay,
    *,
    asset: str = "native",
    is_seen: bool = True,
    **operation: Any,
) -> None:
    """Note a case in which Horizon's JSON says something else than what was signed."""

    def tell(scene: Scene) -> Told:
        signed = make(scene)
        return Told([signed], lies=signed.edited(record, **operation))

    unusable(name, tell, asset=asset, is_seen=is_seen)


lie("successful_is_a_text", {"successful": "true"})
lie("successful_is_one", {"successful": 1})
lie("successful_is_missing", {"successful": None})
lie("source_account_of_another", {"source_account": STRANGER})
lie("fee_account_of_another", {"fee_account": STRANGER})
lie("operation_count_of_two", {"operation_count": 2})
lie("operation_count_is_a_text", {"operation_count": "1"})
lie("ledger_is_a_text", {"ledger": "7"})
lie("ledger_is_true", {"ledger": True})
lie("ledger_is_negative", {"ledger": -7})
lie("ledger_beyond_32_bits", {"ledger": 2**32})
lie("ledger_beyond_any_column", {"ledger": 10**30})
lie("closed_at_is_missing", {"created_at": None})
lie("closed_at_has_no_zone", {"created_at": "2026-11-20T12:00:00"})
lie("closed_at_is_yesterday_in_words", {"created_at": "yesterday"})
lie("closed_at_before_the_calendar", {"created_at": "0001-01-01T00:00:00+14:00"})
lie("memo_of_another_type", {"memo_type": "text"})
lie("memo_left_out", {"memo_type": "none", "memo": None})
lie("memo_is_a_number", {"memo": 482913077415})
lie("memo_of_another_number", {"memo": "482913077416"})
lie("envelope_is_missing", {"envelope_xdr": None})
lie("envelope_is_no_base64", {"envelope_xdr": "%%%"})
lie("envelope_is_cut", {"envelope_xdr": "AAAA"})
lie("envelope_is_endless", {"envelope_xdr": "A" * 500_000})
lie("fee_bump_of_another", {"fee_bump_transaction": {"hash": "cd" * 32}})
lie("inner_transaction_is_null", {"inner_transaction": None})
lie("hash_of_another", {"hash": "cd" * 32})
lie("nesting_beyond_reason", {"more": json.loads("[" * 200 + "]" * 200)})

lie("amount_is_more", amount="12.6000000")
lie("amount_is_less", amount="12.4999999")
lie("amount_is_a_number", amount=12.5)
lie("amount_is_an_integer", amount=125_000_000)
lie("amount_with_an_exponent", amount="1e3")
lie("amount_is_nan", amount="NaN")
lie("amount_is_infinity", amount="Infinity")
lie("amount_is_negative", amount="-12.5000000")
lie("amount_in_digits_of_another_script", amount="\uff11\uff12.5000000")
lie("amount_with_eight_places", amount="12.50000000")
lie("amount_with_one_place", amount="12.5")
lie("amount_with_separators", amount="12,5000000")
lie("amount_with_a_space", amount=" 12.5000000")
lie("amount_beyond_the_largest", amount="999999999999.0000000")
lie("amount_is_missing", amount=None)
lie("amount_in_a_list", amount=[DUE])
# A list that names another receiver hides the payment from its reader, like one that leaves it out.
lie("operation_to_another", is_seen=False, to=STRANGER)
lie("operation_from_another", **{"from": STRANGER})
lie("operation_of_another_source", source_account=STRANGER)
lie("operation_of_another_asset", asset_type="credit_alphanum4", asset_code="XLM", asset_issuer=STRANGER)
lie("operation_without_asset", asset_type=None)
lie("operation_of_another_issuer", asset="usdc", asset_issuer=STRANGER)
lie("operation_of_another_kind", type="path_payment_strict_send")
lie("operation_of_another_kind_number", type_i=2)
lie("operation_with_a_muxed_id_that_was_not_signed", to_muxed_id="5")
lie("operation_that_failed", transaction_successful=False)
lie("operation_that_succeeded_in_words", transaction_successful="true")
lie("operation_without_number", id="x")


def text_memo(scene: Scene) -> Signed:
    return scene.pay(memo=TextMemo(scene.digits))


lie("memo_bytes_of_another", {"memo_bytes": "NDgyOTEzMDc3NDE2"}, text_memo)
lie("memo_text_of_another", {"memo": "482913077416"}, text_memo)
lie("memo_bytes_are_no_base64", {"memo_bytes": "%%"}, text_memo)


def strict_send(scene: Scene) -> Signed:
    sent = PathPaymentStrictSend(scene.wallet, Asset.native(), "50", scene.usdc, "11", [])
    return scene.sign(sent).edited(amount=DUE)


def strict_receive(scene: Scene) -> Signed:
    return scene.sign(PathPaymentStrictReceive(scene.wallet, Asset.native(), "60", scene.usdc, "12.5", []))


lie("path_payment_below_its_least", None, strict_send, asset="usdc", amount="10.9999999")
lie("path_payment_of_another_sent_amount", None, strict_send, asset="usdc", source_amount="49.0000000")
lie(
    "path_payment_of_another_sent_asset",
    None,
    strict_send,
    asset="usdc",
    source_asset_type="credit_alphanum4",
    source_asset_code="X",
    source_asset_issuer=STRANGER,
)
lie("path_payment_above_its_most", None, strict_receive, asset="usdc", source_amount="60.0000001")
lie("path_payment_of_the_most_instead_of_the_amount", None, strict_receive, asset="usdc", amount="60.0000000")


def contract_transfer(scene: Scene) -> Signed:
    change = {**asset_fields(scene.usdc), "type": "transfer", "from": CONTRACT, "to": scene.wallet}
    return scene.sign(contract_call()).edited(asset_balance_changes=[{**change, "amount": DUE}])


def contract_lie(name: str, **edit: Any) -> None:
    def tell(scene: Scene) -> Told:
        signed = contract_transfer(scene)
        change = {**signed.operations[0]["asset_balance_changes"][0], **edit}
        return Told([signed], lies=signed.edited(asset_balance_changes=[change]))

    unusable(name, tell, asset="usdc")


contract_lie("contract_amount_is_a_number", amount=12.5)
contract_lie("contract_amount_with_an_exponent", amount="1e3")
contract_lie("contract_amount_is_nan", amount="NaN")
contract_lie("contract_amount_beyond_the_largest", amount="9" * 30 + ".0000000")
contract_lie("contract_asset_without_type", asset_type=None)
contract_lie("contract_asset_of_a_long_code_and_a_short_type", asset_code="USDCUSDC")


def merge_lie(name: str, **edit: Any) -> None:
    """Note a case in which the effects of an account_merge do not say what it paid."""

    def tell(scene: Scene) -> Told:
        return Told([scene.serve_merge(scene.sign(AccountMerge(scene.wallet)), DUE, **edit)])

    unusable(name, tell, heals=False)


merge_lie("merge_without_its_credit", type="account_debited")
merge_lie("merge_that_credits_another", account=STRANGER)
merge_lie("merge_in_an_issued_asset", asset_type="credit_alphanum4")
merge_lie("merge_of_a_number", amount=12.5)
merge_lie("merge_of_an_exponent", amount="1e3")


# Answers about something else


def other_network(scene: Scene) -> Told:
    return Told([scene.pay(passphrase="Public Global Stellar Network ; September 2015")])


def echoed_hash(scene: Scene) -> Told:
    """Horizon says the hash it was asked for, over the envelope of a transaction that does pay."""
    signed, asked = scene.pay(), "cd" * 32
    echo = signed.edited({"hash": asked, "id": asked}, transaction_hash=asked)
    echo.hash = echo.inner_hash = asked
    return Told([echo])


def failed_envelope_of_a_good_hash(scene: Scene) -> Told:
    """The envelope of another transaction of the same payer, under the hash of the one that pays."""
    signed, other = scene.pay(), scene.pay("0.0000001")
    return Told([signed], lies=signed.edited({"envelope_xdr": other.record["envelope_xdr"]}))


def signed_for_somebody_else(scene: Scene) -> Told:
    """Everything is true but the operations, which are those of another transaction."""
    elsewhere, ours = scene.pay(to=scene.stranger.public_key), scene.pay()
    lies = elsewhere.edited()
    lies.operations = [{**row, "transaction_hash": elsewhere.hash} for row in ours.operations]
    return Told([elsewhere], lies=lies)


def not_on_the_ledger_yet(scene: Scene) -> Told:
    return Told([], [(scene.bill, scene.pay().hash)])


unusable("other_network", other_network, heals=False)
unusable("echoed_hash", echoed_hash, heals=False)
unusable("failed_envelope_of_a_good_hash", failed_envelope_of_a_good_hash)
unusable("signed_for_somebody_else", signed_for_somebody_else, heals=False)
unusable("not_on_the_ledger_yet", not_on_the_ledger_yet, heals=False, is_seen=False)
