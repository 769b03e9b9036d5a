"""Applying operations, part two: trust, account settings, data, sequence, clawback, claimable balances."""

import base64
import hashlib

from stellar_sdk import Keypair
from stellar_sdk import xdr as sx

from portal.sandbox.entries import (
    AUTH_CLAWBACK,
    AUTH_IMMUTABLE,
    AUTH_REQUIRED,
    AUTH_REVOCABLE,
    BASE_RESERVE,
    LINE_AUTHORIZED,
    LINE_CLAWBACK,
    LINE_MAINTAIN,
    SUBENTRIES_MAX,
    Account,
    Trustline,
)
from portal.sandbox.envelopes import account_address, asset_key, code_text, party
from portal.sandbox.operations import (
    Context,
    Refusals,
    asset_fields,
    moved,
    take,
    units,
)
from portal.sandbox.results import Code, Effect, Outcome, Refused

SIGNERS_MAX = 20
_ACCOUNT_FLAGS = AUTH_REQUIRED | AUTH_REVOCABLE | AUTH_IMMUTABLE | AUTH_CLAWBACK

_trust = Refusals(sx.ChangeTrustResultCode, "CHANGE_TRUST_")
_allow = Refusals(sx.AllowTrustResultCode, "ALLOW_TRUST_")
_flags = Refusals(sx.SetTrustLineFlagsResultCode, "SET_TRUST_LINE_FLAGS_")
_options = Refusals(sx.SetOptionsResultCode, "SET_OPTIONS_")
_data = Refusals(sx.ManageDataResultCode, "MANAGE_DATA_")
_bump = Refusals(sx.BumpSequenceResultCode, "BUMP_SEQUENCE_")
_clawback = Refusals(sx.ClawbackResultCode, "CLAWBACK_")


class _ClaimableRefusals(Refusals):
    """Creating a claimable balance has fewer words for the sender's trouble than a payment."""

    def __call__(self, name: str) -> Refused:
        words = {"SRC_NO_TRUST": "NO_TRUST", "SRC_NOT_AUTHORIZED": "NOT_AUTHORIZED"}
        return super().__call__(words.get(name, name))


_claimable = _ClaimableRefusals(sx.CreateClaimableBalanceResultCode, "CREATE_CLAIMABLE_BALANCE_")


def _make_room(account: Account, refuse: Refusals) -> None:
    """Refuse a new subentry that the account cannot hold or afford."""
    if account.subentries >= SUBENTRIES_MAX:
        raise Refused(Code.opTOO_MANY_SUBENTRIES)
    if account.spendable < BASE_RESERVE:
        raise refuse("LOW_RESERVE")


def apply_change_trust(context: Context) -> Outcome:
    operation = context.body.change_trust_op
    assert operation is not None
    asset = asset_key(operation.line)
    limit = operation.limit.int64
    if asset is None or asset == "native" or limit < 0 or asset.endswith(context.source.account):
        raise _trust("MALFORMED")
    account = context.own_account()
    line = account.trustlines.get(asset)
    fields = asset_fields(asset) | {"limit": units(limit)}
    if limit < (line.balance if line is not None else 1):
        raise _trust("INVALID_LIMIT")
    if line is not None and limit == 0:
        del account.trustlines[asset]
        return Outcome([Effect(account.address, "trustline_removed", 21, fields)])
    issuer = context.state.read(asset.partition(":")[2])
    if issuer is None:
        raise _trust("NO_ISSUER")
    if line is not None:
        line.limit = limit
        line.modified_ledger = context.ledger
        return Outcome([Effect(account.address, "trustline_updated", 22, fields)])
    _make_room(account, _trust)
    flags = 0 if issuer.flags & AUTH_REQUIRED else LINE_AUTHORIZED
    flags |= LINE_CLAWBACK if issuer.flags & AUTH_CLAWBACK else 0
    account.trustlines[asset] = Trustline(0, limit, flags, context.ledger)
    return Outcome([Effect(account.address, "trustline_created", 20, fields)])


def apply_allow_trust(context: Context) -> Outcome:
    operation = context.body.allow_trust_op
    assert operation is not None
    raw = operation.asset.asset_code4 or operation.asset.asset_code12
    assert raw is not None
    code = code_text(raw.asset_code4 if isinstance(raw, sx.AssetCode4) else raw.asset_code12)
    wanted = operation.authorize.uint32
    if code is None or wanted not in (0, LINE_AUTHORIZED, LINE_MAINTAIN):
        raise _allow("MALFORMED")
    clear = (LINE_AUTHORIZED | LINE_MAINTAIN) & ~wanted
    trustor = account_address(operation.trustor)
    asset = f"{code}:{context.source.account}"
    return _change_line(context, trustor, asset, set_flags=wanted, clear_flags=clear, refuse=_allow)


def apply_trustline_flags(context: Context) -> Outcome:
    operation = context.body.set_trust_line_flags_op
    assert operation is not None
    asset = asset_key(operation.asset)
    wanted, clear = operation.set_flags.uint32, operation.clear_flags.uint32
    known = LINE_AUTHORIZED | LINE_MAINTAIN | LINE_CLAWBACK
    malformed = asset is None or not asset.endswith(context.source.account) or wanted & clear
    if malformed or (wanted | clear) & ~known or wanted & LINE_CLAWBACK:
        raise _flags("MALFORMED")
    assert asset is not None
    trustor = account_address(operation.trustor)
    return _change_line(context, trustor, asset, set_flags=wanted, clear_flags=clear, refuse=_flags)


def _change_line(
    context: Context, trustor: str, asset: str, *, set_flags: int, clear_flags: int, refuse: Refusals
) -> Outcome:
    if trustor == context.source.account:
        raise refuse("MALFORMED")
    revocable = context.own_account().flags & AUTH_REVOCABLE
    holder = context.change(trustor)
    line = None if holder is None else holder.trustlines.get(asset)
    if line is None:
        raise refuse("NO_TRUST_LINE")
    flags = (line.flags & ~clear_flags) | set_flags
    both = LINE_AUTHORIZED | LINE_MAINTAIN
    if flags & both == both:
        flags &= ~LINE_MAINTAIN
    if line.authorized and not flags & LINE_AUTHORIZED and not revocable:
        raise refuse("CANT_REVOKE")
    line.flags = flags
    line.modified_ledger = context.ledger
    extra = asset_fields(asset) | {"trustor": trustor}
    names = {LINE_AUTHORIZED: "authorized", LINE_MAINTAIN: "authorized_to_maintain_liabilites"}
    shown = {f"{name}_flag": True for bit, name in names.items() if flags & bit}
    return Outcome([Effect(context.source.account, "trustline_flags_updated", 26, extra | shown)])


def apply_set_options(context: Context) -> Outcome:
    operation = context.body.set_options_op
    assert operation is not None
    account = context.own_account()
    effects: list[Effect] = []
    if operation.inflation_dest is not None:
        account.inflation_destination = account_address(operation.inflation_dest)
    _set_flags(account, operation, effects)
    _set_thresholds(account, operation, effects)
    if operation.home_domain is not None:
        raw = operation.home_domain.string32
        if len(raw) > 32:
            raise _options("INVALID_HOME_DOMAIN")
        account.home_domain = raw.decode("utf-8", "replace")
        effects.append(
            Effect(account.address, "account_home_domain_updated", 5, {"home_domain": account.home_domain})
        )
    if operation.signer is not None:
        effects.append(_set_signer(account, operation.signer))
    return Outcome(effects)


def _set_flags(account: Account, operation: sx.SetOptionsOp, effects: list[Effect]) -> None:
    wanted = 0 if operation.set_flags is None else operation.set_flags.uint32
    clear = 0 if operation.clear_flags is None else operation.clear_flags.uint32
    if not wanted and not clear:
        return
    if (wanted | clear) & ~_ACCOUNT_FLAGS:
        raise _options("UNKNOWN_FLAG")
    if wanted & clear:
        raise _options("BAD_FLAGS")
    if account.flags & AUTH_IMMUTABLE:
        raise _options("CANT_CHANGE")
    flags = (account.flags & ~clear) | wanted
    if flags & AUTH_CLAWBACK and not flags & AUTH_REVOCABLE:
        raise _options("AUTH_REVOCABLE_REQUIRED")
    account.flags = flags
    names = {AUTH_REQUIRED: "auth_required_flag", AUTH_REVOCABLE: "auth_revocable_flag"}
    names |= {AUTH_IMMUTABLE: "auth_immutable_flag", AUTH_CLAWBACK: "auth_clawback_enabled_flag"}
    changed = {name: bool(wanted & bit) for bit, name in names.items() if (wanted | clear) & bit}
    effects.append(Effect(account.address, "account_flags_updated", 6, changed))


def _set_thresholds(account: Account, operation: sx.SetOptionsOp, effects: list[Effect]) -> None:
    values = (
        operation.master_weight,
        operation.low_threshold,
        operation.med_threshold,
        operation.high_threshold,
    )
    if all(value is None for value in values):
        return
    if any(value is not None and value.uint32 > 255 for value in values):
        raise _options("THRESHOLD_OUT_OF_RANGE")
    master, low, medium, high = (None if value is None else value.uint32 for value in values)
    account.master_weight = account.master_weight if master is None else master
    account.low = account.low if low is None else low
    account.medium = account.medium if medium is None else medium
    account.high = account.high if high is None else high
    thresholds = {
        "low_threshold": account.low,
        "med_threshold": account.medium,
        "high_threshold": account.high,
    }
    if (low, medium, high) != (None, None, None):
        effects.append(Effect(account.address, "account_thresholds_updated", 4, dict(thresholds)))
    if master is not None:
        key = {"weight": master, "public_key": account.address, "key": ""}
        kind = ("signer_updated", 12) if master else ("signer_removed", 11)
        effects.append(Effect(account.address, *kind, key))


def _set_signer(account: Account, signer: sx.Signer) -> Effect:
    """Add, change or remove a signer; only ed25519 keys are known here."""
    if signer.key.ed25519 is None:
        raise _options("BAD_SIGNER")
    address = party(sx.MuxedAccount(sx.CryptoKeyType.KEY_TYPE_ED25519, ed25519=signer.key.ed25519)).account
    weight = signer.weight.uint32
    if address == account.address or weight > 255:
        raise _options("BAD_SIGNER")
    extra = {"weight": weight, "public_key": address, "key": ""}
    if address in account.signers:
        if weight:
            account.signers[address] = weight
            return Effect(account.address, "signer_updated", 12, extra)
        del account.signers[address]
        return Effect(account.address, "signer_removed", 11, extra)
    if not weight:
        raise _options("BAD_SIGNER")
    if len(account.signers) >= SIGNERS_MAX:
        raise _options("TOO_MANY_SIGNERS")
    _make_room(account, _options)
    account.signers[address] = weight
    return Effect(account.address, "signer_created", 10, extra)


def apply_manage_data(context: Context) -> Outcome:
    operation = context.body.manage_data_op
    assert operation is not None
    name = operation.data_name.string64.decode("utf-8", "replace")
    if not name:
        raise _data("INVALID_NAME")
    account = context.own_account()
    if operation.data_value is None:
        if name not in account.data:
            raise _data("NAME_NOT_FOUND")
        del account.data[name]
        return Outcome([Effect(account.address, "data_removed", 41, {"name": name})])
    value = base64.b64encode(operation.data_value.data_value).decode()
    kind = ("data_updated", 42)
    if name not in account.data:
        _make_room(account, _data)
        kind = ("data_created", 40)
    account.data[name] = value
    return Outcome([Effect(account.address, *kind, {"name": name, "value": value})])


def apply_bump_sequence(context: Context) -> Outcome:
    operation = context.body.bump_sequence_op
    assert operation is not None
    wanted = operation.bump_to.sequence_number.int64
    if wanted < 0:
        raise _bump("BAD_SEQ")
    account = context.own_account()
    if wanted <= account.sequence:
        return Outcome()
    account.sequence = wanted
    return Outcome([Effect(account.address, "sequence_bumped", 43, {"new_seq": str(wanted)})])


def apply_clawback(context: Context) -> Outcome:
    operation = context.body.clawback_op
    assert operation is not None
    asset = asset_key(operation.asset)
    stroops = operation.amount.int64
    holder = party(operation.from_)
    if asset is None or not asset.endswith(context.source.account) or stroops <= 0:
        raise _clawback("MALFORMED")
    account = context.change(holder.account)
    line = None if account is None else account.trustlines.get(asset)
    if line is None:
        raise _clawback("NO_TRUST")
    if not line.flags & LINE_CLAWBACK:
        raise _clawback("NOT_CLAWBACK_ENABLED")
    if line.balance < stroops:
        raise _clawback("UNDERFUNDED")
    line.balance -= stroops
    line.modified_ledger = context.ledger
    return Outcome(
        [
            moved("account_credited", context.source, asset, stroops),
            moved("account_debited", holder, asset, stroops),
        ]
    )


def apply_create_claimable(context: Context) -> Outcome:
    """Set an amount aside; it is recorded, but this ledger knows no operation that claims it."""
    operation = context.body.create_claimable_balance_op
    assert operation is not None
    asset = asset_key(operation.asset)
    stroops = operation.amount.int64
    claimants = [claimant.v0 for claimant in operation.claimants if claimant.v0 is not None]
    if asset is None or stroops <= 0 or not claimants:
        raise _claimable("MALFORMED")
    take(context, context.source.account, asset, stroops, _claimable)
    digest = _balance_digest(context)
    balance_id = "00000000" + digest.hex()
    shown = {"balance_id": balance_id, "asset": asset, "amount": units(stroops)}
    effects = [Effect(context.source.account, "claimable_balance_created", 50, dict(shown))]
    effects += [
        Effect(account_address(claimant.destination), "claimable_balance_claimant_created", 51, dict(shown))
        for claimant in claimants
    ]
    kind = sx.ClaimableBalanceIDType.CLAIMABLE_BALANCE_ID_TYPE_V0
    return Outcome(
        effects=[*effects, moved("account_debited", context.source, asset, stroops)],
        payload={"balance_id": sx.ClaimableBalanceID(kind, v0=sx.Hash(digest))},
    )


def _balance_digest(context: Context) -> bytes:
    """Return the id that CAP-23 gives the balance: the hash of source, sequence and operation number."""
    account = Keypair.from_public_key(context.transaction_source).xdr_account_id()
    operation = sx.HashIDPreimageOperationID(
        account, sx.SequenceNumber(sx.Int64(context.sequence)), sx.Uint32(context.index)
    )
    preimage = sx.HashIDPreimage(sx.EnvelopeType.ENVELOPE_TYPE_OP_ID, operation_id=operation)
    return hashlib.sha256(preimage.to_xdr_bytes()).digest()
