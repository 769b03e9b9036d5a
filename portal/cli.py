"""The commands of `flask --app wsgi ...` (design, section 10).

The app that `flask` loads only carries them: each builds its own, as `portal_worker` or `portal_owner`.
"""

import os
import secrets
from pathlib import Path
from uuid import UUID

import click
from flask import Flask, g
from flask.cli import ScriptInfo

from config import SANDBOX_PASSPHRASE, Config, Role, gather_environment
from portal.app import create_app
from portal.commands.ledger import ledger
from portal.commands.mirror import mirror
from portal.commands.outbox import outbox
from portal.commands.payments import payments
from portal.commands.working import as_json, print_json, working
from portal.kernel.clock import utc_now
from portal.kernel.errors import Conflict

JOBS = ("relay", "watch", "verify", "sweep", "ready", "refunds", "books")


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

    with working() as app:
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
        print_json(said)
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
    with working():
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
        print_json([{"name": each.name, "rows": each.rows, "refs": list(each.refs)} for each in findings])
    if not all(finding.holds for finding in findings):
        raise SystemExit(1)
