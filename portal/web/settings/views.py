"""Settings of the business and of the person: invoices, look, password, signed-in devices."""

from flask import flash, make_response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal.adapters import cache
from portal.db import run_transaction
from portal.domain.merchants import accounts, queries, service
from portal.domain.merchants.accounts import PasswordWrong
from portal.domain.merchants.service import BusinessSettings
from portal.domain.merchants.sessions import handle_of
from portal.flows import sessions as session_flow
from portal.flows import sign_in as sign_in_flow
from portal.kernel.clock import utc_now
from portal.web import access
from portal.web.access import merchant_required, signed_in, user
from portal.web.auth import limits
from portal.web.forms import add_error, checked
from portal.web.settings import payments, wallets  # noqa: F401  their views belong to this blueprint
from portal.web.settings.blueprint import bp
from portal.web.settings.devices import device_name
from portal.web.settings.forms import BusinessForm, PasswordForm, PreferencesForm

# The factory registers the blueprint by this module, whose import also brings the views.
__all__ = ["bp"]


@bp.get("")
@merchant_required()
def index() -> ResponseReturnValue:
    """Lead to the first section that this role may open."""
    return redirect(url_for(".business" if user().may("admin") else ".preferences"), 303)


@bp.get("/business")
@merchant_required(role="admin")
def business() -> ResponseReturnValue:
    merchant = queries.get_merchant(user().merchant_id)
    form = BusinessForm(
        name=merchant.name,
        time_zone=merchant.time_zone,
        invoice_prefix=merchant.invoice_prefix,
        default_asset="XLM" if merchant.default_asset == "native" else merchant.default_asset,
    )
    return render_template("settings/business.html", form=form)


@bp.post("/business")
@merchant_required(role="admin")
def save_business() -> ResponseReturnValue:
    form = BusinessForm()
    if not form.validate_on_submit():
        return render_template("settings/business.html", form=form), 422
    names = ("name", "time_zone", "invoice_prefix", "default_asset")
    settings = BusinessSettings(**{name: checked(form[name]) for name in names})
    now = utc_now()
    run_transaction(
        lambda: service.update_settings(merchant_id=user().merchant_id, settings=settings, now=now)
    )
    cache.refresh_session(user().session.id_hash)
    flash("Business settings saved.", "success")
    return redirect(url_for(".business"), 303)


@bp.get("/preferences")
@merchant_required()
def preferences() -> ResponseReturnValue:
    form = PreferencesForm(name=user().session.name, theme=user().theme)
    return render_template("settings/preferences.html", form=form)


@bp.post("/preferences")
@merchant_required()
def save_preferences() -> ResponseReturnValue:
    form, someone, now = PreferencesForm(), user(), utc_now()
    if not form.validate_on_submit():
        return render_template("settings/preferences.html", form=form), 422
    run_transaction(
        lambda: accounts.set_preferences(
            user_id=someone.id,
            merchant_id=someone.merchant_id,
            name=checked(form.name),
            theme=form.theme.data,
            now=now,
        )
    )
    cache.refresh_session(someone.session.id_hash)
    flash("Preferences saved.", "success")
    return redirect(url_for(".preferences"), 303)


@bp.get("/security")
@merchant_required()
def security() -> ResponseReturnValue:
    return _security_page(PasswordForm(), 200)


@bp.post("/security/password")
@merchant_required()
@limits.failures_by_user
def change_password() -> ResponseReturnValue:
    form = PasswordForm()
    if not form.validate_on_submit():
        return _security_page(form, 422)
    try:
        token = sign_in_flow.change_password(
            session=user().session,
            current=(form.current.data or "")[:1000],
            password=form.password.data,
            now=utc_now(),
        )
    except PasswordWrong as refusal:
        add_error(form.current, refusal)
        return _security_page(form, 422)
    flash("Your password is changed and every other device is signed out.", "success")
    response = make_response(redirect(url_for(".security"), 303))
    access.set_session_cookie(response, token)
    return response


@bp.post("/security/sessions/<handle>/revoke")
@signed_in
def revoke_session(handle: str) -> ResponseReturnValue:
    someone = user()
    session_flow.revoke_session(
        user_id=someone.id, merchant_id=someone.session.merchant_id, handle=handle, now=utc_now()
    )
    flash("That device is signed out.", "success")
    return redirect(url_for(".security"), 303)


def _security_page(form: PasswordForm, status: int) -> ResponseReturnValue:
    now = utc_now()
    devices = [
        {
            "handle": handle_of(session.id_hash),
            "name": device_name(session.user_agent),
            "ip": session.ip,
            "seen_at": session.last_seen_at,
            "is_this": session.id == user().session_id,
        }
        for session in queries.list_sessions(user().id, now=now)
    ]
    html = render_template("settings/security.html", form=form, devices=devices, email=user().email)
    return html, status
