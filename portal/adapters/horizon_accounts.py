"""Turn Horizon's JSON of an account into what wallet readiness and wallet proofs need."""

from portal.adapters.horizon_fields import Record, asset_of, natural, require, stroops_of
from portal.kernel.addresses import is_account
from portal.kernel.assets import NATIVE
from portal.kernel.chain import AccountState, AssetHolding, Signer

_NOTHING = "0.0000000"


def read_account(found: object) -> AccountState:
    """Return an account's state; shares of liquidity pools are left out.

    :raises ChainContradiction: when a field is missing or malformed.
    """
    record = _object(found, "the account")
    address = record.get("account_id")
    require(isinstance(address, str) and is_account(address), "account_id")
    flags, thresholds = (
        _object(record.get("flags", {}), "flags"),
        _object(record.get("thresholds", {}), "thresholds"),
    )
    entries = _object(record.get("data", {}), "data")
    balances = [_object(balance, "balances") for balance in _list(record.get("balances"), "balances")]
    home_domain = record.get("home_domain")
    return AccountState(
        address=str(address),
        sequence=natural(record.get("sequence"), "sequence"),
        balances=tuple(
            _holding(balance) for balance in balances if balance.get("asset_type") != "liquidity_pool_shares"
        ),
        auth_required=flags.get("auth_required") is True,
        auth_revocable=flags.get("auth_revocable") is True,
        auth_clawback_enabled=flags.get("auth_clawback_enabled") is True,
        low_threshold=natural(thresholds.get("low_threshold", 0), "low_threshold"),
        medium_threshold=natural(thresholds.get("med_threshold", 0), "med_threshold"),
        high_threshold=natural(thresholds.get("high_threshold", 0), "high_threshold"),
        signers=tuple(_signer(signer) for signer in _list(record.get("signers"), "signers")),
        home_domain=home_domain if isinstance(home_domain, str) and home_domain else None,
        # SEP-29: the entry's value is the text 1, which Horizon shows in base64.
        memo_required=entries.get("config.memo_required") == "MQ==",
    )


def _object(value: object, field: str) -> Record:
    require(isinstance(value, dict), field)
    assert isinstance(value, dict)
    return value


def _list(value: object, field: str) -> list[object]:
    require(isinstance(value, list), field)
    assert isinstance(value, list)
    return value


def _holding(balance: Record) -> AssetHolding:
    asset = asset_of(balance)
    buying, selling = (
        balance.get("buying_liabilities", _NOTHING),
        balance.get("selling_liabilities", _NOTHING),
    )
    return AssetHolding(
        asset=asset,
        balance_stroops=stroops_of(balance.get("balance"), "balance"),
        limit_stroops=None if asset == NATIVE else stroops_of(balance.get("limit"), "limit"),
        buying_liabilities_stroops=stroops_of(buying, "buying_liabilities"),
        selling_liabilities_stroops=stroops_of(selling, "selling_liabilities"),
        authorized=asset == NATIVE or balance.get("is_authorized", True) is True,
        clawback_enabled=balance.get("is_clawback_enabled", False) is True,
    )


def _signer(found: object) -> Signer:
    signer = _object(found, "signers")
    # Before version 0.15 Horizon called it public_key.
    key = signer.get("key", signer.get("public_key"))
    require(isinstance(key, str), "signers")
    return Signer(str(key), natural(signer.get("weight"), "weight"))
