"""What the layouts show around every page: the entries of the rail, file addresses, the network's name.

Entries are named by the paths of the design and appear as soon as a page answers there, so an area
joins the rail by existing.
"""

import hashlib
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from flask import Flask, current_app, has_request_context, request, url_for

# Enough of SHA-256 to tell two versions of one file apart.
HASH_DIGITS = 12


@dataclass(frozen=True)
class Entry:
    """One line of the rail; `path` is its section, `also` another one in it, `key` what follows `g` on the keyboard."""

    path: str
    label: str
    icon: str
    key: str = ""
    group: str = ""
    also: str = ""


@dataclass(frozen=True)
class Link:
    """An entry that has a page: where it leads and whether this request is inside its section."""

    url: str
    path: str
    label: str
    icon: str
    key: str
    group: str
    current: bool


ENTRIES = (
    Entry("/home", "Home", "house", "h"),
    Entry("/invoices", "Invoices", "file-text", "i"),
    Entry("/links", "Payment links", "link-2", "l"),
    Entry("/clients", "Clients", "users", "c"),
    Entry("/payments", "Payments", "arrow-left-right", "p", also="/refunds"),
    Entry("/balances", "Balances", "scale"),
    Entry("/developers/keys", "API keys", "key-round", "d", "Developers"),
    Entry("/developers/webhooks", "Webhooks", "webhook", "", "Developers"),
    Entry("/developers/events", "Events", "clock", "", "Developers"),
    Entry("/reports", "Reports", "chart-column", "", "Business"),
    Entry("/team", "Team", "users", "", "Business"),
    Entry("/settings", "Settings", "settings", "s", "Business"),
)
# On phones four entries stay in the bar and the rest is under More; these are what a merchant opens most.
BAR_PATHS = ("/home", "/invoices", "/clients", "/payments")


def init_navigation(app: Flask) -> None:
    app.jinja_env.globals["asset"] = asset
    app.jinja_env.globals["network_label"] = network_label
    app.jinja_env.globals["has_page"] = has_page

    @app.context_processor
    def _navigation() -> dict[str, object]:
        # Mails are rendered by workers, where there is no request and no rail.
        if not has_request_context():
            return {}
        links = navigation()
        groups = [(name, list(members)) for name, members in groupby(links, lambda link: link.group)]
        return {
            "navigation": links,
            "navigation_groups": groups,
            "bar": [link for link in links if link.path in BAR_PATHS],
        }


def navigation() -> list[Link]:
    """Return the entries whose section has a page, marked when this request is inside it."""
    links = []
    for entry in ENTRIES:
        url = _pages().get(entry.path) or _first_inside(entry.path)
        if url is not None:
            inside = _is_inside(entry.path) or (entry.also != "" and _is_inside(entry.also))
            links.append(Link(url, entry.path, entry.label, entry.icon, entry.key, entry.group, inside))
    return links


def _is_inside(path: str) -> bool:
    return request.path == path or request.path.startswith(path + "/")


def has_page(path: str) -> bool:
    """Say whether a page without arguments answers GET at `path`, so that nothing links to a 404."""
    return path in _pages()


def asset(name: str) -> str:
    """Return the address of a file below static/ with its content's hash, so that it may be kept for ever."""
    folder = Path(current_app.static_folder or "static")
    return url_for("static", filename=name, v=_hash_of(folder / name))


def network_label() -> str:
    """Return the network in the words of the badge: Sandbox, Test network or Live network."""
    config = current_app.config.get("TAGIH")
    if config is None or config.is_sandbox:
        return "Sandbox"
    return "Live network" if config.network == "live" else "Test network"


def _pages() -> dict[str, str]:
    known: dict[str, str] | None = current_app.extensions.get("tagih_pages")
    if known is None:
        known = {
            rule.rule.rstrip("/") or "/": rule.rule
            for rule in current_app.url_map.iter_rules()
            if rule.methods and "GET" in rule.methods and not rule.arguments
        }
        current_app.extensions["tagih_pages"] = known
    return known


def _first_inside(path: str) -> str | None:
    return next((url for known, url in _pages().items() if known.startswith(path + "/")), None)


_hashes: dict[Path, tuple[tuple[int, int], str]] = {}


def _hash_of(path: Path) -> str | None:
    """Return the file's short hash, kept until size or time of change differ; None when it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    stamp = (status.st_mtime_ns, status.st_size)
    known = _hashes.get(path)
    if known is None or known[0] != stamp:
        known = (stamp, hashlib.sha256(path.read_bytes()).hexdigest()[:HASH_DIGITS])
        _hashes[path] = known
    return known[1]
