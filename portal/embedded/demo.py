"""The demo merchant of `make run`: made once, with an invoice that can be paid at every start."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from config import SANDBOX_PASSPHRASE
from portal.embedded import processes
from portal.embedded.home import write_private
from portal.kernel.errors import TagihError

HTTP_SECONDS = 10
FIELDS = ("merchant", "email", "password", "api_key", "wallet", "wallet_secret", "checkout")


class DemoRefused(TagihError):
    """There is no demo merchant; the portal runs all the same."""

    code = "demo_refused"


def demo_merchant(path: Path, environment: Mapping[str, str], *, store: str) -> dict[str, str]:
    """Return the demo merchant kept at `path`, made first if this `store` has none yet.

    :param store: says which database and network it lives in, so that another one gets its own.
    :raises DemoRefused: if the command fails.
    """
    if path.exists():
        kept: dict[str, str] = json.loads(path.read_text())
        if kept.get("store") == store:
            return kept
    # On the sandbox money is play money, so the demo may pay some of its invoices and look alive.
    is_sandbox = environment.get("STELLAR_NETWORK_PASSPHRASE") == SANDBOX_PASSPHRASE
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            "flask",
            "--app",
            "wsgi",
            "seed",
            "--json",
            *(["--demo"] if is_sandbox else []),
        ],
        cwd=Path(__file__).parents[2],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise DemoRefused(" ".join((made.stderr or made.stdout).split())[-processes.LOG_QUOTE_CHARACTERS :])
    demo = json.loads(made.stdout.strip().splitlines()[-1])
    kept = {name: str(demo.get(name) or "") for name in FIELDS} | {"store": store}
    write_private(path, json.dumps(kept, indent=1))
    return kept


def payable_checkout(demo: Mapping[str, str], *, base_url: str, local_url: str) -> str:
    """Return the address of a checkout that waits for money; a new invoice is issued if the last is settled.

    :raises DemoRefused: if the portal does not let one be made.
    """
    path = urlsplit(demo["checkout"]).path
    if path and _status(local_url + path) == "PENDING":
        return base_url + path
    body = {"amount": "25", "asset": "native", "description": "Three bags of Arabica (demo)", "issue": True}
    request = urllib.request.Request(
        f"{local_url}/api/v1/invoices",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {demo['api_key']}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as answer:
            invoice = json.load(answer)
    except (OSError, ValueError) as failure:
        raise DemoRefused(f"a demo invoice could not be issued ({failure})") from failure
    return base_url + urlsplit(str(invoice["checkout_url"])).path


def _status(checkout: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{checkout}/status", timeout=HTTP_SECONDS) as answer:
            status: str | None = json.load(answer).get("status")
            return status
    except (OSError, ValueError):
        # Gone with another database, or not served: a new one is made.
        return None
