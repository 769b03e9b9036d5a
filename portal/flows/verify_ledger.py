"""Derives the books once more from chain rows and people's decisions, and tells where the rows say something else.

In this order: what the chain says of each payment, refund and clawback (`verify_chain`); what each invoice then
received, its status, settlement and flags (`verify_invoices`); what each account then holds (`verify_accounts`).
Bounded pages, each of one moment, and nothing is held open between them: it runs beside the daily work.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import TextClause, text

from config import Config
from portal.db import release
from portal.extensions import db
from portal.flows import verify_accounts, verify_chain, verify_invoices
from portal.flows.differences import Corrections, Difference, Progress, units
from portal.kernel.chain import ChainContradiction
from portal.kernel.money import from_stroops

__all__ = ["BATCH", "Difference", "Progress", "verify_ledger", "verify_merchant"]

# A page of payments reads their envelopes: about a second of work.
BATCH = 500
_FIRST = UUID(int=0)
_MERCHANTS = text("SELECT id FROM merchants WHERE id > :after ORDER BY id LIMIT :limit")
# A transaction is stored because it brought or took money, so one that nothing names has lost its payments.
_ORPHANS = text(
    """
    SELECT t.*
    FROM chain_transactions t
    WHERE t.id > :after
        AND NOT EXISTS (SELECT FROM payments p WHERE p.transaction_id = t.id)
        AND NOT EXISTS (SELECT FROM refunds f WHERE f.transaction_id = t.id)
        AND NOT EXISTS (SELECT FROM clawbacks k WHERE k.transaction_id = t.id)
    ORDER BY t.id
    LIMIT :limit
    """
)
_OWNED = text("SELECT address FROM wallets WHERE network = :network AND address = ANY(:addresses)")


def verify_ledger(*, merchant_id: UUID | None = None) -> Iterator[Progress]:
    """Yield the differences page by page, of one merchant or of all; nothing is changed."""
    if merchant_id is not None:
        yield from verify_merchant(merchant_id)
        return
    for merchants in _pages(_MERCHANTS, {}):
        for row in merchants:
            yield from verify_merchant(row.id)
    for orphans in _pages(_ORPHANS, {}):
        passphrases = _passphrases()
        yield Progress(
            "payments", 0, tuple(each for row in orphans for each in _check_orphan(row, passphrases))
        )


def verify_merchant(merchant_id: UUID) -> Iterator[Progress]:
    """Yield the differences in the books of one merchant."""
    passphrases, found = _passphrases(), Corrections()
    scope = {"merchant_id": merchant_id}
    wallets = verify_chain.wallets_of(merchant_id)
    release()
    for rows in _pages(verify_chain.PAYMENTS, scope):
        differences, unread = verify_chain.check_payments(merchant_id, rows, wallets, passphrases, found)
        release()
        yield Progress("payments", len(rows), tuple(differences), unread)
    yield from _outgoing(merchant_id, passphrases)
    for rows in _pages(verify_invoices.INVOICES, scope):
        yield Progress(
            "invoices", len(rows), _each(rows, lambda row: verify_invoices.check_invoice(row, found))
        )
    balances = tuple(verify_accounts.check_balances(merchant_id, found))
    release()
    yield Progress("accounts", 0, balances)
    told = {each.ref for each in balances}
    for rows in _pages(verify_accounts.ACCOUNTS, scope):
        entered = _each(rows, verify_accounts.check_entries)
        yield Progress("accounts", len(rows), tuple(each for each in entered if each.ref not in told))


def _outgoing(merchant_id: UUID, passphrases: Mapping[str, str]) -> Iterator[Progress]:
    after = _FIRST
    while True:
        rows, differences = verify_chain.check_outgoing(merchant_id, after, BATCH, passphrases)
        release()
        if not rows:
            return
        yield Progress("payments", 0, tuple(differences))
        after = rows[-1].id


def _pages(statement: TextClause, scope: Mapping[str, Any]) -> Iterator[list[Any]]:
    after = _FIRST
    while True:
        rows = list(db.session.execute(statement, {**scope, "after": after, "limit": BATCH}).all())
        release()
        if not rows:
            return
        yield rows
        after = rows[-1].id


def _each(rows: list[Any], check: Callable[[Any], Iterator[Difference]]) -> tuple[Difference, ...]:
    return tuple(difference for row in rows for difference in check(row))


def _check_orphan(row: Any, passphrases: Mapping[str, str]) -> Iterator[Difference]:
    try:
        seen = verify_chain.read_stored(row, (), frozenset(), passphrases)
    except (verify_chain.Unreadable, ChainContradiction):
        return
    scope = {"network": row.network, "addresses": [credit.destination for credit in seen.credits]}
    owned = {each.address for each in db.session.execute(_OWNED, scope)}
    release()
    for credit in seen.credits:
        if credit.destination in owned:
            said = f"{units(from_stroops(credit.stroops))} {credit.asset}"
            place = f"credit {credit.operation_index}.{credit.credit_index}"
            yield Difference(seen.canonical_hash, place, "none", said)


def _passphrases() -> dict[str, str]:
    config: Config = current_app.config["TAGIH"]
    return {config.network: config.network_passphrase}
