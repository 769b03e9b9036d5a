"""Applying operations, part one: accounts and money; `apply` dispatches, `check_form` looks at the shape alone."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from stellar_sdk import Keypair
from stellar_sdk import xdr as sx

from portal.kernel.money import format_units, from_stroops
from portal.sandbox.entries import (
    AUTH_IMMUTABLE,
    BASE_RESERVE,
    LIMIT_MAX,
    Account,
    State,
)
from portal.sandbox.envelopes import NATIVE, Party, account_address, asset_key, party
from portal.sandbox.market import Market
from portal.sandbox.results import Code, Effect, Outcome, Refused, Type


@dataclass(slots=True)
class Context:
    """Where an operation happens: the state to change, who does it, and the numbers its results derive from."""

    state: State
    market: Market
    ledger: int
    source: Party
    body: sx.OperationBody
    # Of the transaction, for the ids of claimable balances.
    transaction_source: str
    sequence: int
    index: int

    def own_account(self) -> Account:
        account = self.state.write(self.source.account)
        assert account is not None
        account.modified_ledger = self.ledger
        return account

    def change(self, address: str) -> Account | None:
        account = self.state.write(address)
        if account is not None:
            account.modified_ledger = self.ledger
        return account


Handler = Callable[[Context], Outcome]


class Refusals:
    """Raises the refusals of one operation by their common names."""

    def __init__(self, enum: type[IntEnum], prefix: str) -> None:
        self._enum = enum
        self._prefix = prefix

    def __call__(self, name: str) -> Refused:
        return Refused(self._enum[self._prefix + name])


_payment = Refusals(sx.PaymentResultCode, "PAYMENT_")
_receive = Refusals(sx.PathPaymentStrictReceiveResultCode, "PATH_PAYMENT_STRICT_RECEIVE_")
_send = Refusals(sx.PathPaymentStrictSendResultCode, "PATH_PAYMENT_STRICT_SEND_")
_create = Refusals(sx.CreateAccountResultCode, "CREATE_ACCOUNT_")
_merge = Refusals(sx.AccountMergeResultCode, "ACCOUNT_MERGE_")


def units(stroops: int) -> str:
    """Return stroops as Horizon writes amounts, with 7 places."""
    return format_units(from_stroops(stroops))


def asset_fields(asset: str, prefix: str = "") -> dict[str, str]:
    """Return an asset as Horizon spreads it over `asset_type`, `asset_code` and `asset_issuer`."""
    if asset == NATIVE:
        return {f"{prefix}asset_type": NATIVE}
    code, _, issuer = asset.partition(":")
    kind = "credit_alphanum4" if len(code) <= 4 else "credit_alphanum12"
    return {f"{prefix}asset_type": kind, f"{prefix}asset_code": code, f"{prefix}asset_issuer": issuer}


def muxed_fields(name: str, who: Party) -> dict[str, str]:
    """Return the `<name>_muxed` pair that Horizon adds where an M address was used."""
    if who.muxed is None:
        return {}
    return {f"{name}_muxed": who.muxed, f"{name}_muxed_id": str(who.muxed_id)}


def moved(kind: str, who: Party, asset: str, stroops: int) -> Effect:
    number = {"account_credited": 2, "account_debited": 3}[kind]
    extra = muxed_fields("account", who) | asset_fields(asset) | {"amount": units(stroops)}
    return Effect(who.account, kind, number, extra)


def take(context: Context, who: str, asset: str, stroops: int, refuse: Refusals) -> None:
    """Debit an account, as the sender of a payment."""
    account = context.change(who)
    assert account is not None
    if asset == NATIVE:
        if account.spendable < stroops:
            raise refuse("UNDERFUNDED")
        account.balance -= stroops
        return
    if asset.endswith(who):
        return
    line = account.trustlines.get(asset)
    if line is None:
        raise refuse("SRC_NO_TRUST")
    if not line.authorized:
        raise refuse("SRC_NOT_AUTHORIZED")
    if line.balance < stroops:
        raise refuse("UNDERFUNDED")
    line.balance -= stroops
    line.modified_ledger = context.ledger


def give(context: Context, who: str, asset: str, stroops: int, refuse: Refusals) -> None:
    """Credit an account, as the receiver of a payment."""
    if asset.endswith(who):
        # Returning an asset to its issuer burns it, whether or not the issuer's account still exists.
        return
    account = context.change(who)
    if account is None:
        raise refuse("NO_DESTINATION")
    if asset == NATIVE:
        if account.balance + stroops > LIMIT_MAX:
            raise refuse("LINE_FULL")
        account.balance += stroops
        return
    line = account.trustlines.get(asset)
    if line is None:
        raise refuse("NO_TRUST")
    if not line.authorized:
        raise refuse("NOT_AUTHORIZED")
    if line.balance + stroops > line.limit:
        raise refuse("LINE_FULL")
    line.balance += stroops
    line.modified_ledger = context.ledger


def apply_create_account(context: Context) -> Outcome:
    operation = context.body.create_account_op
    assert operation is not None
    address = account_address(operation.destination)
    stroops = operation.starting_balance.int64
    if context.state.read(address) is not None:
        raise _create("ALREADY_EXIST")
    if stroops < 2 * BASE_RESERVE:
        raise _create("LOW_RESERVE")
    funder = context.own_account()
    if funder.spendable < stroops:
        raise _create("UNDERFUNDED")
    funder.balance -= stroops
    context.state.add(Account(address, stroops, context.ledger << 32, context.ledger))
    return Outcome(
        [
            Effect(address, "account_created", 0, {"starting_balance": units(stroops)}),
            moved("account_debited", context.source, NATIVE, stroops),
            Effect(address, "signer_created", 10, {"weight": 1, "public_key": address, "key": ""}),
        ]
    )


def apply_payment(context: Context) -> Outcome:
    operation = context.body.payment_op
    assert operation is not None
    destination = party(operation.destination)
    asset = asset_key(operation.asset)
    assert asset is not None
    stroops = operation.amount.int64
    if not (asset == NATIVE and destination.account == context.source.account):
        give(context, destination.account, asset, stroops, _payment)
        take(context, context.source.account, asset, stroops, _payment)
    return Outcome(
        [
            moved("account_credited", destination, asset, stroops),
            moved("account_debited", context.source, asset, stroops),
        ]
    )


@dataclass(slots=True)
class _Conversion:
    source_asset: str
    source_stroops: int
    destination: Party
    asset_xdr: sx.Asset
    asset: str
    stroops: int


def _convert(context: Context, trade: _Conversion, refuse: Refusals) -> Outcome:
    """Pay across assets: the market takes what the sender gives and hands out what the receiver gets."""
    give(context, trade.destination.account, trade.asset, trade.stroops, refuse)
    take(context, context.source.account, trade.source_asset, trade.source_stroops, refuse)
    if trade.source_asset != trade.asset:
        maker = context.change(context.market.issuer)
        if maker is None or (trade.asset == NATIVE and maker.spendable < trade.stroops):
            raise refuse("TOO_FEW_OFFERS")
        if trade.source_asset == NATIVE:
            maker.balance += trade.source_stroops
        if trade.asset == NATIVE:
            maker.balance -= trade.stroops
    return Outcome(
        effects=[
            moved("account_credited", trade.destination, trade.asset, trade.stroops),
            moved("account_debited", context.source, trade.source_asset, trade.source_stroops),
        ]
    )


def _last(trade: _Conversion) -> sx.SimplePaymentResult:
    account = Keypair.from_public_key(trade.destination.account).xdr_account_id()
    return sx.SimplePaymentResult(account, trade.asset_xdr, sx.Int64(trade.stroops))


def apply_strict_receive(context: Context) -> Outcome:
    operation = context.body.path_payment_strict_receive_op
    assert operation is not None
    source_asset, asset = asset_key(operation.send_asset), asset_key(operation.dest_asset)
    assert source_asset is not None and asset is not None
    stroops = operation.dest_amount.int64
    cost = context.market.cost(source_asset, asset, stroops)
    if cost is None:
        raise _receive("TOO_FEW_OFFERS")
    to = party(operation.destination)
    trade = _Conversion(source_asset, cost, to, operation.dest_asset, asset, stroops)
    if cost > operation.send_max.int64:
        raise _receive("OVER_SENDMAX")
    outcome = _convert(context, trade, _receive)
    outcome.details = {"source_amount": units(cost)}
    outcome.payload = {"success": sx.PathPaymentStrictReceiveResultSuccess(offers=[], last=_last(trade))}
    return outcome


def apply_strict_send(context: Context) -> Outcome:
    operation = context.body.path_payment_strict_send_op
    assert operation is not None
    source_asset, asset = asset_key(operation.send_asset), asset_key(operation.dest_asset)
    assert source_asset is not None and asset is not None
    stroops = context.market.received(source_asset, asset, operation.send_amount.int64)
    if not stroops:
        raise _send("TOO_FEW_OFFERS")
    if stroops < operation.dest_min.int64:
        raise _send("UNDER_DESTMIN")
    to = party(operation.destination)
    sent = operation.send_amount.int64
    trade = _Conversion(source_asset, sent, to, operation.dest_asset, asset, stroops)
    outcome = _convert(context, trade, _send)
    outcome.details = {"amount": units(stroops)}
    outcome.payload = {"success": sx.PathPaymentStrictSendResultSuccess(offers=[], last=_last(trade))}
    return outcome


def apply_merge(context: Context) -> Outcome:
    assert context.body.destination is not None
    destination = party(context.body.destination)
    source = context.own_account()
    if context.state.read(destination.account) is None:
        raise _merge("NO_ACCOUNT")
    if source.flags & AUTH_IMMUTABLE:
        raise _merge("IMMUTABLE_SET")
    if source.trustlines or source.data:
        raise _merge("HAS_SUB_ENTRIES")
    # Else the address could be created again at a sequence it has used before.
    if source.sequence >= context.ledger << 32:
        raise _merge("SEQNUM_TOO_FAR")
    stroops = source.balance
    into = context.change(destination.account)
    assert into is not None
    if into.balance + stroops > LIMIT_MAX:
        raise _merge("DEST_FULL")
    into.balance += stroops
    context.state.remove(source.address)
    return Outcome(
        effects=[
            moved("account_debited", context.source, NATIVE, stroops),
            moved("account_credited", destination, NATIVE, stroops),
            Effect(source.address, "account_removed", 1, muxed_fields("account", context.source)),
        ],
        payload={"source_account_balance": sx.Int64(stroops)},
    )


def check_form(operation: sx.Operation, source: Party) -> None:
    """Refuse an operation whose values can never be right, whatever the ledger holds.

    :raises Refused: with the MALFORMED (or more telling) code of the operation.
    """
    checks = {
        Type.CREATE_ACCOUNT: _form_of_create,
        Type.PAYMENT: _form_of_payment,
        Type.PATH_PAYMENT_STRICT_RECEIVE: _form_of_receive,
        Type.PATH_PAYMENT_STRICT_SEND: _form_of_send,
        Type.ACCOUNT_MERGE: _form_of_merge,
    }
    check = checks.get(operation.body.type)
    if check is not None:
        check(operation.body, source)


def _form_of_create(body: Any, source: Party) -> None:
    operation = body.create_account_op
    if operation.starting_balance.int64 < 0 or account_address(operation.destination) == source.account:
        raise _create("MALFORMED")


def _form_of_payment(body: Any, _source: Party) -> None:
    if body.payment_op.amount.int64 <= 0 or asset_key(body.payment_op.asset) is None:
        raise _payment("MALFORMED")


def _form_of_receive(body: Any, _source: Party) -> None:
    operation = body.path_payment_strict_receive_op
    assets = [operation.send_asset, operation.dest_asset, *operation.path]
    if operation.dest_amount.int64 <= 0 or operation.send_max.int64 <= 0 or None in map(asset_key, assets):
        raise _receive("MALFORMED")


def _form_of_send(body: Any, _source: Party) -> None:
    operation = body.path_payment_strict_send_op
    assets = [operation.send_asset, operation.dest_asset, *operation.path]
    if operation.send_amount.int64 <= 0 or operation.dest_min.int64 <= 0 or None in map(asset_key, assets):
        raise _send("MALFORMED")


def _form_of_merge(body: Any, source: Party) -> None:
    if party(body.destination).account == source.account:
        raise _merge("MALFORMED")


def no_account() -> Refused:
    return Refused(Code.opNO_ACCOUNT)
