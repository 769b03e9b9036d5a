"""Mail: by SMTP when `SMTP_URL` is set, else one .eml file each under `$VAR_DIR/mail`.

Mail leaves after the transaction that asked for it and, by SMTP, beside the request: how long a mail server
takes must not tell a stranger whether an address is known.
"""

import logging
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from flask import current_app, render_template

from config import Config
from portal.extensions import site
from portal.kernel.refs import new_id

log = logging.getLogger("tagih.mail")
SMTP_TIMEOUT_SECONDS = 10
SENDERS = 2
KEPT_SHOWN_MAX = 200
BODY_SHOWN_MAX = 20_000


@dataclass(frozen=True, slots=True)
class KeptMail:
    """A mail that was written to a file; `name` is the file's, without folder."""

    name: str
    to: str
    subject: str
    sent_at: str
    body: str


def send(template: str, *, to: str, now: datetime, **values: Any) -> None:
    """Send `templates/emails/<template>.txt`, whose first line is the subject, to one address.

    A mail that cannot be handed over is logged, not raised: the change it tells of has happened, and every
    page that sends a code offers to send another.
    """
    config = cast(Config, current_app.config["TAGIH"])
    text = render_template(f"emails/{template}.txt", site_url=site.public_base_url, **values)
    subject, _, body = text.partition("\n")
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = config.mail_from
    message["To"] = to
    message["Subject"] = subject.strip()
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain=parseaddr(config.mail_from)[1].partition("@")[2] or None)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body.strip() + "\n", cte="quoted-printable")
    if config.smtp_url:
        _senders().submit(_deliver, config.smtp_url, message)
    else:
        _keep(config.var_dir / "mail", message, now)


def list_kept(folder: Path) -> list[KeptMail]:
    """Return the newest mails of a folder, newest first."""
    names = sorted((path.name for path in folder.glob("*.eml")), reverse=True)[:KEPT_SHOWN_MAX]
    return [mail for name in names if (mail := find_kept(folder, name)) is not None]


def find_kept(folder: Path, name: str) -> KeptMail | None:
    """Return one mail by its file's name, or None; the name cannot leave the folder."""
    if Path(name).name != name or not name.endswith(".eml"):
        return None
    try:
        message = message_from_bytes((folder / name).read_bytes(), policy=policy.default)
    except OSError:
        return None
    part = message.get_body(preferencelist=("plain",))
    body = "" if part is None else str(part.get_content())
    header = {key: str(message.get(key, "")) for key in ("To", "Subject", "Date")}
    return KeptMail(name, header["To"], header["Subject"], header["Date"], body[:BODY_SHOWN_MAX])


def _keep(folder: Path, message: EmailMessage, now: datetime) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")
    unfinished = folder / f".{new_id().hex}"
    unfinished.write_bytes(bytes(message))
    # Whoever lists the folder sees whole mails alone.
    unfinished.rename(folder / f"{stamp}-{new_id().hex}.eml")


@lru_cache(maxsize=1)
def _senders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=SENDERS, thread_name_prefix="mail")


def _deliver(smtp_url: str, message: EmailMessage) -> None:
    """Hand one mail to the server of smtp://user:password@host:port (STARTTLS where offered) or smtps://."""
    url = urlsplit(smtp_url)
    secure = url.scheme == "smtps"
    host, port = url.hostname or "localhost", url.port or (465 if secure else 25)
    try:
        context = ssl.create_default_context()
        opening = (
            smtplib.SMTP_SSL(host, port, timeout=SMTP_TIMEOUT_SECONDS, context=context)
            if secure
            else smtplib.SMTP(host, port, timeout=SMTP_TIMEOUT_SECONDS)
        )
        with opening as server:
            server.ehlo()
            if not secure and server.has_extn("starttls"):
                server.starttls(context=context)
            if url.username:
                server.login(unquote(url.username), unquote(url.password or ""))
            server.send_message(message)
    except (smtplib.SMTPException, OSError):
        log.exception("a mail could not be handed to the mail server")
