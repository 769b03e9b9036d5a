"""Binds the API to an app: its routes, the guard of its keys, problem documents for every refusal."""

from flask import Blueprint, Flask

from portal.api.v1 import clients, events, invoices, openapi, payments, submissions
from portal.api.v1.auth import admit, note_use
from portal.api.v1.errors import handle
from portal.api.v1.limits import show_allowance
from portal.extensions import csrf

AREAS = (invoices.bp, submissions.bp, payments.bp, clients.bp, events.bp)


def init_api(app: Flask) -> None:
    app.extensions["api_error"] = handle
    for area in AREAS:
        _guard(area)
        app.register_blueprint(area, url_prefix="/api/v1")
    app.register_blueprint(openapi.bp, url_prefix="/api")


def _guard(area: Blueprint) -> None:
    """Put the hooks on an area, once: tests make more than one app of the same blueprints."""
    # A key in a header cannot be sent by another site's form, so there is nothing to forge.
    csrf.exempt(area)
    if admit not in area.before_request_funcs.get(None, []):
        area.before_request(admit)
        area.after_request(show_allowance)
        area.after_request(note_use)
