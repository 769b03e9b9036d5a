"""The entries of the simulated ledger: accounts with their trustlines, signers and data, and overlays of them.

All amounts are stroops. A `State` is a stack of layers: reading falls through to the layer below, writing
copies into the top, and a layer is merged down when its operation or transaction succeeded and dropped
when it failed. That is how a failed transaction leaves nothing but its fee behind.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

BASE_RESERVE = 5_000_000
BASE_FEE = 100
LIMIT_MAX = 2**63 - 1
SUBENTRIES_MAX = 1000

AUTH_REQUIRED, AUTH_REVOCABLE, AUTH_IMMUTABLE, AUTH_CLAWBACK = 1, 2, 4, 8
LINE_AUTHORIZED, LINE_MAINTAIN, LINE_CLAWBACK = 1, 2, 4


@dataclass(slots=True)
class Trustline:
    """A holding of one credit asset; `flags` as the network numbers them."""

    balance: int
    limit: int
    flags: int
    modified_ledger: int

    @property
    def authorized(self) -> bool:
        return bool(self.flags & LINE_AUTHORIZED)


@dataclass(slots=True)
class Account:
    address: str
    balance: int
    sequence: int
    modified_ledger: int
    modified_at: str = ""
    sequence_ledger: int = 0
    sequence_time: int = 0
    flags: int = 0
    home_domain: str = ""
    master_weight: int = 1
    low: int = 0
    medium: int = 0
    high: int = 0
    inflation_destination: str | None = None
    signers: dict[str, int] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    trustlines: dict[str, Trustline] = field(default_factory=dict)

    @property
    def subentries(self) -> int:
        return len(self.signers) + len(self.data) + len(self.trustlines)

    @property
    def spendable(self) -> int:
        """Stroops above the minimum balance; negative when reserves grew past the balance."""
        return self.balance - (2 + self.subentries) * BASE_RESERVE

    def copy(self) -> "Account":
        lines = {asset: replace(line) for asset, line in self.trustlines.items()}
        return replace(self, signers=dict(self.signers), data=dict(self.data), trustlines=lines)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Account":
        lines = {asset: Trustline(**line) for asset, line in body.pop("trustlines").items()}
        return cls(**body, trustlines=lines)


class State:
    """A writable view of the accounts; the bottom one owns them, the others overlay it."""

    def __init__(self, below: "State | None" = None) -> None:
        self._below = below
        self._changed: dict[str, Account | None] = {}

    def overlay(self) -> "State":
        return State(self)

    def load(self, account: Account) -> None:
        self._changed[account.address] = account

    def read(self, address: str) -> Account | None:
        """Return the account for looking at; do not change it."""
        layer: State | None = self
        while layer is not None:
            if address in layer._changed:
                return layer._changed[address]
            layer = layer._below
        return None

    def write(self, address: str) -> Account | None:
        """Return the account for changing in this layer."""
        if address in self._changed:
            return self._changed[address]
        found = self.read(address)
        if found is None:
            return None
        mine = found.copy()
        self._changed[address] = mine
        return mine

    def add(self, account: Account) -> None:
        self._changed[account.address] = account

    def remove(self, address: str) -> None:
        self._changed[address] = None

    def merge_down(self) -> set[str]:
        """Move this layer's changes into the one below and return the addresses touched."""
        assert self._below is not None
        self._below._changed.update(self._changed)
        touched = set(self._changed)
        self._changed = {}
        return touched

    def settle(self) -> None:
        """Forget removed accounts in the bottom layer."""
        assert self._below is None
        for address in [address for address, account in self._changed.items() if account is None]:
            del self._changed[address]

    def all_accounts(self) -> list[Account]:
        assert self._below is None
        return [account for account in self._changed.values() if account is not None]
