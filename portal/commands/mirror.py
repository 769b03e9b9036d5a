"""`flask --app wsgi mirror ...`."""

import click

from portal.commands.working import as_json, print_json, progress, working
from portal.kernel.clock import utc_now


@click.group()
def mirror() -> None:
    """The copy of money events in MongoDB."""


@mirror.command("check")
@as_json
def mirror_check(is_json: bool) -> None:
    """Compare every event with its document, both ways; exit 1 on any difference."""
    from portal.flows.mirror_log import check_mirror

    with working():
        found = check_mirror(now=utc_now(), progress=lambda done: progress(f"{done} events"))
    if is_json:
        rows = [
            {"kind": each.kind, "collection": each.collection, "event": each.event}
            for each in found.differences
        ]
        print_json({"events": found.events, "waiting": found.waiting, "differences": rows})
    else:
        for each in found.differences:
            click.echo(f"FAIL {each.kind} {each.collection} {each.event}")
        click.echo(f"{found.events} events, {found.waiting} waiting, {len(found.differences)} differences")
    if found.differences:
        raise SystemExit(1)


@mirror.command("rebuild")
@as_json
def mirror_rebuild(is_json: bool) -> None:
    """Write every document anew from PostgreSQL and remove what has no event."""
    from portal.flows.mirror_log import rebuild_mirror

    with working():
        written = rebuild_mirror(now=utc_now(), progress=lambda done: progress(f"{done} events"))
    if is_json:
        print_json({"documents": written})
    else:
        click.echo(f"{written} documents written")
