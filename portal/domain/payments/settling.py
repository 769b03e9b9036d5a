"""Share an invoice's amount out over the credits that name it: pure, in stroops, in the order of the chain.

What an invoice received is a function of the set of its credits alone, so neither the order in which they
were seen nor a repetition changes it: a credit that is seen late moves those behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

# (ledger, canonical hash, operation, credit): a total order that agrees with the ledgers' closing times.
ChainPlace = tuple[int, str, int, int]
# A tolerance is meant for fees and rounding; beyond a tenth of the amount it would forgive the debt itself.
TOLERANCE_DIVISOR = 10


@dataclass(frozen=True, slots=True)
class Share:
    """What one credit gave its invoice: `allocated + excess` is the credit, `rounding` closes a tolerated rest."""

    allocated_stroops: int = 0
    excess_stroops: int = 0
    rounding_stroops: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A credit that passed every rule for an invoice; `booked` is its share in the books, None when new."""

    place: ChainPlace
    stroops: int
    closed_at: datetime
    is_late: bool
    booked: Share | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """The shares of an invoice's credits by place, and when the last stroop that was due had come."""

    shares: dict[ChainPlace, Share]
    completed_at: datetime | None


def tolerance_for(*, amount_stroops: int, policy_stroops: int) -> int:
    """Return how much may be missing from an invoice of this amount."""
    return min(policy_stroops, amount_stroops // TOLERANCE_DIVISOR)


def share_out(
    arrivals: Sequence[Arrival],
    *,
    capacity_stroops: int,
    tolerance_stroops: int,
    withheld_stroops: int = 0,
) -> Settled:
    """Return each arrival's share of `capacity_stroops`, what the invoice lacks without them.

    The rest is forgiven within the tolerance only when all are counted: otherwise the order of two credits
    would decide whether the second pays the rest or is an excess. `withheld_stroops` of them are not given: an
    excess that was refunded or spent elsewhere cannot pay a gap that opened afterwards.
    """
    shares: dict[ChainPlace, Share] = {}
    rest = capacity_stroops
    allocable = sum(each.stroops for each in arrivals) - withheld_stroops
    last: Arrival | None = None
    for arrival in sorted(arrivals, key=lambda each: each.place):
        allocated = min(arrival.stroops, rest, allocable)
        rest -= allocated
        allocable -= allocated
        shares[arrival.place] = Share(allocated, arrival.stroops - allocated)
        if allocated > 0:
            last = arrival
    if last is None or rest > tolerance_stroops:
        return Settled(shares, None)
    if rest > 0:
        given = shares[last.place]
        shares[last.place] = Share(given.allocated_stroops, given.excess_stroops, rest)
    return Settled(shares, last.closed_at)


def flags_of(arrival: Arrival, share: Share) -> tuple[str, ...]:
    """Return what is worth telling about a credit beside its amounts."""
    found = []
    if arrival.is_late and share.allocated_stroops > 0:
        found.append("late")
    if share.excess_stroops > 0:
        found.append("overpaid" if share.allocated_stroops > 0 else "duplicate")
    if share.rounding_stroops > 0:
        found.append("short")
    return tuple(found)
