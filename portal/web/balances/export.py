"""Trial balance and statements as CSV; the columns keep to plain decimals and universal time."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from portal.db import enter_tenant
from portal.domain.ledger import queries as ledger
from portal.domain.ledger import statements
from portal.domain.ledger.statements import Account
from portal.flows.book_names import references_of
from portal.kernel.assets import asset_code, asset_issuer
from portal.kernel.clock import iso
from portal.kernel.money import format_units
from portal.kernel.refs import to_ref
from portal.web.balances.books import books_of
from portal.web.balances.words import journal_words
from portal.web.csv_files import line, safe_cell

# More than a spreadsheet is pleasant with; whoever needs more narrows the dates.
ROWS_MAX = 50_000
STATEMENT_COLUMNS = ("date", "what", "about", "reference", "debit", "credit", "balance", "asset_code")
TRIAL_COLUMNS = ("asset_code", "asset_issuer", "account", "meaning", "debit", "credit")


def trial_balance(*, merchant_id: UUID, network: str) -> str:
    """Return the trial balance of every asset, accounts at zero included."""
    accounts = ledger.list_trial_balance(merchant_id=merchant_id, network=network)
    pieces = [line(TRIAL_COLUMNS)]
    for book in books_of(accounts):
        code, issuer = asset_code(book.asset), asset_issuer(book.asset) or ""
        pieces += [
            line((code, issuer, each.name, each.meaning, format_units(each.debit), format_units(each.credit)))
            for each in (*book.lines, *book.settled)
        ]
    return "".join(pieces)


def statement(
    *, merchant_id: UUID, account: Account, since: datetime | None, until: datetime | None
) -> Iterator[str]:
    """Yield a statement in pieces, oldest entry first; the last line says when the limit cut it."""
    # The file is made while it is sent, when the session that the request had is closed already.
    enter_tenant(merchant_id=merchant_id)
    yield line(STATEMENT_COLUMNS)
    written = 0
    pages = statements.entries_from_the_beginning(
        merchant_id=merchant_id, account_id=account.id, since=since, until=until
    )
    for page in pages:
        entries = page[: ROWS_MAX - written]
        named = references_of(merchant_id=merchant_id, entries=entries)
        yield "".join(
            line(
                (
                    iso(entry.occurred_at),
                    journal_words(entry.kind, entry.is_reversal),
                    safe_cell(named[entry.reference_id].label if entry.reference_id in named else ""),
                    named[entry.reference_id].ref if entry.reference_id in named else "",
                    format_units(entry.debit),
                    format_units(entry.credit),
                    format_units(entry.balance),
                    asset_code(account.asset),
                )
            )
            for entry in entries
        )
        written += len(entries)
        if written == ROWS_MAX:
            yield line((f"Only the oldest {ROWS_MAX} entries are here; narrow the dates for the rest.",))
            return


def file_name(account: Account) -> str:
    return f"statement-{to_ref('acc', account.id)}.csv"
