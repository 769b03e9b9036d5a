"""The blueprint of the settings and what all its pages show."""

from flask import Blueprint, current_app, request

from portal.web.access import user

bp = Blueprint("settings", __name__, url_prefix="/settings")


@bp.context_processor
def _sections() -> dict[str, object]:
    """Offer the sections that this role may open, this one marked."""
    someone, config = user(), current_app.config["TAGIH"]
    sections = [
        ("Business", "business", someone.may("admin")),
        ("Payments", "payments", someone.may("admin")),
        ("Wallets", "wallets", True),
        ("Security", "security", True),
        ("Preferences", "preferences", True),
    ]
    here = request.path.split("/")[2:3]
    return {
        "sections": [
            (label, f"/settings/{name}", here == [name]) for label, name, is_open in sections if is_open
        ],
        "is_sandbox": config.is_sandbox,
        "passphrase": config.network_passphrase,
    }
