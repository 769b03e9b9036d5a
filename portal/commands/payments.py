"""`flask --app wsgi payments ...`."""

import click

from config import Config
from portal.commands.working import print_json, working


@click.group()
def payments() -> None:
    """Money seen on the chain."""


@payments.command("explain")
@click.argument("transaction_hash")
def payments_explain(transaction_hash: str) -> None:
    """Print the verdict of every credit of a stored transaction as JSON, by its outer or inner hash."""
    from portal.flows.explain_payment import explain_payment

    with working() as app:
        config: Config = app.config["TAGIH"]
        documents = explain_payment(network=config.network, text=transaction_hash)
    for document in documents:
        print_json(document)
    if not documents:
        raise click.ClickException("No payment of this transaction is recorded.")
