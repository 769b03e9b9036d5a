"""The merchant's first page."""

from datetime import date

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.kernel.clock import utc_now
from portal.web.access import merchant_required, public, user
from portal.web.filters import day_text, zone
from portal.web.home.overview import PERIODS, change_words, duration_words, overview, period_of
from portal.web.invoices.words import reason_words

bp = Blueprint("home", __name__)


@bp.app_template_filter("short_day")
def short_day(day: date) -> str:
    """Return "18 Nov", for the axis of a chart whose period is named above it."""
    return day_text(day).rsplit(" ", 1)[0]


@bp.get("/")
@public
def start() -> ResponseReturnValue:
    """Lead on to the first page, which leads strangers to the sign-in."""
    return redirect(url_for("home.index"), 303)


@bp.get("/home")
@merchant_required("viewer")
def index() -> ResponseReturnValue:
    now = utc_now()
    found = overview(
        merchant_id=user().merchant_id,
        network=user().network,
        days=period_of(request.args),
        zone=zone(),
        now=now,
    )
    return render_template(
        "home/index.html",
        periods=PERIODS,
        hour=now.astimezone(zone()).hour,
        change_words=change_words,
        duration_words=duration_words,
        reason_words=reason_words,
        **found,
    )
