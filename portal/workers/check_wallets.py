"""Asks the chain once an hour what each wallet can receive: account, trustline, authorisation, room, issuer."""

from datetime import datetime, timedelta

import structlog

from portal.db import run_transaction
from portal.domain.merchants import service
from portal.flows.check_readiness import Issuers, check_wallet
from portal.kernel.chain import ChainContradiction

log = structlog.get_logger()
# Each costs one request and one for each issuer that is new to the round.
BATCH = 10
# Ten wallets take seconds; what is not done by then was left by a worker that died.
LEASE = timedelta(minutes=5)


def run_once(now: datetime, *, network: str) -> int:
    """Look at up to 10 wallets whose hour is over and return how many were due.

    :raises ChainUnavailable: when the chain does not answer; the rest of the batch is due again after the lease.
    """
    due = run_transaction(
        lambda: service.claim_due_checks(network=network, now=now, lease=LEASE, limit=BATCH)
    )
    issuers = Issuers()
    for wallet in due:
        try:
            check_wallet(wallet=wallet, now=now, issuers=issuers)
        except ChainContradiction as contradiction:
            # A source that contradicts itself about one wallet keeps nobody else waiting.
            log.warning("wallet_not_checked", address=wallet.address, error=contradiction.detail)
    return len(due)
