"""A browser of the tests: it takes tokens from forms as a person's browser does, from an address of its own."""

import html
import re
import secrets
from email import message_from_bytes, policy
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from tests.support.builders import Shop, make_member, make_shop
from tests.support.builders import sign_in as give_session

PASSWORD = "a long enough sentence"
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"|name="csrf_token" type="hidden" value="([^"]+)"')


class Browser:
    """One visitor; limits are counted per address, so each test has one of its own."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.ip = ".".join(str(secrets.randbelow(250) + 1) for _ in range(4))

    def get(self, path: str, **options: Any):
        return self.client.get(path, environ_overrides={"REMOTE_ADDR": self.ip}, **options)

    def post(
        self, path: str, fields: dict[str, Any] | None = None, *, form_on: str = "/login", **options: Any
    ):
        """Send a form with the token of the page it stands on (any page of the same visitor has a good one)."""
        page = self.get(form_on, follow_redirects=True).text
        found = _TOKEN.search(page)
        assert found, f"{form_on} shows no form"
        data = {"csrf_token": html.unescape(found[1] or found[2]), **(fields or {})}
        return self.client.post(path, data=data, environ_overrides={"REMOTE_ADDR": self.ip}, **options)

    @property
    def token(self) -> str | None:
        cookie = self.client.get_cookie("tagih_session")
        return None if cookie is None else cookie.value


def mails_to(app: Flask, address: str) -> list[str]:
    """Return the texts of the mails to one address, newest first, subject first."""
    found = []
    for path in sorted((app.config["TAGIH"].var_dir / "mail").glob("*.eml"), reverse=True):
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        if message["To"] == address:
            found.append(f"{message['Subject']}\n{message.get_content()}")
    return found


def code_in(text: str) -> str:
    return re.search(r"\b(\d{6})\b", text)[1]


def new_email() -> str:
    return f"rina-{secrets.token_hex(6)}@kopi.example"


def sign_up(browser: Browser, email: str, **changes: str):
    fields = {
        "business_name": "Kopi Nusantara", "name": "Rina", "email": email, "password": PASSWORD,
        "time_zone": "Asia/Jakarta", **changes,
    }  # fmt: skip
    return browser.post("/signup", fields, form_on="/signup")


def verify(browser: Browser, email: str):
    code = code_in(mails_to(browser.app, email)[0])
    return browser.post("/verify", {"email": email, "code": code}, form_on="/verify")


def new_member(app: Flask, *, email: str | None = None) -> tuple[Browser, str]:
    """Return a browser signed in as a freshly verified owner, with the address."""
    browser, address = Browser(app), email or new_email()
    assert sign_up(browser, address).status_code == 303
    assert verify(browser, address).status_code == 303
    return browser, address


def browser_of(app: Flask, *, role: str = "owner", shop: Shop | None = None) -> tuple[Browser, Shop]:
    """Return a browser signed in with a role, without going through the forms."""
    with app.app_context():
        place = shop or make_shop(wallet=False)
        person = make_member(place, role=role)
    browser = Browser(app)
    give_session(browser.client, person)
    return browser, person
