"""The chain source of this process: one pooled Horizon client with its breaker, made on first use."""

from flask import current_app

from portal.adapters.horizon import Horizon
from portal.kernel.chain import ChainSource

_KEY = "tagih_chain_source"


def chain_source() -> ChainSource:
    """Return the source that serves this instance's network."""
    source: ChainSource | None = current_app.extensions.get(_KEY)
    if source is None:
        config = current_app.config["TAGIH"]
        made = Horizon(config.horizon_url, passphrase=config.network_passphrase)
        # Of two threads that made one each, both use the first: its breaker and its budget count for all.
        source = current_app.extensions.setdefault(_KEY, made)
    return source
