"""Bars of money received per day, laid out for the SVG macro; no figure is made up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from portal.domain.payments.figures import Received

# Units of the SVG's own drawing; the page scales it.
WIDTH, HEIGHT, GAP = 900, 150, 8
# A day with a tiny sum still shows that something came in.
BAR_MIN = 2
LABELS = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """One day; positions are whole units of the drawing."""

    day: date
    amount: Decimal
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Chart:
    asset: str
    bars: tuple[Bar, ...]
    total: Decimal
    peak: Bar
    labels: tuple[date, ...]
    width: int = WIDTH
    height: int = HEIGHT


def charts_of(received: Sequence[Received], *, first: date, last: date) -> list[Chart]:
    """Return one chart per asset that received anything from `first` to `last`, the assets in their order."""
    by_asset: dict[str, dict[date, Decimal]] = {}
    for each in received:
        by_asset.setdefault(each.asset, {})[each.day] = each.amount
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [_chart(asset, days, amounts) for asset, amounts in by_asset.items()]


def _chart(asset: str, days: Sequence[date], amounts: dict[date, Decimal]) -> Chart:
    highest = max(amounts.values())
    slot = WIDTH // len(days)
    bars = []
    for number, day in enumerate(days):
        amount = amounts.get(day, Decimal(0))
        height = max(BAR_MIN, int(amount * HEIGHT / highest)) if amount else 0
        bars.append(Bar(day, amount, number * slot, HEIGHT - height, max(2, slot - GAP), height))
    peak = max(bars, key=lambda bar: bar.amount)
    step = max(1, (len(days) - 1) // (LABELS - 1))
    labels = (*days[::step][: LABELS - 1], days[-1])
    return Chart(asset, tuple(bars), sum(amounts.values(), Decimal(0)), peak, labels)
