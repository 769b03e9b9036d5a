"""API keys: listed by their public part, made and shown once, revoked for good."""

from flask import Blueprint, current_app, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal.db import run_transaction
from portal.domain.api_keys import queries, rules, service
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref, to_ref
from portal.web.access import merchant_required, user
from portal.web.developers.forms import WORDS, KeyForm
from portal.web.forms import checked

bp = Blueprint("developers", __name__, url_prefix="/developers")


@bp.get("/keys")
@merchant_required(role="admin")
def keys() -> ResponseReturnValue:
    someone, now = user(), utc_now()
    found = queries.list_keys(someone.merchant_id, someone.network)
    rows = [
        {
            "ref": to_ref("key", key.id),
            "key": key,
            "is_usable": rules.is_usable(revoked_at=key.revoked_at, expires_at=key.expires_at, now=now),
        }
        for key in found
    ]
    return render_template(
        "developers/keys.html", rows=rows, base_url=current_app.config["TAGIH"].public_base_url
    )


@bp.get("/keys/new")
@merchant_required(role="admin", step_up=True)
def new_key() -> ResponseReturnValue:
    form = KeyForm(scopes=list(rules.SCOPES))
    return render_template("developers/key_new.html", form=form, words=WORDS)


@bp.post("/keys")
@merchant_required(role="admin", step_up=True)
def create_key() -> ResponseReturnValue:
    """Answer with the page itself: the key is shown once and stored nowhere, so no redirect can carry it."""
    form, someone, now = KeyForm(), user(), utc_now()
    if not form.validate_on_submit():
        return render_template("developers/key_new.html", form=form, words=WORDS), 422
    key, text = run_transaction(
        lambda: service.create_key(
            merchant_id=someone.merchant_id,
            network=someone.network,
            name=checked(form.name),
            scopes=form.scopes.data,
            created_by=someone.id,
            expires_at=form.expires_at(now),
            now=now,
        )
    )
    base_url = current_app.config["TAGIH"].public_base_url
    return render_template("developers/key_shown.html", key=key, text=text, base_url=base_url), 201


@bp.get("/keys/<key_ref>/revoke")
@merchant_required(role="admin", step_up=True)
def confirm_revoke(key_ref: str) -> ResponseReturnValue:
    key = queries.get_key(user().merchant_id, from_ref("key", key_ref))
    return render_template("developers/key_revoke.html", key=key, key_ref=key_ref)


@bp.post("/keys/<key_ref>/revoke")
@merchant_required(role="admin", step_up=True)
def revoke_key(key_ref: str) -> ResponseReturnValue:
    someone, now = user(), utc_now()
    key = run_transaction(
        lambda: service.revoke_key(merchant_id=someone.merchant_id, key_id=from_ref("key", key_ref), now=now)
    )
    flash(f"The key {key.name} is revoked. Programs that use it are refused from now on.", "success")
    return redirect(url_for(".keys"), 303)
