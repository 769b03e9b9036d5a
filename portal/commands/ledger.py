"""`flask --app wsgi ledger ...`."""

import click

from portal.commands.working import as_json, print_json, progress, working
from portal.kernel.refs import from_ref


@click.group()
def ledger() -> None:
    """The double-entry books."""


@ledger.command("verify")
@click.option("--merchant", help="Only the books of this one (mer_...).")
@as_json
def ledger_verify(merchant: str | None, is_json: bool) -> None:
    """Derive every invoice's state and every balance anew from the chain; exit 1 on any difference."""
    from portal.flows.verify_ledger import Difference, verify_ledger

    counts = {"payments": 0, "invoices": 0, "accounts": 0, "unread": 0}
    differences: list[Difference] = []
    with working():
        merchant_id = None if merchant is None else from_ref("mer", merchant)
        for step in verify_ledger(merchant_id=merchant_id):
            counts[step.what] += step.rows
            counts["unread"] += step.unread
            differences += step.differences
            progress(", ".join(f"{count} {what}" for what, count in counts.items()))
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
            f"{counts['invoices']} invoices, {counts['payments']} payments, {counts['accounts']} accounts,"
            f" {counts['unread']} unread, {len(differences)} differences"
        )
    if differences:
        raise SystemExit(1)
