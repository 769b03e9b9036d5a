"""What the frame around a merchant's page tells: what waits for a person, and when we last looked for money.

Remembered by each process for a few seconds, so that pages cost next to nothing for their frame.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypedDict
from uuid import UUID

from flask import Flask, session
from flask_login import current_user

from portal.domain.invoices import queries as invoices
from portal.domain.payments import looks
from portal.domain.payments import queries as payments
from portal.domain.payments.looks import MerchantLook
from portal.kernel.clock import utc_now
from portal.web.access import SignedIn

REMEMBERED = timedelta(seconds=5)
# Above this a merchant should know that a payment may be on its way unseen (design, section 7).
LATE = timedelta(seconds=60)
# A process serves many merchants; what it remembers of them is thrown away long before it weighs.
MOST_REMEMBERED = 1000


class Watching(TypedDict):
    """When payments to all of the business' wallets were looked for, in seconds before this page."""

    lag_seconds: int
    slow: bool
    reset: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """`badges` ask for a person, `counts` only inform; both by the path of the rail's entry."""

    badges: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    watcher: Watching | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    until: datetime
    unmatched: int
    pending: int
    look: MerchantLook


_memory: dict[tuple[UUID, str], _Known] = {}


def init_frame(app: Flask) -> None:
    app.jinja_env.globals["page_frame"] = page_frame


def page_frame() -> Frame:
    """Return what surrounds this page; empty for people without a business."""
    someone = current_user
    if not isinstance(someone._get_current_object(), SignedIn) or someone.session.merchant_id is None:
        return Frame()
    now = utc_now()
    known = _look(someone.session.merchant_id, someone.network, now)
    return Frame(
        badges={"/payments": known.unmatched},
        counts={"/invoices": known.pending},
        watcher=watching(known.look, now),
    )


def forget() -> None:
    _memory.clear()


def _look(merchant_id: UUID, network: str, now: datetime) -> _Known:
    known = _memory.get((merchant_id, network))
    # Who has just decided something sees it counted.
    if known is not None and known.until > now and "_flashes" not in session:
        return known
    if len(_memory) >= MOST_REMEMBERED:
        _memory.clear()
    known = _Known(
        until=now + REMEMBERED,
        unmatched=payments.count_unmatched(merchant_id=merchant_id, network=network),
        pending=invoices.count_by_status(merchant_id=merchant_id, network=network).get("PENDING", 0),
        look=looks.of_merchant(merchant_id=merchant_id, network=network, now=now),
    )
    _memory[merchant_id, network] = known
    return known


def watching(look: MerchantLook, now: datetime) -> Watching | None:
    """Return how long ago payments were looked for; None without a wallet, when nothing can be late."""
    if look.seen_at is None:
        return None
    lag = max(now - look.seen_at, timedelta(0))
    return {"lag_seconds": int(lag.total_seconds()), "slow": lag > LATE, "reset": look.is_reset}
