"""The commands of `flask --app wsgi ...` (design, section 10).

The app that `flask` loads only carries them: each builds its own, as `portal_worker` or `portal_owner`.
"""

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from flask import Flask, g
from flask.cli import ScriptInfo

from config import SANDBOX_PASSPHRASE, Config, Role, gather_environment
from portal.app import create_app
from portal.kernel.actor import Actor, acting_as
from portal.kernel.clock import iso, utc_now
from portal.kernel.errors import Conflict, TagihError
from portal.kernel.refs import from_ref, to_ref

JOBS = ("relay", "watch", "verify", "sweep", "ready")
ROWS_MAX = 10_000
as_json = click.option("--json", "is_json", is_flag=True, help="Print machine-readable JSON instead of text.")


def register_commands(app: Flask) -> None:
    for command in (worker, sandbox, seed, invariants, mirror, ledger, outbox, payments):
        app.cli.add_command(command)
    # A web server loads this app too, and Alembic is not worth its memory there.
    if click.get_current_context(silent=True) is not None:
        app.cli.add_command(_migrations(), name="db")


def config_of_process() -> Config:
    """Return the settings for the app of wsgi.py: a web server's, which takes `portal_web` alone.

    Under `flask` that app only carries our commands, so it takes whichever role this process has a DSN of,
    the worker's first, which needs neither pages nor API. Flask's own `run`, `routes` and `shell` get the web's.
    """
    context = click.get_current_context(silent=True)
    if context is None or context.find_object(ScriptInfo) is None:
        return Config.from_env()
    # Flask's own commands load the app themselves; for ours it is loaded to find them.
    if context.parent is not None:
        return Config.from_env()
    present = gather_environment(dict(os.environ))
    order: tuple[tuple[Role, str], ...] = (
        ("worker", "DATABASE_WORKER_URL"),
        ("web", "DATABASE_URL"),
        ("owner", "DATABASE_OWNER_URL"),
    )
    return Config.from_env(next((role for role, name in order if present.get(name)), "worker"))


def _migrations() -> click.Group:
    """Return Flask-Migrate's group, run inside an app of portal_owner, which alone may migrate."""
    from flask_migrate.cli import db

    @click.pass_context
    def enter(context: click.Context, directory: str | None, x_arg: tuple[str, ...]) -> None:
        context.with_resource(create_app(Config.from_env("owner")).app_context())
        g.directory, g.x_arg = directory, x_arg

    return click.Group("db", commands=db.commands, params=db.params, callback=enter, help=db.help)


@contextmanager
def _working() -> Iterator[Flask]:
    """Enter an app of portal_worker; what a person can mend is said in a sentence."""
    app = create_app(Config.from_env("worker"))
    with app.app_context(), acting_as(Actor("command")):
        try:
            yield app
        except TagihError as refusal:
            raise click.ClickException(f"{refusal.code}: {refusal.detail}") from refusal


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def _progress(text: str) -> None:
    """Tell a person how far long work is; nothing where stderr is no terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r{text}", nl=False, err=True)


@click.command()
@click.option("--only", default=",".join(JOBS), help=f"Which jobs, comma-separated: {','.join(JOBS)}.")
def worker(only: str) -> None:
    """Relay events, watch the chain, verify submissions and sweep, until SIGTERM."""
    from portal.workers.runner import run_worker

    chosen = tuple(name.strip() for name in only.split(",") if name.strip())
    unknown = sorted(set(chosen) - set(JOBS))
    if unknown or not chosen:
        raise click.BadParameter(f"unknown job {', '.join(unknown) or only!r}", param_hint="--only")
    config = Config.from_env("worker")
    run_worker(create_app(config), config, chosen)


@click.command()
@click.option("--host", default="127.0.0.1")
@click.option("--port", default=8100, type=click.IntRange(1, 65535))
@click.option("--data", type=click.Path(dir_okay=False, path_type=Path), help="Its ledger's SQLite file.")
@click.option(
    "--close-seconds", default=1.0, type=click.FloatRange(0.05, 60), help="Time between two ledgers."
)
def sandbox(host: str, port: int, data: Path | None, close_seconds: float) -> None:
    """Serve the bundled Horizon with a simulated ledger, until SIGTERM."""
    from portal.sandbox.server import serve

    variables = gather_environment(dict(os.environ))
    path = data or Path(variables.get("VAR_DIR") or "var") / "sandbox.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    passphrase = variables.get("STELLAR_NETWORK_PASSPHRASE", SANDBOX_PASSPHRASE)
    click.echo(f"sandbox: http://{host}:{port}", err=True)
    try:
        serve(path, host=host, port=port, passphrase=passphrase, close_seconds=close_seconds)
    except Conflict as refusal:
        raise click.ClickException(refusal.detail) from refusal


@click.command()
@click.option("--email", help="Sign-in name of the owner; a fresh one by default.")
@click.option("--password", help="A random one by default.")
@click.option("--name", default="Kopi Selatan", help="The business' name.")
@click.option("--demo", is_flag=True, help="Add clients and invoices in several states, some really paid.")
@as_json
def seed(email: str | None, password: str | None, name: str, demo: bool, is_json: bool) -> None:
    """Make another merchant with a proven wallet, an API key and an open invoice."""
    from portal.domain.invoices.documents import checkout_url
    from portal.flows.demo_business import open_invoice
    from portal.flows.seed_merchant import seed_merchant

    with _working() as app:
        config: Config = app.config["TAGIH"]
        made = seed_merchant(
            email=email or f"demo-{secrets.token_hex(4)}@kopi-selatan.example",
            password=password or secrets.token_urlsafe(12),
            business_name=name,
            now=utc_now(),
        )
        if demo:
            _fill(config, made.merchant_id)
        opened = open_invoice(merchant_id=made.merchant_id, network=config.network, now=utc_now())
        said = {
            "merchant": made.merchant,
            "email": made.email,
            "password": made.password,
            "api_key": made.api_key,
            "wallet": made.wallet,
            "wallet_secret": made.wallet_secret,
            "checkout": checkout_url(opened.invoice.token),
        }
    if is_json:
        _print_json(said)
    else:
        for key, value in said.items():
            click.echo(f"{key:14} {value}")


def _fill(config: Config, merchant_id: UUID) -> None:
    from decimal import Decimal

    from stellar_sdk import IdMemo, Keypair

    from portal.domain.invoices.models import Invoice
    from portal.flows.demo_business import fill_business
    from portal.sandbox.client import fund, play_payment

    payer = Keypair.random()
    fund(config.horizon_url, payer.public_key)

    def pay(invoice: Invoice, amount: Decimal, has_reference: bool) -> str:
        assert invoice.destination is not None and invoice.pay_ref is not None
        memo = IdMemo(invoice.pay_ref) if has_reference else None
        return play_payment(
            config.horizon_url,
            config.network_passphrase,
            payer.secret,
            invoice.destination,
            "native",
            amount,
            memo,
        )

    fill_business(merchant_id=merchant_id, network=config.network, pay=pay, now=utc_now())


@click.command()
@as_json
def invariants(is_json: bool) -> None:
    """Run every invariant over all tenants; exit 1 when any row breaks one."""
    from portal.flows.invariants import check_invariants

    findings = []
    with _working():
        for finding in check_invariants():
            findings.append(finding)
            if not is_json:
                rest = "" if finding.rows <= len(finding.refs) else " ..."
                refs = " ".join(finding.refs)
                line = (
                    f"ok   {finding.name}"
                    if finding.holds
                    else f"FAIL {finding.name} {finding.rows} rows: {refs}{rest}"
                )
                click.echo(line)
    if is_json:
        _print_json([{"name": each.name, "rows": each.rows, "refs": list(each.refs)} for each in findings])
    if not all(finding.holds for finding in findings):
        raise SystemExit(1)


@click.group()
def mirror() -> None:
    """The copy of money events in MongoDB."""


@mirror.command("check")
@as_json
def mirror_check(is_json: bool) -> None:
    """Compare every event with its document, both ways; exit 1 on any difference."""
    from portal.flows.mirror_log import check_mirror

    with _working():
        found = check_mirror(now=utc_now(), progress=lambda done: _progress(f"{done} events"))
    if is_json:
        rows = [
            {"kind": each.kind, "collection": each.collection, "event": each.event}
            for each in found.differences
        ]
        _print_json({"events": found.events, "waiting": found.waiting, "differences": rows})
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

    with _working():
        written = rebuild_mirror(now=utc_now(), progress=lambda done: _progress(f"{done} events"))
    if is_json:
        _print_json({"documents": written})
    else:
        click.echo(f"{written} documents written")


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
    with _working():
        for step in verify_ledger():
            counts[step.what] += step.rows
            differences += step.differences
            _progress(f"{counts['invoices']} invoices, {counts['accounts']} accounts")
    if is_json:
        rows = [
            {"ref": each.ref, "figure": each.figure, "stored": each.stored, "derived": each.derived}
            for each in differences
        ]
        _print_json({**counts, "differences": rows})
    else:
        for each in differences:
            click.echo(f"FAIL {each.ref} {each.figure}: stored {each.stored}, derived {each.derived}")
        click.echo(
            f"{counts['invoices']} invoices, {counts['accounts']} accounts, {len(differences)} differences"
        )
    if differences:
        raise SystemExit(1)


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

    with _working():
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
        _print_json(listed)
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

    with _working():
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

    with _working():
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


@click.group()
def payments() -> None:
    """Money seen on the chain."""


@payments.command("explain")
@click.argument("transaction_hash")
def payments_explain(transaction_hash: str) -> None:
    """Print the verdict of every credit of a stored transaction as JSON, by its outer or inner hash."""
    from portal.flows.explain_payment import explain_payment

    with _working() as app:
        config: Config = app.config["TAGIH"]
        documents = explain_payment(network=config.network, text=transaction_hash)
    for document in documents:
        _print_json(document)
    if not documents:
        raise click.ClickException("No payment of this transaction is recorded.")
