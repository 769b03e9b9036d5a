"""`flask --app wsgi ledger ...`."""

import click

from portal.commands.working import as_json, print_json, progress, working


@click.group()
def ledger() -> None:
    """The double-entry books."""


@ledger.command("verify")
@as_json
def ledger_verify(is_json: bool) -> None:
    """Derive every invoice's money and every balance once more; exit 1 on any difference."""
    from portal.flows.verify_ledger import Difference, verify_ledger

    counts = {"invoices": 0, "accounts": 0}
    differences: list[Difference] = []
    with working():
        for step in verify_ledger():
            counts[step.what] += step.rows
            differences += step.differences
            progress(f"{counts['invoices']} invoices, {counts['accounts']} accounts")
    if is_json:
        rows = [
            {"ref": each.ref, "figure": each.figure, "stored": each.stored, "derived": each.derived}
            for each in differences
        ]
        print_json({**counts, "differences": rows})
    else:
        for each in differences:
            click.echo(f"FAIL {each.ref} {each.figure}: stored {each.stored}, derived {each.derived}")
        click.echo(
            f"{counts['invoices']} invoices, {counts['accounts']} accounts, {len(differences)} differences"
        )
    if differences:
        raise SystemExit(1)
