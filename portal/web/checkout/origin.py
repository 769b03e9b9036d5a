"""Forms without a session have no CSRF token: what comes from another site is refused by what browsers say."""

from urllib.parse import urlsplit

from flask import Request

from portal.extensions import site
from portal.kernel.errors import Denied

# "none" is a person's own doing (a bookmark, the address bar); absent headers are programs and old browsers.
_OWN_SITES = frozenset({"same-origin", "none"})


class ForeignOrigin(Denied):
    code = "foreign_origin"


def refuse_foreign(request: Request) -> None:
    """:raises ForeignOrigin: when `Origin` or `Sec-Fetch-Site` is there and names another site."""
    fetch_site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    own = {_origin_of(site.public_base_url), _origin_of(request.host_url)}
    if (fetch_site is not None and fetch_site not in _OWN_SITES) or (
        origin is not None and origin not in own
    ):
        raise ForeignOrigin(
            "This form was sent from another site. Open the payment page and send it from there."
        )


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
