"""The lists of payments that a watcher reads, over everything that was put on the chain."""

from typing import Any

from tests.cases.served import Served, page
from tests.cases.signing import Signed

# What Horizon takes for payments; lists of payments hold nothing else, and nothing that failed.
PAYMENTS = {
    "payment",
    "create_account",
    "account_merge",
    "path_payment_strict_send",
    "path_payment_strict_receive",
    "invoke_host_function",
}


class Listing:
    """Transactions in the order of their ledgers; each may be replaced by what is shown instead of it."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._shown: dict[str, Signed] = {}
        served.add("/payments", lambda query: self._page(query, None))

    def know(self, address: str) -> None:
        """Answer for this account's own list of payments from now on."""
        self.served.add(f"/accounts/{address}/payments", lambda query: self._page(query, address))

    def show(self, signed: Signed, shown: Signed | None = None, *, listed: bool = True) -> None:
        """Put a transaction on the chain, as it is or as something else says; listed for watchers or not."""
        seen = shown or signed
        for name in {signed.hash, signed.inner_hash}:
            self.served.add(f"/transactions/{name}", seen.record)
            self.served.add(f"/transactions/{name}/operations", page(seen.operations))
        if listed:
            self._shown[signed.hash] = seen

    def _page(self, query: dict[str, str], address: str | None) -> dict[str, Any]:
        rows = [
            {**row, "transaction": signed.record} if "join" in query else row
            for signed in self._shown.values()
            for row in signed.operations
            if row["type"] in PAYMENTS
            and signed.record["successful"] is not False
            and (address is None or address in _named(row))
        ]
        is_down, cursor = query.get("order") == "desc", query.get("cursor")
        rows.sort(key=lambda row: int(row["paging_token"]), reverse=is_down)
        if cursor is not None and not is_down:
            rows = [row for row in rows if int(row["paging_token"]) > int(cursor)]
        return page(rows[: int(query.get("limit", "10"))])


def _named(row: dict[str, Any]) -> set[Any]:
    found = {row.get(name) for name in ("from", "to", "into", "account", "funder", "source_account")}
    for change in row.get("asset_balance_changes", []):
        found |= {change.get("from"), change.get("to")}
    return found
