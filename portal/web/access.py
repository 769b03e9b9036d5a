"""Who may call which page: every view carries one mark, a view without one stops start-up.

Marks are read before the view runs, so the order of decorators does not matter. A page for merchants has
its tenant, its actor and its time zone set before its first line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit
from uuid import UUID

from flask import Flask, Request, Response, current_app, g, redirect, request, url_for
from flask_login import current_user
from flask_login.utils import _get_user
from werkzeug.wrappers import Response as BaseResponse

from portal.db import enter_tenant
from portal.domain.merchants import rules
from portal.domain.merchants.queries import SessionView
from portal.extensions import login_manager
from portal.flows import sessions as session_flow
from portal.kernel.actor import Actor, set_actor
from portal.kernel.clock import utc_now
from portal.kernel.errors import Denied, NotFound
from portal.kernel.refs import to_ref

V = TypeVar("V", bound=Callable[..., Any])
Kind = Literal["public", "checkout", "api", "signed_in", "merchant"]
Permission = Literal["viewer", "accountant", "seller", "admin", "owner"]

# Design, section 11: accountants read and export, sellers create, neither touches settings.
ROLES_FOR: dict[Permission, frozenset[str]] = {
    "viewer": frozenset(rules.ROLES),
    "accountant": frozenset({"owner", "admin", "accountant"}),
    "seller": frozenset({"owner", "admin", "seller"}),
    "admin": frozenset({"owner", "admin"}),
    "owner": frozenset({"owner"}),
}
_MARK = "tagih_access"
NEXT_MAX = 500


class RoleRefused(Denied):
    code = "role_refused"


@dataclass(frozen=True, slots=True)
class Access:
    """A view's mark; `roles` is empty unless `kind` is merchant, `scopes` unless it is api."""

    kind: Kind
    roles: frozenset[str] = frozenset()
    step_up: bool = False
    scopes: tuple[str, ...] = ()


def public(view: V) -> V:
    """Anybody may call it."""
    return _mark(view, Access("public"))


def checkout_public(view: V) -> V:
    """Anybody who holds the unguessable link may call it; no session is read."""
    return _mark(view, Access("checkout"))


def api_access(*scopes: str) -> Callable[[V], V]:
    """Marks a view for holders of an API key with these scopes; `portal/api` does the checking."""
    return partial(_mark_with, Access("api", scopes=scopes))


def signed_in(view: V) -> V:
    """Anybody who is signed in may call it, with or without a business."""
    return _mark(view, Access("signed_in"))


def merchant_required(role: Permission = "viewer", *, step_up: bool = False) -> Callable[[V], V]:
    """Members of the current business whose role holds this permission may call it.

    `step_up` asks for the password again unless it was given within the last 10 minutes.
    """
    return partial(_mark_with, Access("merchant", roles=ROLES_FOR[role], step_up=step_up))


def access_of(view: Callable[..., Any]) -> Access | None:
    return cast("Access | None", getattr(view, _MARK, None))


def _mark(view: V, access: Access) -> V:
    setattr(view, _MARK, access)
    return view


def _mark_with(access: Access, view: V) -> V:
    return _mark(view, access)


class SignedIn:
    """`current_user` of a page: the person, the business they work in, and how fresh their sign-in is."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(self, session: SessionView) -> None:
        self.session = session
        self.id = session.user_id
        self.ref = to_ref("usr", session.user_id)
        self.name = session.name or session.email
        self.email = session.email
        self.merchant_name = session.merchant_name
        self.role = session.role
        self.network = session.network
        self.session_id = session.session_id
        self.theme = session.theme
        self.locale = session.locale
        self.time_zone = session.time_zone or "UTC"

    @property
    def merchant_id(self) -> UUID:
        assert self.session.merchant_id is not None, (
            "only pages marked with merchant_required have a merchant"
        )
        return self.session.merchant_id

    def get_id(self) -> str:
        return self.ref

    def may(self, permission: Permission) -> bool:
        """Say whether a page may offer what needs this permission."""
        return self.role in ROLES_FOR[permission]

    def is_fresh(self, now: datetime) -> bool:
        return now - self.session.confirmed_at < rules.STEP_UP_FRESH


def user() -> SignedIn:
    """Return who is signed in, typed; for views that are marked so."""
    signed = _get_user()
    assert isinstance(signed, SignedIn), "the view is not marked as for signed-in people"
    return signed


def cookie_name() -> str:
    return "__Host-tagih" if current_app.config["TAGIH"].is_production else "tagih_session"


def set_session_cookie(response: BaseResponse, token: str) -> None:
    response.set_cookie(
        cookie_name(),
        token,
        max_age=int(rules.SESSION_ABSOLUTE.total_seconds()),
        path="/",
        secure=current_app.config["TAGIH"].is_production,
        httponly=True,
        samesite="Lax",
    )


def clear_session_cookie(response: BaseResponse) -> None:
    response.delete_cookie(
        cookie_name(),
        path="/",
        secure=current_app.config["TAGIH"].is_production,
        httponly=True,
        samesite="Lax",
    )


def safe_next(target: str | None) -> str:
    """Return `target` if it is a path of this site, else the home page: a link must not lead elsewhere.

    Backslashes and control characters count as elsewhere, since browsers read `/\\host` and `/\\t/host` as
    another host.
    """
    home = "/home"
    if not target or len(target) > NEXT_MAX or not target.startswith("/") or target.startswith("//"):
        return home
    if "\\" in target or any(ord(character) < 33 or ord(character) == 127 for character in target):
        return home
    parts = urlsplit(target)
    return home if parts.scheme or parts.netloc else target


def init_access(app: Flask) -> None:
    """Guard every request of `app`; call after the extensions, so that their hooks run first."""
    login_manager.request_loader(_load_user)
    app.before_request(_guard)
    static = app.view_functions.get("static")
    if static is not None:
        public(static)


def check_every_route_is_marked(app: Flask) -> None:
    """:raises RuntimeError: naming the routes that say nothing about who may call them."""
    bare = sorted(name for name, view in app.view_functions.items() if access_of(view) is None)
    if bare:
        raise RuntimeError(f"views without a mark of portal.web.access: {', '.join(bare)}")


def _load_user(incoming: Request) -> SignedIn | None:
    token = incoming.cookies.get(cookie_name())
    if not token:
        return None
    session = session_flow.find_session(token, now=utc_now())
    return None if session is None else SignedIn(session)


def _guard() -> BaseResponse | None:
    _name_actor("anonymous")
    if request.url_rule is None or request.endpoint is None:
        return None
    access = access_of(current_app.view_functions[request.endpoint])
    if access is None:
        raise RoleRefused("Nobody may open this page.")
    if any("\x00" in str(part) for part in (request.view_args or {}).values()):
        # PostgreSQL refuses to compare a text with NUL, so nothing of ours is called that.
        raise NotFound("There is nothing at this address.")
    if access.kind in {"public", "checkout", "api"}:
        return None
    if not current_user.is_authenticated:
        return _to_sign_in()
    someone = user()
    enter_tenant(merchant_id=someone.session.merchant_id, user_id=someone.id)
    _name_actor(someone.ref)
    _dress(someone)
    if access.kind == "merchant":
        _check_role(someone, access)
    if access.step_up and not someone.is_fresh(utc_now()):
        return redirect(url_for("auth.confirm", next=_return_path()), 303)
    return None


def _dress(someone: SignedIn) -> None:
    """Tell the layouts who reads the page."""
    g.time_zone = someone.time_zone
    g.locale = someone.locale
    g.theme = someone.theme
    g.user_name = someone.name
    g.merchant_name = someone.merchant_name


def _check_role(someone: SignedIn, access: Access) -> None:
    if someone.role is None or someone.session.merchant_id is None:
        raise RoleRefused("You do not belong to a business any more. Ask its owner to invite you again.")
    if someone.role not in access.roles:
        allowed = [role for role in rules.ROLES if role in access.roles]
        raise RoleRefused(
            f"Your role is {someone.role}; this needs {' or '.join(allowed)}. An owner of"
            f" {someone.merchant_name} can change your role."
        )


def _name_actor(name: str) -> None:
    set_actor(
        Actor(
            name,
            ip=request.remote_addr,
            user_agent=request.headers.get("User-Agent"),
            request_id=g.get("request_id"),
        )
    )


def _to_sign_in() -> BaseResponse:
    target = url_for("auth.login", next=_return_path())
    if request.headers.get("HX-Request"):
        # A fragment cannot hold the sign-in page: the whole page goes there.
        return Response(status=204, headers={"HX-Redirect": target})
    return redirect(target, 303)


def _return_path() -> str:
    """Return where the person was: this page, or the page whose form was sent."""
    if request.method in {"GET", "HEAD"}:
        return safe_next(request.full_path.removesuffix("?"))
    referrer = urlsplit(request.referrer or "")
    if referrer.netloc == request.host:
        return safe_next(referrer.path + (f"?{referrer.query}" if referrer.query else ""))
    return "/home"
