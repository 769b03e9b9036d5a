"""`flask --app wsgi payments ...`."""

from typing import Any

import click

from config import Config
from portal.commands.working import as_json, print_json, working
from portal.kernel.chain import ChainContradiction, ChainUnavailable
from portal.kernel.clock import utc_now


@click.group()
def payments() -> None:
    """Money seen on the chain."""


@payments.command("explain")
@click.argument("transaction_hash")
@as_json
def payments_explain(transaction_hash: str, is_json: bool) -> None:
    """Say why a transaction counts or not, by its outer or inner hash; exit 1 when nobody knows it.

    What is not recorded is looked up on the network and judged for every merchant whose wallet it touches,
    without recording anything.
    """
    from portal.flows.explain_hash import explain_hash

    with working() as app:
        config: Config = app.config["TAGIH"]
        try:
            told = explain_hash(network=config.network, text=transaction_hash, now=utc_now())
        except (ChainUnavailable, ChainContradiction) as outage:
            if is_json:
                print_json({"transaction_hash": transaction_hash, "recorded": False, "error": outage.code})
            raise click.ClickException(
                f"It is not recorded, and the network gives no answer that counts ({outage.code}:"
                f" {outage.detail}). Try again later."
            ) from outage
    if is_json:
        print_json(told)
    else:
        for line in _lines(told):
            click.echo(line)
    if not told["found"]:
        raise SystemExit(1)


def _lines(told: dict[str, Any]) -> list[str]:
    if not told["found"]:
        lines = ["It is not recorded, and the network does not know it (yet)."]
    elif told["recorded"]:
        lines = [f"Recorded: transaction {told['canonical_hash']}."]
    else:
        lines = [
            f"Not recorded: transaction {told['canonical_hash']} of ledger {told['ledger']}, judged now."
        ]
    for payment in told["payments"]:
        lines += _of_payment(payment)
    for verdict in told.get("verdicts", ()):
        lines += _of_verdict(verdict)
    if told["found"] and not told["recorded"] and not told["verdicts"]:
        lines.append("It touches no wallet of any merchant here.")
    lines += [
        f"{each['merchant']} refund {each['id']} {each['status']}: {each['amount']} {each['asset']}"
        f" to {each['to']} of {each['payment']}"
        for each in told["refunds"]
    ]
    lines += [
        f"{each['merchant']} clawback: {each['amount']} {each['asset']} of {each['payment'] or 'no payment'}"
        for each in told["clawbacks"]
    ]
    return lines


def _of_payment(payment: dict[str, Any]) -> list[str]:
    head = (
        f"{payment['merchant']} {payment['id']} {payment['status']}{_because(payment)}: {payment['amount']}"
        f" {payment['asset']} from {payment['from']}"
    )
    lines = [head, *_rules(payment["rules"])]
    lines += [
        f"  -> {each['amount']} {each['source']} to {each['invoice']}" for each in payment["allocations"]
    ]
    decision = payment["decision"]
    if decision is not None:
        lines.append(
            f"  decided: {decision['action']} at {decision['decided_at']} {decision['note']}".rstrip()
        )
    return lines


def _of_verdict(verdict: dict[str, Any]) -> list[str]:
    if not verdict["transaction_ok"]:
        return [f"{verdict['merchant']} refused{_because(verdict)}", *_rules(verdict["rules"])]
    lines = []
    for each in verdict["credits"]:
        lines.append(
            f"{verdict['merchant']} would be {each['outcome']}{_because(each)}: {each['amount']} {each['asset']}"
            f" from {each['from']}"
        )
        lines += _rules(each["rules"])
    for each in verdict["clawbacks"]:
        lines.append(f"{verdict['merchant']} would lose {each['amount']} {each['asset']} by clawback")
    return lines or [f"{verdict['merchant']}: it brings nothing to this merchant's wallets, money left them."]


def _because(told: dict[str, Any]) -> str:
    return f" ({told['reason']})" if told["reason"] else ""


def _rules(rules: list[dict[str, Any]]) -> list[str]:
    lines = []
    for rule in rules:
        fields = ", ".join(f"{each['name']} = {each['value']}" for each in rule.get("fields", ()))
        lines.append(f"  {'yes' if rule['ok'] else 'NO '} {rule['code']}: {rule['detail']}")
        if fields:
            lines.append(f"      {fields}")
    return lines
