"""What a look at the books tells: figures that are not what the chain and people's decisions say."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from portal.domain.payments.settling import ChainPlace
from portal.kernel.money import format_units


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not what the facts say; `derived` is right."""

    ref: str
    figure: str
    stored: str
    derived: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A batch that was verified; `unread` of its rows have a chain record that nobody can read."""

    what: str
    rows: int
    differences: tuple[Difference, ...]
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Stray:
    """A credit that should pay an invoice and does not."""

    place: ChainPlace
    stroops: int
    closed_at: datetime


@dataclass(slots=True)
class Corrections:
    """What the chain says otherwise than the payment rows, so that all behind it is derived from the chain."""

    stroops: dict[UUID, int] = field(default_factory=dict)
    """The true amount of a payment whose row has another."""
    refused: set[UUID] = field(default_factory=set)
    """Payments that pay an invoice and should not."""
    strays: dict[UUID, list[Stray]] = field(default_factory=dict)
    """By invoice."""
    accounts: dict[tuple[str, str, str, UUID | None], Decimal] = field(default_factory=dict)
    """By (network, asset, kind, owner): what is added to the balance that the rows lead to."""

    def move(self, key: tuple[str, str, str, UUID | None], amount: Decimal) -> None:
        self.accounts[key] = self.accounts.get(key, Decimal(0)) + amount


def units(amount: Decimal) -> str:
    return format_units(amount)
