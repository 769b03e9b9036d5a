"""Everything the first page shows: what came in, what is awaited, what needs a person."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

from portal.domain.invoices import figures as invoice_figures
from portal.domain.invoices import queries as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.ledger import checks
from portal.domain.ledger.models import BookCheck
from portal.domain.merchants import queries as merchants
from portal.domain.merchants.models import Wallet, WalletAsset
from portal.domain.payments import figures
from portal.domain.payments import queries as payments
from portal.web.home.chart import charts_of
from portal.web.paging import start_of

PERIODS = (7, 30, 90)
PERIOD_DEFAULT = 30
RECENT = 10
ATTENTION = 5

# Why a wallet cannot receive an asset, as the readiness check names it.
READINESS_WORDS = {
    "no_account": "the account does not exist on the network yet: send it some XLM first",
    "no_trustline": "the wallet does not accept this asset yet: add a trustline",
    "not_authorised": "the issuer has not authorised the wallet",
    "limit": "the trustline's limit is nearly used up",
}


def period_of(args: Mapping[str, str]) -> int:
    text = args.get("days", "")
    days = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    return days if days in PERIODS else PERIOD_DEFAULT


def overview(*, merchant_id: UUID, network: str, days: int, zone: tzinfo, now: datetime) -> dict[str, Any]:
    """Return what the template needs, read in about a dozen bounded queries."""
    scope: dict[str, Any] = {"merchant_id": merchant_id, "network": network}
    today = now.astimezone(zone).date()
    first = today - timedelta(days=days - 1)
    since = start_of(first, zone)
    before = start_of(first - timedelta(days=days), zone)
    received = figures.received_per_day(
        **scope, since=before, until=now + figures.CLOCK_SLACK, time_zone=str(zone)
    )
    recent = invoices.list_page(**scope, filters=invoices.Filters(), limit=RECENT).invoices
    wallet = merchants.default_wallet(merchant_id, network)
    seen = payments.list_page(**scope, limit=RECENT).payments
    current = [each for each in received if each.day >= first]
    return {
        "days": days,
        "received": _sums(current),
        "received_before": _sums([each for each in received if each.day < first]),
        "dues": invoices.open_dues(**scope),
        "overdue": invoice_figures.overdue(**scope, now=now),
        "paid": figures.paid_invoices(**scope, since=since),
        "charts": charts_of(current, first=first, last=today),
        "recent_invoices": recent,
        "recent_payments": seen,
        "labels": _labels(merchant_id, seen),
        "has_wallet": wallet is not None,
        "has_issued": any(each.status != "DRAFT" for each in recent),
        "attention": _attention(scope, wallet, recent),
    }


def _attention(scope: dict[str, Any], wallet: Wallet | None, recent: Sequence[Invoice]) -> dict[str, Any]:
    return {
        "unmatched": payments.count_unmatched(**scope),
        "books": _book_differences(checks.latest(**scope)),
        "reversed": invoice_figures.list_reversed(**scope, limit=ATTENTION) if recent else [],
        "partly_paid": invoice_figures.list_partly_paid(**scope, limit=ATTENTION) if recent else [],
        "wallet_problems": _wallet_problems(wallet),
    }


def _book_differences(check: BookCheck | None) -> int:
    return 0 if check is None else len(check.differences)


def _wallet_problems(wallet: Wallet | None) -> list[tuple[WalletAsset, str]]:
    if wallet is None:
        return []
    known = merchants.list_readiness(wallet.merchant_id, [wallet.id])
    return [
        (each, READINESS_WORDS.get(each.reason or "", each.reason or "")) for each in known if not each.ready
    ]


def _sums(received: Sequence[figures.Received]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for each in received:
        sums[each.asset] = sums.get(each.asset, Decimal(0)) + each.amount
    return sums


def _labels(merchant_id: UUID, seen: Sequence[payments.SeenPayment]) -> dict[UUID, invoice_figures.Label]:
    ids = sorted({each.payment.invoice_id for each in seen if each.payment.invoice_id})
    return invoice_figures.labels_of(merchant_id=merchant_id, invoice_ids=ids)


def change_words(now: Decimal, before: Decimal | None, days: int) -> str:
    """Return how a sum compares with the period before, or nothing when there is nothing to compare."""
    if not before:
        return ""
    percent = int((now - before) * 100 / before)
    than = f"than the {days} days before"
    if percent == 0:
        return f"as much as in the {days} days before"
    return f"{abs(percent)}% {'more' if percent > 0 else 'less'} {than}"


def duration_words(taken: timedelta | None) -> str:
    """Return "3 h 12 m", "2 d 4 h", "5 m" or "40 s"; a second at least."""
    if taken is None:
        return ""
    seconds = max(1, int(taken.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} m"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60} m"
    return f"{hours // 24} d {hours % 24} h"
