"""Play money for a new account of the sandbox."""

from functools import lru_cache

import urllib3
from flask import current_app

from portal.kernel.chain import ChainUnavailable

TIMEOUT_SECONDS = 5.0


@lru_cache(maxsize=1)
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(num_pools=1, maxsize=2)


def fund(address: str) -> None:
    """Let friendbot create the account.

    :raises ChainUnavailable: when it does not answer or refuses.
    """
    url = f"{current_app.config['TAGIH'].horizon_url}/friendbot"
    try:
        answer = _pool().request(
            "GET", url, fields={"addr": address}, timeout=TIMEOUT_SECONDS, retries=False, redirect=False
        )
    except urllib3.exceptions.HTTPError as failure:
        raise ChainUnavailable("The sandbox does not answer. Nothing was lost; try again.") from failure
    if answer.status != 200:
        raise ChainUnavailable(
            f"The sandbox refused to fund the account (status {answer.status}). Try again."
        )
