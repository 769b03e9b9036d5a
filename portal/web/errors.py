"""One table that turns failures into pages; under /api/ the API's own handler answers instead.

Pages of this module touch neither the database nor Redis nor the session, so they show whatever is down.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from flask import Flask, current_app, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException

from portal.kernel import errors
from portal.web.navigation import has_page

STATUS_OF_FAMILY: dict[type[errors.TagihError], int] = {
    errors.Invalid: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Denied: 403,
    errors.Unauthenticated: 401,
    errors.Limited: 429,
    errors.Unavailable: 503,
}
API_PREFIX = "/api/"
# Whoever opens these has no account here, so our own pages are no help to him.
PAYER_PREFIXES = ("/i/", "/p/")
# A database that refused a connection is usually back within seconds.
RETRY_SECONDS = 10

ApiErrorHandler = Callable[[Exception], ResponseReturnValue]


@dataclass(frozen=True)
class Page:
    """The words of one status and its next step: `again` leads back, `start` to the first page."""

    title: str
    text: str
    step: str
    leads: str = "start"


PAGES = {
    400: Page("That request could not be read", "The browser sent something we could not make sense of. Nothing was changed.",
              "Go back and try again", "again"),
    401: Page("Please sign in", "This page is for people who are signed in. Nothing was changed.", "Sign in", "login"),
    403: Page("You may not open this", "Your role does not allow it. An owner or admin of the business can grant it in Settings.",
              "Go to the start page"),
    404: Page("There is nothing here", "The address may be mistyped, or the thing was removed, or it belongs to another business.",
              "Go to the start page"),
    405: Page("This page works differently", "It does not answer that kind of request. Nothing was changed.", "Go to the start page"),
    409: Page("That no longer fits", "The state changed since you opened the page. Nothing was changed by this attempt.",
              "Open the page again", "again"),
    413: Page("That is too large", "What you sent is larger than we accept. Nothing was saved.", "Go back and try again", "again"),
    415: Page("That format is not supported", "We cannot read what was sent. Nothing was saved.", "Go back and try again", "again"),
    422: Page("Something in that was not right", "Nothing was saved.", "Go back and try again", "again"),
    429: Page("Too many attempts", "To keep accounts safe we ask you to wait a little.", "Try again", "again"),
    500: Page("Something went wrong on our side", "Nothing you sent was half done: a change is saved whole or not at all. "
              "We have a record of the error.", "Try again", "again"),
    503: Page("We cannot answer right now", "A part of the system is not reachable. Payments on the network are safe "
              "and will be found when it is back.", "Try again", "again"),
}  # fmt: skip
FORM_EXPIRED = Page(
    "This form has expired",
    "It was open for a long time, or you signed in or out meanwhile. For your safety nothing was saved.",
    "Open the page again",
    "again",
)
PAYER_NOT_FOUND = Page(
    "There is no payment page here",
    "The link may be incomplete or mistyped. Please ask whoever sent it to you for the full link.",
    "",
)


def register_error_handlers(app: Flask) -> None:
    app.register_error_handler(errors.TagihError, _failure)
    app.register_error_handler(CSRFError, _form_expired)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(OperationalError, _database_away)
    app.register_error_handler(InterfaceError, _database_away)


def status_of(failure: errors.TagihError) -> int:
    """Return the status of the nearest family of a failure."""
    for family in type(failure).__mro__:
        if family in STATUS_OF_FAMILY:
            return STATUS_OF_FAMILY[family]
    return 500


def error_page(
    status: int, *, detail: str = "", page: Page | None = None, retry_after_seconds: int | None = None
) -> ResponseReturnValue:
    """Return the page of `status`; `detail` is a sentence for the reader that takes the place of the usual one."""
    if page is None:
        is_payer = status == 404 and request.path.startswith(PAYER_PREFIXES)
        page = PAYER_NOT_FOUND if is_payer else PAGES.get(status, PAGES[500 if status >= 500 else 400])
    html = render_template(
        "errors/page.html",
        status=status,
        page=page,
        text=detail or page.text,
        step_url=_step_url(page),
        minutes=None if retry_after_seconds is None else max(1, -(-retry_after_seconds // 60)),
    )
    response = make_response(html, status)
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response


def _failure(failure: errors.TagihError) -> ResponseReturnValue:
    if (answer := _api_answer(failure)) is not None:
        return answer
    status = status_of(failure)
    if status == 401 and request.method == "GET" and has_page("/login"):
        return redirect(_login_url(), 303)
    wait = failure.retry_after_seconds if isinstance(failure, errors.Limited) else None
    # What a stranger's 404 says must not depend on why it is one.
    return error_page(status, detail="" if status == 404 else failure.detail, retry_after_seconds=wait)


def _form_expired(failure: CSRFError) -> ResponseReturnValue:
    return _api_answer(failure) or error_page(400, page=FORM_EXPIRED)


def _http(failure: HTTPException) -> ResponseReturnValue:
    if (answer := _api_answer(failure)) is not None:
        return answer
    status = failure.code or 500
    # Redirects travel as exceptions too, and a view may abort with an answer of its own.
    if status < 400 or failure.response is not None:
        return failure.get_response()
    wait = int(getattr(failure, "retry_after", None) or 60) if status == 429 else None
    return error_page(status, retry_after_seconds=wait)


def _database_away(failure: Exception) -> ResponseReturnValue:
    current_app.logger.error("the database did not answer", exc_info=failure)
    unavailable = errors.Unavailable("The database does not answer.")
    unavailable.__cause__ = failure
    return _api_answer(unavailable) or error_page(503, retry_after_seconds=RETRY_SECONDS)


def _api_answer(failure: Exception) -> ResponseReturnValue | None:
    handler: ApiErrorHandler | None = current_app.extensions.get("api_error")
    if handler is None or not request.path.startswith(API_PREFIX):
        return None
    return handler(failure)


def _step_url(page: Page) -> str:
    match page.leads:
        case "login":
            return _login_url()
        case "again":
            return _page_before()
    return "/"


def _login_url() -> str:
    here = request.full_path.rstrip("?") if request.method == "GET" else _page_before()
    return "/login" if here == "/" else f"/login?next={quote(here, safe='/')}"


def _page_before() -> str:
    """Return the path the request came from: this one's own for GET, else the referrer's if it is ours."""
    if request.method in ("GET", "HEAD"):
        return request.full_path.rstrip("?")
    before = urlsplit(request.referrer or "")
    path = before.path if before.netloc == request.host else ""
    # "//host" would lead away although it has no scheme.
    if not path.startswith("/") or path.startswith("//"):
        return "/"
    return f"{path}?{before.query}" if before.query else path
