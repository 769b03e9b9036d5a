"""What trades on the sandbox: `/assets`, and the paths that its fixed rates offer."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from portal.kernel.addresses import is_account
from portal.kernel.assets import parse_asset
from portal.kernel.errors import Invalid
from portal.kernel.money import parse_amount, to_stroops
from portal.sandbox.entries import Account
from portal.sandbox.listing import read_page_query
from portal.sandbox.operations import asset_fields, units
from portal.sandbox.presentation import flag_fields
from portal.sandbox.problems import Problem, bad_field
from portal.sandbox.web_context import check_accept, hal, presenter, sandbox

bp = Blueprint("assets", __name__)
_GROUPS = ("authorized", "authorized_to_maintain_liabilities", "unauthorized")


def _group(flags: int) -> str:
    return _GROUPS[0] if flags & 1 else _GROUPS[1] if flags & 2 else _GROUPS[2]


def _asset_record(asset: str, holders: list[Account], issuer: Account | None) -> dict[str, Any]:
    code, _, issuer_address = asset.partition(":")
    counts = dict.fromkeys(_GROUPS, 0)
    sums = dict.fromkeys(_GROUPS, 0)
    for holder in holders:
        line = holder.trustlines[asset]
        counts[_group(line.flags)] += 1
        sums[_group(line.flags)] += line.balance
    fields = asset_fields(asset)
    return {
        "_links": {"toml": {"href": ""}},
        **fields,
        "paging_token": f"{code}_{issuer_address}_{fields['asset_type']}",
        "num_claimable_balances": 0,
        "num_liquidity_pools": 0,
        "num_contracts": 0,
        "accounts": counts,
        "claimable_balances_amount": units(0),
        "liquidity_pools_amount": units(0),
        "contracts_amount": units(0),
        "balances": {name: units(amount) for name, amount in sums.items()},
        "flags": flag_fields(0 if issuer is None else issuer.flags),
    }


@bp.get("/assets")
def assets() -> Response:
    """List the assets that somebody trusts; the cursor is an asset's own paging token."""
    check_accept()
    arguments = request.args.to_dict()
    cursor = arguments.pop("cursor", "")
    query = read_page_query(arguments, latest=sandbox().ledger.latest.sequence)
    by_address = {account.address: account for account in sandbox().ledger.all_accounts()}
    holders: dict[str, list[Account]] = {}
    for account in by_address.values():
        for asset in account.trustlines:
            holders.setdefault(asset, []).append(account)
    code, issuer = request.args.get("asset_code"), request.args.get("asset_issuer")
    records = [
        _asset_record(asset, held_by, by_address.get(asset.partition(":")[2]))
        for asset, held_by in holders.items()
        if code in (None, asset.partition(":")[0]) and issuer in (None, asset.partition(":")[2])
    ]
    records.sort(key=lambda record: record["paging_token"], reverse=query.order == "desc")
    if cursor:
        ascending = query.order == "asc"
        records = [record for record in records if (record["paging_token"] > cursor) == ascending]
        records = [record for record in records if record["paging_token"] != cursor]
    parameters = {"cursor": cursor, "limit": str(query.limit), "order": query.order}
    return hal(presenter().page("/assets", parameters, records[: query.limit], order=query.order))


def _one_asset(prefix: str) -> str:
    kind = request.args.get(f"{prefix}_asset_type")
    if kind is None:
        raise bad_field(f"{prefix}_asset_type", "Missing required field")
    if kind == "native":
        return kind
    code, issuer = request.args.get(f"{prefix}_asset_code"), request.args.get(f"{prefix}_asset_issuer")
    return _parsed(f"{code}:{issuer}", f"{prefix}_asset_code")


def _parsed(text: str, field: str) -> str:
    try:
        return parse_asset(text)
    except Invalid as error:
        raise bad_field(field, f"{text} is not a valid asset") from error


def _amount(field: str) -> int:
    try:
        return to_stroops(parse_amount(request.args.get(field)))
    except Invalid as error:
        raise bad_field(field, "Value must be positive") from error


def _other_assets(list_field: str, account_field: str) -> list[tuple[str, int | None]]:
    """Return the assets on the open side, each with what the named account has of it (None: not asked).

    :raises Problem: when neither or both ways of naming them are used.
    """
    listed, address = request.args.get(list_field), request.args.get(account_field)
    if bool(listed) == bool(address):
        raise bad_field(list_field, f"The request requires either a list of assets or {account_field}")
    if listed:
        return [(_parsed(text, list_field), None) for text in listed.split(",")]
    if not is_account(address or ""):
        raise bad_field(account_field, "Account ID must start with `G` and contain 56 alphanum characters")
    account = sandbox().ledger.store.account(address or "")
    if account is None:
        raise Problem("not_found")
    held: list[tuple[str, int | None]] = [(asset, line.balance) for asset, line in account.trustlines.items()]
    return [*held, ("native", account.spendable)]


def _path(source: str, source_stroops: int, destination: str, stroops: int) -> dict[str, Any]:
    return {
        **asset_fields(source, "source_"),
        "source_amount": units(source_stroops),
        **asset_fields(destination, "destination_"),
        "destination_amount": units(stroops),
        "path": [],
    }


@bp.get("/paths")
@bp.get("/paths/strict-receive")
def strict_receive() -> Response:
    check_accept()
    destination, stroops = _one_asset("destination"), _amount("destination_amount")
    cost: Callable[[str, str, int], int | None] = sandbox().ledger.market.cost
    records = []
    for source, held in _other_assets("source_assets", "source_account"):
        price = cost(source, destination, stroops)
        if price is not None and (held is None or price <= held):
            records.append(_path(source, price, destination, stroops))
    return hal({"_embedded": {"records": records}})


@bp.get("/paths/strict-send")
def strict_send() -> Response:
    check_accept()
    source, stroops = _one_asset("source"), _amount("source_amount")
    records = []
    for destination, _held in _other_assets("destination_assets", "destination_account"):
        received = sandbox().ledger.market.received(source, destination, stroops)
        if received:
            records.append(_path(source, stroops, destination, received))
    return hal({"_embedded": {"records": records}})
