"""Interleaved rounds and what comes out of them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

# Fewer say little on a machine that other programs use too.
ROUNDS = 5


@dataclass(frozen=True)
class Result:
    """One row of the table; `measured` and `goal` in `unit`, `detail` for people."""

    code: str
    what: str
    goal: float
    measured: float
    unit: str
    want: Literal["at least", "at most"]
    detail: str

    @property
    def is_met(self) -> bool:
        if self.want == "at least":
            return self.measured >= self.goal
        return self.measured <= self.goal

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "measured": round(self.measured, 4),
            "verdict": "met" if self.is_met else "missed",
        }


@dataclass(frozen=True)
class Compared:
    """Medians of both sides and of their ratio round by round, which a slow moment disturbs least."""

    ours: float
    other: float
    ratio: float


def side_by_side(ours: Callable[[], float], other: Callable[[], float], *, rounds: int = ROUNDS) -> Compared:
    """Run both once to warm up and then in turn; each returns its rate or time, the first to go alternates."""
    ours(), other()
    mine, theirs = [], []
    for number in range(rounds):
        if number % 2:
            theirs.append(other())
            mine.append(ours())
        else:
            mine.append(ours())
            theirs.append(other())
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return Compared(median(mine), median(theirs), median(ratios))
