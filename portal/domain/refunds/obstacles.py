"""What stands in the way of a refund on the network's side: pure functions over account states."""

from portal.domain.refunds.rules import Memo, is_shared
from portal.kernel.assets import NATIVE, asset_code, asset_issuer
from portal.kernel.chain import AccountState
from portal.kernel.errors import Conflict, Invalid
from portal.kernel.money import display, from_stroops


class CannotReach(Conflict):
    """The sender's account could not receive the refund; `code` says why."""

    code = "sender_cannot_receive"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class CannotSend(Conflict):
    """The merchant's wallet could not send it; `code` says why."""

    code = "wallet_cannot_send"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class MemoRequired(Invalid):
    code = "memo_required"


class ConfirmationMissing(Invalid):
    """Money that reaches a shared account without a memo may be nobody's; a person must say so."""

    code = "confirmation_missing"


MEMO_REQUIRED = (
    "The sender's account takes no payment without a memo (SEP-29): many people share it and the memo says whose the"
    " money is. Ask your client which memo to use."
)
SHARED = (
    "The sender looks like an account that many people share, such as an exchange's. Without the right memo the money"
    " may not find its owner."
)


def check_receiver(state: AccountState | None, *, asset: str, stroops: int) -> None:
    """:raises CannotReach: when the account that paid cannot receive this refund now."""
    code = asset_code(asset)
    if state is None:
        raise CannotReach(
            "sender_missing",
            "The account that paid does not exist any more: it was merged into another one. A payment cannot reach"
            " it, and we do not create it anew, because nobody may hold its key. Ask your client for an"
            " account and send the money from your wallet.",
        )
    if asset == NATIVE or state.address == asset_issuer(asset):
        return
    holding = state.holding(asset)
    if holding is None:
        raise CannotReach(
            "sender_no_trustline",
            f"The account that paid holds no trustline for {code} any more. Ask your client to add it, then try again.",
        )
    if not holding.authorized:
        raise CannotReach(
            "sender_not_authorised",
            f"The issuer of {code} does not let the account that paid receive it at present.",
        )
    assert holding.limit_stroops is not None, asset
    room = holding.limit_stroops - holding.balance_stroops - holding.buying_liabilities_stroops
    if room < stroops:
        raise CannotReach(
            "sender_full",
            f"The trustline of the account that paid has room for {display(from_stroops(max(room, 0)))} {code} only."
            " Ask your client to raise its limit.",
        )


def check_wallet(state: AccountState | None, *, asset: str, stroops: int) -> None:
    """:raises CannotSend: when the wallet that was paid lacks the money."""
    code = asset_code(asset)
    if state is None:
        raise CannotSend("wallet_missing", "Your wallet does not exist on the network any more.")
    if state.address == asset_issuer(asset):
        return
    holding = state.holding(asset)
    if holding is not None and not holding.authorized:
        raise CannotSend("wallet_not_authorised", f"The issuer of {code} does not let your wallet send it.")
    free = 0 if holding is None else holding.balance_stroops - holding.selling_liabilities_stroops
    if free < stroops:
        raise CannotSend(
            "wallet_short",
            f"Your wallet holds {display(from_stroops(max(free, 0)))} {code}, less than this refund."
            " Send money to it, then try again.",
        )


def warning_for(state: AccountState | None, *, memo: Memo, pays_for_several: bool) -> str | None:
    """Return why a person should look twice before sending without a memo, None when nothing speaks for it."""
    if memo.kind != "none":
        return None
    return SHARED if pays_for_several or is_shared(state) else None


def check_memo(state: AccountState | None, *, memo: Memo, pays_for_several: bool, is_confirmed: bool) -> None:
    """:raises MemoRequired: when the receiver takes nothing without one, confirmed or not.

    :raises ConfirmationMissing: when the receiver is a shared account as far as anybody can tell.
    """
    if memo.kind == "none" and state is not None and state.memo_required:
        raise MemoRequired(MEMO_REQUIRED, pointer="/memo")
    warning = warning_for(state, memo=memo, pays_for_several=pays_for_several)
    if warning is not None and not is_confirmed:
        raise ConfirmationMissing(warning, pointer="/confirmed")
