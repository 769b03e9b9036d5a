"""`flask --app wsgi outbox ...`."""

from uuid import UUID

import click

from portal.commands.working import as_json, print_json, working
from portal.kernel.clock import iso, utc_now
from portal.kernel.refs import from_ref, to_ref

ROWS_MAX = 10_000


@click.group()
def outbox() -> None:
    """Events on their way to their consumers."""


@outbox.command("list")
@click.option("--state", default="DEAD", type=click.Choice(["PENDING", "DONE", "DEAD", "DISCARDED"]))
@click.option("--limit", default=50, type=click.IntRange(1, ROWS_MAX))
@as_json
def outbox_list(state: str, limit: int, is_json: bool) -> None:
    """List rows, the oldest first."""
    from portal.domain.events import outbox as rows

    with working():
        found = rows.list_entries(state=state, limit=limit)
        listed = [
            {
                "event": to_ref("evt", entry.event_id),
                "type": event_type,
                "consumer": entry.consumer,
                "state": entry.state,
                "attempts": entry.attempts,
                "next_attempt_at": iso(entry.next_attempt_at),
                "last_error": entry.last_error,
            }
            for entry, event_type in found
        ]
    if is_json:
        print_json(listed)
    else:
        for row in listed:
            error = row["last_error"] or ""
            click.echo(
                f"{row['state']} {row['event']} {row['consumer']} {row['type']} {row['attempts']} {error}"
            )


_events = click.argument("events", nargs=-1)
_all = click.option("--all", "is_all", is_flag=True, help="Every dead row.")
_consumer = click.option("--consumer", help="Only the rows of this consumer.")


@outbox.command("retry")
@_events
@_all
@_consumer
def outbox_retry(events: tuple[str, ...], is_all: bool, consumer: str | None) -> None:
    """Give dead rows of EVENTS (evt_...) their tries back."""
    from portal.db import run_transaction
    from portal.domain.events import outbox as rows

    with working():
        ids = _dead(events, is_all, consumer)
        moved = run_transaction(lambda: rows.retry_dead(entry_ids=ids, now=utc_now()))
    click.echo(f"{moved} rows will be tried again")


@outbox.command("discard")
@_events
@_all
@_consumer
@click.option("--reason", required=True, help="Kept with the row.")
def outbox_discard(events: tuple[str, ...], is_all: bool, consumer: str | None, reason: str) -> None:
    """Give dead rows of EVENTS (evt_...) up for good."""
    from portal.db import run_transaction
    from portal.domain.events import outbox as rows

    with working():
        ids = _dead(events, is_all, consumer)
        moved = run_transaction(lambda: rows.discard_dead(entry_ids=ids, reason=reason, now=utc_now()))
    click.echo(f"{moved} rows discarded")


def _dead(events: tuple[str, ...], is_all: bool, consumer: str | None) -> list[UUID]:
    from portal.db import release
    from portal.domain.events import outbox as rows

    if bool(events) == is_all:
        raise click.UsageError("Name events (evt_...) or give --all.")
    ids = [from_ref("evt", ref) for ref in events]
    found = rows.find_dead(event_ids=ids, consumer=consumer, limit=ROWS_MAX)
    release()
    return found
