"""The chain source of this process: one pooled Horizon client with its budget, made on first use."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from urllib.parse import urlsplit

from flask import current_app

from config import Config
from portal.adapters.horizon import Horizon
from portal.adapters.horizon_budget import SharedBudget
from portal.adapters.second_source import ConfirmedSource
from portal.kernel.chain import ChainSource, ChainUnavailable
from portal.kernel.money import to_stroops

_KEY = "tagih_chain_source"
_SLOTS_KEY = "tagih_chain_look_ups"


def chain_source() -> ChainSource:
    """Return the source that serves this instance's network."""
    source: ChainSource | None = current_app.extensions.get(_KEY)
    if source is None:
        # Of two threads that made one each, both use the first: its connections and its door count for all.
        source = current_app.extensions.setdefault(_KEY, _make(current_app.config["TAGIH"]))
    return source


def second_source() -> ChainSource | None:
    """Return the source that must agree, or None when none is configured."""
    source = chain_source()
    return source.second if isinstance(source, ConfirmedSource) else None


@contextmanager
def look_up_slot() -> Iterator[None]:
    """Hold one of the web process's few look-ups; a worker process has as many as it likes.

    A slow Horizon would otherwise hold every thread for its 3 seconds and no page would be served.

    :raises ChainUnavailable: at once, when all are taken.
    """
    config: Config = current_app.config["TAGIH"]
    if config.role != "web":
        yield
        return
    slots = current_app.extensions.get(_SLOTS_KEY)
    if slots is None:
        slots = current_app.extensions.setdefault(_SLOTS_KEY, BoundedSemaphore(config.horizon_web_lookups))
    if not slots.acquire(blocking=False):
        raise ChainUnavailable("enough look-ups are under way")
    try:
        yield
    finally:
        slots.release()


def _make(config: Config) -> ChainSource:
    first = _horizon(config, config.horizon_url)
    if not config.horizon_second_url:
        return first
    return ConfirmedSource(
        first,
        _horizon(config, config.horizon_second_url),
        above_stroops=to_stroops(config.horizon_second_above),
    )


def _horizon(config: Config, url: str) -> Horizon:
    budget = SharedBudget(
        f"{config.network}/{urlsplit(url).netloc}", per_second=config.horizon_requests_per_second
    )
    return Horizon(url, passphrase=config.network_passphrase, budget=budget)
