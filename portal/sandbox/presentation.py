"""Horizon's JSON as it leaves: stored records with the links that depend on the host asked, and accounts."""

from typing import Any
from urllib.parse import urlencode

from portal.sandbox.closing import PROTOCOL_VERSION
from portal.sandbox.entries import Account
from portal.sandbox.operations import asset_fields, units

HORIZON_VERSION = "24.0.0-sandbox"
CORE_VERSION = "sandbox 1"
_PAGED = "{?cursor,limit,order}"


class Presenter:
    """Adds `_links` to stored records; `base` is the public address without a final slash."""

    def __init__(self, base: str) -> None:
        self._base = base

    def _link(self, path: str) -> dict[str, Any]:
        return {"href": self._base + path, "templated": True} if "{" in path else {"href": self._base + path}

    def _links(self, paths: dict[str, str]) -> dict[str, Any]:
        return {name: self._link(path) for name, path in paths.items()}

    def _neighbours(self, collection: str, token: str) -> dict[str, str]:
        return {
            "succeeds": f"/{collection}?order=desc&cursor={token}",
            "precedes": f"/{collection}?order=asc&cursor={token}",
        }

    def transaction(self, body: dict[str, Any]) -> dict[str, Any]:
        own = f"/transactions/{body['id']}"
        paths = {
            "self": own,
            "account": f"/accounts/{body['source_account']}",
            "ledger": f"/ledgers/{body['ledger']}",
            "operations": f"{own}/operations{_PAGED}",
            "effects": f"{own}/effects{_PAGED}",
            **self._neighbours("transactions", body["paging_token"]),
            "transaction": own,
        }
        return {"_links": self._links(paths)} | body

    def operation(self, body: dict[str, Any], transaction: dict[str, Any] | None = None) -> dict[str, Any]:
        own = f"/operations/{body['id']}"
        paths = {
            "self": own,
            "transaction": f"/transactions/{body['transaction_hash']}",
            "effects": f"{own}/effects",
            **self._neighbours("effects", body["paging_token"]),
        }
        joined = {} if transaction is None else {"transaction": self.transaction(transaction)}
        return {"_links": self._links(paths)} | body | joined

    def effect(self, body: dict[str, Any]) -> dict[str, Any]:
        token = body["paging_token"]
        operation = token.partition("-")[0]
        paths = {"operation": f"/operations/{operation}", **self._neighbours("effects", token)}
        return {"_links": self._links(paths)} | body

    def ledger(self, body: dict[str, Any]) -> dict[str, Any]:
        own = f"/ledgers/{body['sequence']}"
        below = ("transactions", "operations", "payments", "effects")
        paths = {"self": own} | {name: f"{own}/{name}{_PAGED}" for name in below}
        return {"_links": self._links(paths)} | body

    def account(self, account: Account) -> dict[str, Any]:
        own = f"/accounts/{account.address}"
        below = ("transactions", "operations", "payments", "effects", "offers", "trades")
        paths = (
            {"self": own}
            | {name: f"{own}/{name}{_PAGED}" for name in below}
            | {"data": f"{own}/data/{{key}}"}
        )
        body: dict[str, Any] = {
            "_links": self._links(paths),
            "id": account.address,
            "account_id": account.address,
            "sequence": str(account.sequence),
        }
        if account.sequence_ledger:
            body |= {"sequence_ledger": account.sequence_ledger, "sequence_time": str(account.sequence_time)}
        body |= {"subentry_count": account.subentries}
        if account.inflation_destination:
            body["inflation_destination"] = account.inflation_destination
        if account.home_domain:
            body["home_domain"] = account.home_domain
        return body | _account_fields(account)

    def page(
        self, path: str, parameters: dict[str, str], records: list[dict[str, Any]], *, order: str
    ) -> dict[str, Any]:
        """Return a HAL page; `parameters` hold the cursor, limit and order asked for and what else is kept."""
        first = records[0]["paging_token"] if records else parameters["cursor"]
        last = records[-1]["paging_token"] if records else parameters["cursor"]
        other = "desc" if order == "asc" else "asc"
        links = {
            "self": parameters,
            "next": parameters | {"cursor": last},
            "prev": parameters | {"cursor": first, "order": other},
        }
        return {
            "_links": {
                name: {"href": f"{self._base}{path}?{urlencode(sorted(values.items()))}"}
                for name, values in links.items()
            },
            "_embedded": {"records": records},
        }

    def root(self, *, passphrase: str, latest: dict[str, Any], elder: int) -> dict[str, Any]:
        sequence = latest["sequence"]
        return {
            "_links": self._links(_ROOT_LINKS),
            "horizon_version": HORIZON_VERSION,
            "core_version": CORE_VERSION,
            "ingest_latest_ledger": sequence,
            "history_latest_ledger": sequence,
            "history_latest_ledger_closed_at": latest["closed_at"],
            "history_elder_ledger": elder,
            "core_latest_ledger": sequence,
            "network_passphrase": passphrase,
            "current_protocol_version": PROTOCOL_VERSION,
            "supported_protocol_version": PROTOCOL_VERSION,
            "core_supported_protocol_version": PROTOCOL_VERSION,
        }


def _account_fields(account: Account) -> dict[str, Any]:
    lines = [
        {
            "balance": units(line.balance),
            "limit": units(line.limit),
            "buying_liabilities": units(0),
            "selling_liabilities": units(0),
            "last_modified_ledger": line.modified_ledger,
            "is_authorized": bool(line.flags & 1),
            "is_authorized_to_maintain_liabilities": bool(line.flags & 3),
            **({"is_clawback_enabled": True} if line.flags & 4 else {}),
            **asset_fields(asset),
        }
        for asset, line in account.trustlines.items()
    ]
    native = {
        "balance": units(account.balance),
        "buying_liabilities": units(0),
        "selling_liabilities": units(0),
        "asset_type": "native",
    }
    signers = [*account.signers.items(), (account.address, account.master_weight)]
    return {
        "last_modified_ledger": account.modified_ledger,
        "last_modified_time": account.modified_at,
        "thresholds": {
            "low_threshold": account.low,
            "med_threshold": account.medium,
            "high_threshold": account.high,
        },
        "flags": flag_fields(account.flags),
        "balances": [*lines, native],
        "signers": [{"weight": weight, "key": key, "type": "ed25519_public_key"} for key, weight in signers],
        "data": dict(account.data),
        "num_sponsoring": 0,
        "num_sponsored": 0,
        "paging_token": account.address,
    }


def flag_fields(flags: int) -> dict[str, bool]:
    names = ("auth_required", "auth_revocable", "auth_immutable", "auth_clawback_enabled")
    return {name: bool(flags & 1 << bit) for bit, name in enumerate(names)}


_ROOT_LINKS = {
    "account": "/accounts/{account_id}",
    "account_transactions": "/accounts/{account_id}/transactions" + _PAGED,
    "assets": "/assets{?asset_code,asset_issuer,cursor,limit,order}",
    "effects": "/effects" + _PAGED,
    "fee_stats": "/fee_stats",
    "friendbot": "/friendbot{?addr}",
    "ledger": "/ledgers/{sequence}",
    "ledgers": "/ledgers" + _PAGED,
    "operation": "/operations/{id}",
    "operations": "/operations{?cursor,limit,order,include_failed}",
    "payments": "/payments{?cursor,limit,order,include_failed}",
    "self": "/",
    "strict_receive_paths": "/paths/strict-receive{?source_assets,source_account,destination_account,"
    "destination_asset_type,destination_asset_issuer,destination_asset_code,destination_amount}",
    "strict_send_paths": "/paths/strict-send{?destination_account,destination_assets,source_asset_type,"
    "source_asset_issuer,source_asset_code,source_amount}",
    "transaction": "/transactions/{hash}",
    "transactions": "/transactions" + _PAGED,
}
