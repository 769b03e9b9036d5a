"""Logs: one JSON object a line on stderr, with the request's id and actor, secrets made unreadable."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from portal.kernel.actor import SYSTEM, current_actor

REDACTED = "[redacted]"
# Names whose values never belong in a log, whoever logs them.
_SECRET_NAMES = re.compile(
    r"password|secret|(?<!paging_)token|api_key|authorization|cookie|pepper|field_keys|signing_seed|totp",
    re.I,
)
# And secrets inside text: keys of ours, Stellar seeds, passwords in URLs, bearer headers.
_SECRET_TEXTS = re.compile(
    r"tgh_(?:test|live)_[0-9A-Za-z]+|\bS[A-Z2-7]{55}\b|(?<=://)[^/@\s:]+:[^@\s]+(?=@)|(?<=Bearer )\S+"
)
Event = MutableMapping[str, Any]


def configure_logs(*, level: int = logging.INFO) -> None:
    """Send structlog and the standard library's logging through the same lines; safe to repeat."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_actor,
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def redact(_logger: Any, _method: str, entry: Event) -> Event:
    """Make secrets unreadable, by the name of their field or by what they look like."""
    return {name: _clean(name, value) for name, value in entry.items()}


def _clean(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name) and value is not None:
        return REDACTED
    if isinstance(value, str):
        return _SECRET_TEXTS.sub(REDACTED, value)
    if isinstance(value, dict):
        return {key: _clean(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", each) for each in value]
    return value


def _add_actor(_logger: Any, _method: str, entry: Event) -> Event:
    actor = current_actor()
    if actor is not SYSTEM:
        entry.setdefault("actor", actor.name)
        if actor.request_id is not None:
            entry.setdefault("request_id", actor.request_id)
    return entry
