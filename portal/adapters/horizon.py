"""Read the chain from a Horizon server (https://developers.stellar.org/docs/data/apis/horizon).

Nothing that Horizon says is believed before it agrees with the signed envelope and the configured network;
see `horizon_records`. Every method may raise ChainUnavailable (ask again later) or ChainContradiction.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from portal.adapters import horizon_http
from portal.adapters.horizon_accounts import read_account
from portal.adapters.horizon_budget import Budget, LocalBudget
from portal.adapters.horizon_envelope import read_envelope
from portal.adapters.horizon_fields import DIGITS, Record, moment, natural, require
from portal.adapters.horizon_records import merge_effect_stroops, observe, read_transaction
from portal.kernel.addresses import is_account
from portal.kernel.chain import (
    CLAWBACK,
    AccountState,
    ChainContradiction,
    ChainSource,
    ChainUnavailable,
    NetworkState,
    ObservedTransaction,
    Page,
    RefusedRecord,
    SubmissionRefused,
)

PAGE_RECORDS_MAX = 200
INT64_MAX = 2**63 - 1
# What goes into a path is checked, whoever asks.
_HASH = re.compile(r"[0-9a-f]{64}")
# Enough to recognise what stands where a hash should.
_NAME_CHARACTERS_MAX = 80
# The protocol's limit is 100 operations, so more pages than this are a fault of the server.
_OPERATION_PAGES_MAX = 110
# Joined transactions carry their metadata, so a page of 200 may pass 2 MB: then ask for less, then unjoined.
_PAGE_SHAPES = ((200, True), (50, True), (10, True), (100, False), (10, False))


class Horizon(ChainSource):
    """One Horizon for all threads of the process: connections, pace and breaker are shared."""

    def __init__(
        self,
        url: str,
        *,
        passphrase: str,
        timeout_seconds: float = 3.0,
        budget: Budget | None = None,
    ) -> None:
        """Without a `budget` it keeps one of its own, for this process alone."""
        self._http = horizon_http.HorizonHttp(
            url, timeout_seconds=timeout_seconds, budget=budget or LocalBudget()
        )
        self.host = urlsplit(url).netloc
        self._passphrase = passphrase
        self._is_known = False

    def find_transaction(
        self, transaction_hash: str, *, within_seconds: float | None = None
    ) -> ObservedTransaction | None:
        """Return the transaction of a lower-case outer or inner hash, or None while the ledger lacks it.

        It takes two or three requests, each bounded by itself; `within_seconds` bounds them together.
        """
        if _HASH.fullmatch(transaction_hash) is None:
            raise ValueError(f"{transaction_hash!r} is no lower-case hash")
        deadline = self._http.deadline(within_seconds)
        self._require_network(deadline)
        answer = self._http.get(f"/transactions/{transaction_hash}", deadline=deadline)
        if answer.status == 404:
            return None
        record, envelope = read_transaction(_found(answer), self._passphrase)
        require(transaction_hash in envelope.hashes, "hash")
        operations: Sequence[object] = ()
        if record["successful"]:
            operations = self._operations(transaction_hash, len(envelope.operations), deadline)
        return self._attributed(observe(record, envelope, operations, self._merges(deadline)))

    def operations(self, transaction_hash: str) -> tuple[Record, ...]:
        """Return Horizon's own JSON of all operations of a transaction, unchecked: for display alone."""
        return tuple(
            record for record in self._operations(transaction_hash, 0, None) if isinstance(record, dict)
        )

    def credits_since(self, address: str, cursor: str, limit: int = PAGE_RECORDS_MAX) -> Page:
        """Return the transactions that paid `address` after `cursor`, oldest first."""
        return self._page(f"{_account_path(address)}/payments", cursor, frozenset({address}), limit)

    def payments_since(self, cursor: str, watched: AbstractSet[str], limit: int = PAGE_RECORDS_MAX) -> Page:
        """Return the transactions of the whole network that paid one of `watched` after `cursor`."""
        return self._page("/payments", cursor, watched, limit)

    def clawbacks_since(self, address: str, cursor: str, limit: int = PAGE_RECORDS_MAX) -> Page:
        """Return the transactions that paid `address`, or took money back from it, after `cursor`.

        Lists of payments do not name the operation by which an issuer takes money back, those of operations do.
        """
        return self._page(f"{_account_path(address)}/operations", cursor, frozenset({address}), limit)

    def latest_cursor(self, address: str | None = None) -> str:
        """Return the cursor behind the newest payment (`0` when there is none)."""
        self._require_network()
        path = "/payments" if address is None else f"{_account_path(address)}/payments"
        answer = self._http.get(path, {"order": "desc", "limit": "1"})
        if answer.status == 404:
            return "0"
        records = _records(_found(answer))
        return _paging_token(records[0]) if records else "0"

    def account(self, address: str, *, within_seconds: float | None = None) -> AccountState | None:
        """Return the state of a `G...` account, or None when it does not exist."""
        deadline = self._http.deadline(within_seconds)
        self._require_network(deadline)
        answer = self._http.get(_account_path(address), deadline=deadline)
        if answer.status == 404:
            return None
        state = read_account(_found(answer))
        require(state.address == address, "account_id")
        return state

    def network(self) -> NetworkState:
        """Return what Horizon says of its network; comparing the passphrase is the caller's."""
        return self._network(None)

    def _network(self, deadline: float | None) -> NetworkState:
        root = _found(self._http.get("/", deadline=deadline))
        require(isinstance(root.get("network_passphrase"), str), "network_passphrase")
        closed_at = root.get("history_latest_ledger_closed_at")
        return NetworkState(
            passphrase=root["network_passphrase"],
            latest_ledger=natural(root.get("history_latest_ledger"), "history_latest_ledger"),
            latest_closed_at=None
            if closed_at is None
            else moment(closed_at, "history_latest_ledger_closed_at"),
        )

    def submit(self, envelope_xdr: str) -> str:
        """Submit a signed envelope and return its hash.

        ChainUnavailable leaves open whether it was applied: look the hash up before sending it again.

        :raises SubmissionRefused: when the network refused it.
        """
        self._require_network()
        hashes = read_envelope(envelope_xdr, self._passphrase).hashes
        answer = self._http.post("/transactions", {"tx": envelope_xdr})
        if answer.status == 400:
            raise SubmissionRefused(
                "the network refused the transaction", result_codes=_result_codes(answer.body)
            )
        require(_found(answer).get("hash") in hashes, "hash")
        return hashes[0]

    def _require_network(self, deadline: float | None = None) -> None:
        """Refuse to read from a Horizon of another network; asked once, for it cannot change under a URL."""
        if self._is_known:
            return
        if self._network(deadline).passphrase != self._passphrase:
            raise ChainContradiction("Horizon serves another network than STELLAR_NETWORK_PASSPHRASE names")
        self._is_known = True

    def _operations(self, transaction_hash: str, count: int, deadline: float | None) -> list[object]:
        """Return all operations; Horizon's pages hold 10 unless asked, and may hold fewer than asked.

        `count` is how many the envelope has: reaching it saves the request for the empty last page.
        """
        found: list[object] = []
        query = {"order": "asc", "limit": str(PAGE_RECORDS_MAX)}
        for _ in range(_OPERATION_PAGES_MAX):
            answer = self._http.get(f"/transactions/{transaction_hash}/operations", query, deadline=deadline)
            records = _records(_found(answer))
            found.extend(records)
            if not records or 0 < count <= len(found):
                return found
            query["cursor"] = _paging_token(records[-1])
        raise ChainContradiction("the operations of the transaction do not end")

    def _merges(self, deadline: float | None) -> Callable[[str, str], int]:
        """Return how `observe` learns what an account_merge paid: from the effects of its operation."""

        def merged_stroops(operation_id: str, address: str) -> int:
            query = {"limit": str(PAGE_RECORDS_MAX)}
            answer = self._http.get(f"/operations/{operation_id}/effects", query, deadline=deadline)
            return merge_effect_stroops(_records(_found(answer)), address)

        return merged_stroops

    def _page(self, path: str, cursor: str, watched: AbstractSet[str], limit: int) -> Page:
        self._require_network()
        records, is_full = self._page_records(path, cursor, limit)
        transactions: list[ObservedTransaction] = []
        refused: list[RefusedRecord] = []
        consumed, position, last_closed_at = 0, cursor, None
        for transaction_hash, group in _grouped(records):
            token = _paging_token(group[-1])
            require(int(token) > int(position), "paging_token")
            try:
                closed_at = moment(group[-1].get("created_at"), "created_at")
                if any(_concerns(record, watched) for record in group):
                    transactions.append(self._complete(transaction_hash, group))
            except ChainContradiction as error:
                refused.append(RefusedRecord(_name(transaction_hash), token, error.detail))
            except ChainUnavailable:
                if consumed == 0:
                    raise
                # What was read so far counts; more follows, so the next call begins here and meets the failure.
                return Page(tuple(transactions), tuple(refused), position, consumed, True, last_closed_at)
            else:
                last_closed_at = closed_at
            consumed, position = consumed + len(group), token
        return Page(tuple(transactions), tuple(refused), position, consumed, is_full, last_closed_at)

    def _page_records(self, path: str, cursor: str, limit: int) -> tuple[list[Record], bool]:
        """Return the records after `cursor` and whether the page was full."""
        for size, is_joined in _PAGE_SHAPES:
            asked = min(size, limit)
            query = {"cursor": cursor, "order": "asc", "limit": str(asked)}
            if is_joined:
                query["join"] = "transactions"
            try:
                answer = self._http.get(path, query)
            except horizon_http.BodyTooLarge:
                continue
            if answer.status == 404:
                # An account that was never funded, or is merged away, has no payments.
                return [], False
            records = _records(_found(answer))
            if not all(isinstance(record, dict) for record in records):
                raise ChainUnavailable("a page of Horizon holds something else than records")
            return records, len(records) >= asked
        raise ChainUnavailable("even the smallest page of Horizon is too large")

    def _attributed(self, transaction: ObservedTransaction) -> ObservedTransaction:
        return replace(transaction, sources=(self.host,))

    def _complete(self, transaction_hash: str, group: list[Record]) -> ObservedTransaction:
        """Return the whole transaction of a page's records, from the page alone when it holds all of it."""
        joined = group[0].get("transaction")
        if isinstance(joined, dict) and joined.get("operation_count") == len(group):
            record, envelope = read_transaction(joined, self._passphrase)
            require(transaction_hash in envelope.hashes, "transaction_hash")
            operations = [_without_join(record) for record in group]
            return self._attributed(observe(record, envelope, operations, self._merges(None)))
        require(_HASH.fullmatch(transaction_hash) is not None, "transaction_hash")
        found = self.find_transaction(transaction_hash)
        if found is None:
            raise ChainUnavailable("Horizon lists a payment whose transaction it does not have yet")
        return found


def _account_path(address: str) -> str:
    if not is_account(address):
        raise ValueError(f"{address!r} is no account")
    return f"/accounts/{address}"


def _found(answer: horizon_http.Answer) -> Record:
    if answer.status != 200:
        raise ChainUnavailable(f"Horizon answered {answer.status}")
    return answer.body


def _records(body: Record) -> list[Any]:
    embedded = body.get("_embedded")
    records = embedded.get("records") if isinstance(embedded, dict) else None
    if not isinstance(records, list):
        raise ChainUnavailable("a page of Horizon has no records")
    return records


def _paging_token(record: object) -> str:
    """Return where the next page begins, a number of 64 bits.

    A wild one would carry the watcher past the end of the network, which then looks as if it had been reset.
    """
    if not isinstance(record, dict):
        raise ChainUnavailable("a record of Horizon is no object")
    token = record.get("paging_token")
    if not isinstance(token, str) or DIGITS.fullmatch(token) is None or int(token) > INT64_MAX:
        raise ChainUnavailable("a record of Horizon has no paging token")
    return token


def _grouped(records: list[Record]) -> Iterator[tuple[str, list[Record]]]:
    for transaction_hash, group in groupby(records, key=lambda record: str(record.get("transaction_hash"))):
        yield transaction_hash, list(group)


def _name(transaction_hash: str) -> str:
    """Return what a refused record calls its transaction so that it can be stored, whatever it is."""
    return ascii(transaction_hash)[1:-1][:_NAME_CHARACTERS_MAX]


def _concerns(record: Record, watched: AbstractSet[str]) -> bool:
    """Say whether a record of a page may bring money to one of `watched` or take it back from there."""
    named = [record.get("into"), record.get("account")]
    changes = record.get("asset_balance_changes")
    found = changes if isinstance(changes, list) else []
    moves = [record, *(change for change in found if isinstance(change, dict))]
    named.extend(move.get("from" if move.get("type") == CLAWBACK else "to") for move in moves)
    return any(isinstance(address, str) and address in watched for address in named)


def _without_join(record: Record) -> Record:
    return {name: value for name, value in record.items() if name != "transaction"}


def _result_codes(problem: Record) -> tuple[str, ...]:
    extras = problem.get("extras")
    codes = extras.get("result_codes") if isinstance(extras, dict) else None
    if not isinstance(codes, dict):
        return ()
    operations = codes.get("operations")
    found = [codes.get("transaction"), *(operations if isinstance(operations, list) else ())]
    return tuple(code for code in found if isinstance(code, str))
