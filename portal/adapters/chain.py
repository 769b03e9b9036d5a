"""The chain source of this process: one pooled Horizon client with its budget, made on first use."""

from contextlib import AbstractContextManager, nullcontext
from urllib.parse import urlsplit

from flask import current_app

from config import Config
from portal.adapters.horizon import Horizon
from portal.adapters.horizon_budget import SharedBudget
from portal.adapters.look_ups import LookUps
from portal.adapters.second_source import ConfirmedSource
from portal.kernel.chain import ChainSource
from portal.kernel.money import to_stroops

_KEY = "tagih_chain_source"
_LOOK_UPS_KEY = "tagih_look_ups"


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


def look_up_place() -> AbstractContextManager[float]:
    """Return one of the web process's few places for look-ups; a worker has as many as it likes.

    Entered, it tells the seconds it was waited for.
    """
    config: Config = current_app.config["TAGIH"]
    if config.role != "web":
        return nullcontext(0.0)
    look_ups: LookUps | None = current_app.extensions.get(_LOOK_UPS_KEY)
    if look_ups is None:
        look_ups = current_app.extensions.setdefault(_LOOK_UPS_KEY, LookUps(config.horizon_web_lookups))
    return look_ups.place()


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
