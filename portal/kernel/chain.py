"""What the portal knows of the chain: plain values that any source (Horizon, the sandbox) is read into.

Amounts are integer stroops, addresses `G...` (a contract as sender is `C...`), assets `native` or
`CODE:ISSUER`, hashes 64 lower-case hex digits. A value of these classes was checked by its adapter
against the signed envelope; nobody below the adapter sees anything unchecked.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from portal.kernel.errors import Unavailable

# The kind of a debit by which an issuer took money back.
CLAWBACK = "clawback"
MemoType = Literal["none", "text", "id", "hash", "return"]


class ChainUnavailable(Unavailable):
    """The source cannot answer now (429, 5xx, timeout, garbage); `retry_after_seconds` when it said so."""

    code = "horizon_unavailable"

    def __init__(self, detail: str = "", *, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class ChainContradiction(Unavailable):
    """The answer does not agree with its signed envelope, so it proves neither a payment nor its absence."""

    code = "chain_contradiction"


class NotConfirmed(ChainUnavailable):
    """One source has the transaction and the second, which must agree, does not have it (yet)."""

    code = "not_confirmed"


class SubmissionRefused(Unavailable):
    """The network refused a submitted envelope; `result_codes` as Horizon names them, transaction's first."""

    code = "transaction_refused"

    def __init__(self, detail: str = "", *, result_codes: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.result_codes = result_codes


@dataclass(frozen=True, slots=True)
class Credit:
    """Money that reached an account: one effect of one operation."""

    operation_index: int
    """0-based in the transaction."""
    credit_index: int
    """0-based in the operation: a contract call may pay several times."""
    kind: str
    source: str
    destination: str
    asset: str
    stroops: int
    muxed_id: int | None = None


@dataclass(frozen=True, slots=True)
class Debit:
    """Money that left an account; `destination` is None where nobody received it at once.

    `kind` names the operation. In a `clawback`, by operation or by contract, the issuer took the money back
    from `source`, who signed nothing.
    """

    operation_index: int
    source: str
    destination: str | None
    asset: str
    stroops: int
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ObservedTransaction:
    """A transaction on the ledger whose hash was recomputed from its envelope.

    `memo` is for people (text decoded with replacement characters, digits, or hex); `memo_bytes` is what
    the envelope holds for text, hash and return memos, and what rules compare.
    """

    canonical_hash: str
    hashes: tuple[str, ...]
    """The fee-bump's outer hash first when there is one, then the inner; canonical first."""
    ledger: int
    closed_at: datetime
    source_account: str
    successful: bool
    memo_type: MemoType
    memo: str | None
    memo_bytes: bytes | None
    envelope_xdr: str
    credits: tuple[Credit, ...]
    debits: tuple[Debit, ...]
    raw: dict[str, object] = field(compare=False, repr=False)
    """The source's own JSON of the transaction with all its `operations`: the evidence."""
    sources: tuple[str, ...] = field(default=(), compare=False)
    """The hosts that said so; two where a second source had to agree and did."""


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record of a page that could not be read as money: parked by the watcher, stops nobody."""

    transaction_hash: str
    paging_token: str
    detail: str


@dataclass(frozen=True, slots=True)
class Page:
    """Whole transactions of one page of payments; `cursor` is where the next page begins.

    A transaction that spans two pages comes with both, complete each time: recording is idempotent.
    """

    transactions: tuple[ObservedTransaction, ...]
    refused: tuple[RefusedRecord, ...]
    cursor: str
    records: int
    """Records that were consumed; 0 means that the source is exhausted for now."""
    is_full: bool
    """Whether more records follow at once."""
    last_closed_at: datetime | None
    """Ledger close time of the last record consumed, to measure lag."""


@dataclass(frozen=True, slots=True)
class AssetHolding:
    """`limit_stroops` is None for native; selling and buying liabilities are already promised money."""

    asset: str
    balance_stroops: int
    limit_stroops: int | None
    buying_liabilities_stroops: int
    selling_liabilities_stroops: int
    authorized: bool
    clawback_enabled: bool = False
    """Whether the issuer can take this holding back."""


@dataclass(frozen=True, slots=True)
class Signer:
    key: str
    weight: int


@dataclass(frozen=True, slots=True)
class AccountState:
    address: str
    sequence: int
    balances: tuple[AssetHolding, ...]
    auth_required: bool
    auth_revocable: bool
    auth_clawback_enabled: bool
    low_threshold: int
    medium_threshold: int
    high_threshold: int
    signers: tuple[Signer, ...]
    home_domain: str | None
    memo_required: bool
    """SEP-29: the account's data entry `config.memo_required` is `1`."""

    def holding(self, asset: str) -> AssetHolding | None:
        return next((holding for holding in self.balances if holding.asset == asset), None)


@dataclass(frozen=True, slots=True)
class NetworkState:
    passphrase: str
    latest_ledger: int
    latest_closed_at: datetime | None


class ChainSource(Protocol):
    """Where transactions are read and submitted.

    Every method may raise ChainUnavailable or ChainContradiction.
    """

    def find_transaction(
        self, transaction_hash: str, *, within_seconds: float | None = None
    ) -> ObservedTransaction | None:
        """Return the transaction with all its operations, or None while it is not on the ledger.

        `transaction_hash` is lower-case, outer or inner; `within_seconds` bounds all requests together.
        """

    def credits_since(self, address: str, cursor: str, limit: int = 200) -> Page:
        """Return the transactions that paid `address` after `cursor`, oldest first."""

    def payments_since(self, cursor: str, watched: AbstractSet[str], limit: int = 200) -> Page:
        """Return the transactions of the whole network that paid one of `watched` after `cursor`."""

    def clawbacks_since(self, address: str, cursor: str, limit: int = 200) -> Page:
        """Return the transactions that paid `address`, or took money back from it, after `cursor`.

        Both, so that in this order no clawback comes before the payment it takes back.
        """

    def latest_cursor(self, address: str | None = None) -> str:
        """Return the cursor behind everything that happened so far (`0` when nothing did)."""

    def account(self, address: str, *, within_seconds: float | None = None) -> AccountState | None:
        """Return the account, or None when it does not exist."""

    def network(self) -> NetworkState:
        """Return the network's passphrase and latest ledger."""

    def submit(self, envelope_xdr: str) -> str:
        """Submit a signed envelope and return its hash.

        :raises SubmissionRefused: when the network refused it for good.
        """
