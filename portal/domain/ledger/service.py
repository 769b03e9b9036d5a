"""Posts journals: accounts on first use, the entries, and the balances they move, in one statement."""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text

from portal.domain.ledger import queries
from portal.domain.ledger.rules import Posting, Side, account_id, is_balanced, reversed_postings
from portal.extensions import db
from portal.kernel.refs import new_id

# One round trip instead of five: posting is on the path of every issue and payment. Balances are taken in
# the order of their ids, the same in every transaction, so that two of them cannot wait for each other.
_POST = text(
    """
    WITH account AS (
        INSERT INTO ledger_accounts (id, merchant_id, network, kind, asset, owner_id)
        SELECT a.id, :merchant_id, :network, a.kind, :asset, a.owner_id
        FROM unnest(CAST(:account_ids AS uuid[]), CAST(:kinds AS text[]), CAST(:owners AS uuid[]))
            AS a (id, kind, owner_id)
        ON CONFLICT DO NOTHING
    ), journal AS (
        INSERT INTO ledger_journals (id, merchant_id, network, kind, reference_id, reverses_id, occurred_at)
        VALUES (:journal_id, :merchant_id, :network, :kind, :reference_id, :reverses_id, :at)
    ), entry AS (
        INSERT INTO ledger_entries (id, merchant_id, journal_id, account_id, asset, side, amount)
        SELECT e.id, :merchant_id, :journal_id, e.account_id, :asset, e.side, e.amount
        FROM unnest(CAST(:entry_ids AS uuid[]), CAST(:entry_accounts AS uuid[]), CAST(:sides AS text[]),
            CAST(:amounts AS numeric[])) AS e (id, account_id, side, amount)
    )
    INSERT INTO account_balances (account_id, merchant_id, balance, updated_at)
    SELECT b.account_id, :merchant_id, b.change, :at
    FROM unnest(CAST(:account_ids AS uuid[]), CAST(:changes AS numeric[])) AS b (account_id, change)
    ORDER BY b.account_id
    ON CONFLICT (account_id) DO UPDATE
    SET balance = account_balances.balance + excluded.balance,
        version = account_balances.version + 1,
        updated_at = excluded.updated_at
    """
)


def post(
    *,
    merchant_id: UUID,
    network: str,
    asset: str,
    kind: str,
    reference_id: UUID,
    postings: list[Posting],
    at: datetime,
    reverses_id: UUID | None = None,
) -> UUID:
    """Book one journal in one asset and return its id; the database checks the balance once more at commit."""
    assert is_balanced(postings), postings
    journal_id = new_id()
    changes: dict[tuple[str, UUID | None], Decimal] = defaultdict(Decimal)
    for each in postings:
        changes[each.kind, each.owner_id] += each.amount if each.side is Side.DEBIT else -each.amount
    ids = {
        key: account_id(merchant_id=merchant_id, network=network, kind=key[0], asset=asset, owner_id=key[1])
        for key in changes
    }
    db.session.execute(
        _POST,
        {
            "journal_id": journal_id,
            "merchant_id": merchant_id,
            "network": network,
            "asset": asset,
            "kind": kind,
            "reference_id": reference_id,
            "reverses_id": reverses_id,
            "at": at,
            "account_ids": [ids[key] for key in changes],
            "kinds": [key[0] for key in changes],
            "owners": [key[1] for key in changes],
            "changes": list(changes.values()),
            "entry_ids": [new_id() for _ in postings],
            "entry_accounts": [ids[each.kind, each.owner_id] for each in postings],
            "sides": [each.side.value for each in postings],
            "amounts": [each.amount for each in postings],
        },
    )
    return journal_id


def reverse(*, merchant_id: UUID, journal_id: UUID, at: datetime) -> UUID:
    """Book the opposite of a journal, which itself stays; a second reversal is refused by the database."""
    journal = queries.get_journal(merchant_id=merchant_id, journal_id=journal_id)
    return post(
        merchant_id=merchant_id,
        network=journal.network,
        asset=journal.asset,
        kind="reversal",
        reference_id=journal.reference_id,
        postings=reversed_postings(list(journal.postings)),
        at=at,
        reverses_id=journal_id,
    )
