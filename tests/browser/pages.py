"""Every page of the portal, for pictures and for the accessibility check.

`find_facts` asks a running portal, filled with the demo business, for the refs that addresses need.
"""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

Who = Literal["anybody", "merchant"]


@dataclass(frozen=True)
class PageOf:
    """`path` may name facts in braces; `opens` is clicked before the picture is taken."""

    name: str
    path: str
    who: Who = "merchant"
    opens: str = ""


PAGES = (
    PageOf("login", "/login", "anybody"),
    PageOf("signup", "/signup", "anybody"),
    PageOf("verify", "/verify", "anybody"),
    PageOf("reset", "/reset", "anybody"),
    PageOf("not-found", "/i/0123456789abcdef0123", "anybody"),
    PageOf("mails", "/dev/mail", "anybody"),
    PageOf("checkout", "{checkout_pending}", "anybody"),
    PageOf("checkout-claim", "{checkout_pending}", "anybody", "[data-claim] > summary"),
    PageOf("checkout-partly", "{checkout_partial}", "anybody"),
    PageOf("checkout-paid", "{checkout_paid}", "anybody"),
    PageOf("checkout-cancelled", "{checkout_cancelled}", "anybody"),
    PageOf("wallet", "{wallet}", "anybody"),
    PageOf("wallet-pay", "{wallet}?uri={pay_uri}", "anybody"),
    PageOf("home", "/home"),
    PageOf("invoices", "/invoices"),
    PageOf("invoices-none-match", "/invoices?q=nothing+like+this"),
    PageOf("invoice-new", "/invoices/new"),
    PageOf("invoice-draft", "/invoices/{invoice_draft}"),
    PageOf("invoice-edit", "/invoices/{invoice_draft}/edit"),
    PageOf("invoice-pending", "/invoices/{invoice_pending}"),
    PageOf("invoice-partly", "/invoices/{invoice_partial}"),
    PageOf("invoice-paid", "/invoices/{invoice_paid}"),
    PageOf("invoice-record", "/invoices/{invoice_partial}", opens="#record details:last-of-type > summary"),
    PageOf("invoice-move", "/invoices/{invoice_partial}/move-to-credit"),
    PageOf("invoice-cancel", "/invoices/{invoice_pending}/cancel"),
    PageOf("clients", "/clients"),
    PageOf("client", "/clients/{client}"),
    PageOf("client-new", "/clients/new"),
    PageOf("payments", "/payments"),
    PageOf("payment", "/payments/{payment}"),
    PageOf("unmatched", "/payments/unmatched"),
    PageOf("payment-unmatched", "/payments/{unmatched}"),
    PageOf("payment-match", "/payments/{unmatched}/match?invoice={invoice_partial}"),
    PageOf("payment-split", "/payments/{unmatched}/split"),
    PageOf("refunds", "/refunds"),
    PageOf("refund-new", "/payments/{payment}/refunds/new"),
    PageOf("balances", "/balances"),
    PageOf("balances-accounts", "/balances/accounts?kind=receivable&asset=native"),
    PageOf("statement", "/balances", opens=".table a >> nth=0"),
    PageOf("keys", "/developers/keys"),
    PageOf("key-new", "/developers/keys/new"),
    PageOf("settings-business", "/settings"),
    PageOf("settings-payments", "/settings/payments"),
    PageOf("settings-wallets", "/settings/wallets"),
    PageOf("settings-wallet-new", "/settings/wallets/new"),
    PageOf("settings-security", "/settings/security"),
    PageOf("settings-preferences", "/settings/preferences"),
)


def find_facts(*, url: str, horizon: str, api_key: str) -> dict[str, str]:
    """Return the facts that the portal at `url` has; addresses that need others cannot be opened."""

    def ask(path: str) -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"{url}/api/v1{path}", headers={"Authorization": f"Bearer {api_key}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]
        return found

    facts = {"wallet": f"{horizon}/wallet"}
    for invoice in ask("/invoices?limit=100"):
        state = "partial" if invoice["settlement"] == "PARTIAL" else invoice["status"].lower()
        if f"invoice_{state}" in facts and not invoice["client"]:
            continue
        facts[f"invoice_{state}"] = invoice["id"]
        facts[f"checkout_{state}"] = invoice["checkout_url"]
        if state == "pending":
            facts["pay_uri"] = quote(invoice["pay_to"]["uri"], safe="")
    paths = {
        "client": "/clients",
        "payment": "/payments?status=CONFIRMED",
        "unmatched": "/payments?status=UNMATCHED",
    }
    for name, path in paths.items():
        for each in ask(path):
            facts[name] = each["id"]
    return facts


def address_of(page: PageOf, *, url: str, facts: dict[str, str]) -> str | None:
    """Return the page's address, or None when this portal has nothing to show there."""
    try:
        path = page.path.format(**facts)
    except KeyError:
        return None
    return path if path.startswith("http") else url + path


def sign_in(page: Any, *, url: str, email: str, password: str) -> None:
    page.goto(f"{url}/login")
    page.locator("#email").fill(email)
    page.locator("#password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/home")
