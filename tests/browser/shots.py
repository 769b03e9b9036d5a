"""`python -m tests.browser.shots`: pictures of every page into shots/, with a sheet to look them over.

Takes them of the portal that `make run` has running (`$VAR_DIR/run.json`), else of one of its own, filled
with the demo business. Desktop and phone, light and dark. `--readme` renews the pictures of the README.
"""

import argparse
import html
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, sync_playwright

from bench.stack import make_folder, variables_for
from portal.embedded import processes
from portal.embedded.services import Services
from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.pages import PAGES, address_of, find_facts, sign_in
from tests.browser.running import ROOT, run_portal
from tests.support.chromium import ARGUMENTS

SHOTS = ROOT / "shots"
IMAGES = ROOT / "docs" / "img"
VIEWS = {
    f"{size}-{scheme}": {**options, "color_scheme": scheme}
    for size, options in (("desktop", DESKTOP), ("phone", PHONE))
    for scheme in ("light", "dark")
}
# What the README shows: picture, page, view, height of the cut in CSS pixels.
README = (
    ("checkout", "checkout", "desktop-light", 760),
    ("invoice", "invoice-paid", "desktop-light", 900),
    ("paid-phone", "checkout-paid", "phone-light", 844),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.shots", description=__doc__)
    parser.add_argument("--only", default="", help="names of pages, comma-separated")
    parser.add_argument("--views", default=",".join(VIEWS), help=f"of {', '.join(VIEWS)}")
    parser.add_argument("--own", action="store_true", help="start an own portal even when one is running")
    parser.add_argument("--readme", action="store_true", help="renew docs/img alone")
    chosen = parser.parse_args()
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium libatomic1")
    with find_portal(own=chosen.own) as facts, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        if chosen.readme:
            take_for_readme(browser, facts)
        else:
            wanted = set(filter(None, chosen.only.split(",")))
            take_all(browser, facts, wanted, chosen.views.split(","))
        browser.close()


@contextmanager
def find_portal(*, own: bool) -> Iterator[dict[str, str]]:
    """Give the facts of a running portal: url, email, password, api_key, horizon and what `find_facts` finds."""
    written = Path(os.environ.get("VAR_DIR", "var")) / "run.json"
    if written.exists() and not own:
        run = json.loads(written.read_text())
        yield run | find_facts(url=run["url"], horizon=run["horizon"], api_key=run["api_key"])
        return
    folder = make_folder()
    services = Services(folder / "services", durable=False)
    sandbox = None
    try:
        services.start()
        port = processes.free_port()
        environment = variables_for(services.urls(), folder, port)
        words = [sys.executable, "-m", "portal.embedded.sandbox", folder / "sandbox.sqlite", str(port)]
        sandbox = processes.spawn(
            [*words, environment["STELLAR_NETWORK_PASSPHRASE"]], log=folder / "sandbox.log",
            environment=environment, folder=ROOT,
        )  # fmt: skip
        _command(environment, "-m", "portal.embedded.migrate")
        with run_portal(environment, folder) as portal:
            seeded = json.loads(
                _command(portal.environment, "-m", "flask", "--app", "wsgi", "seed", "--demo", "--json")
            )
            run = seeded | {"url": portal.url, "horizon": portal.horizon}
            yield run | find_facts(url=run["url"], horizon=run["horizon"], api_key=run["api_key"])
    finally:
        if sandbox is not None:
            sandbox.terminate()
        services.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _command(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def _signed_in(browser: Browser, facts: dict[str, str]) -> Any:
    """Sign in once, because sign-ins are counted, and return what other contexts need to be the same person."""
    context = browser.new_context()
    sign_in(context.new_page(), url=facts["url"], email=facts["email"], password=facts["password"])
    state = context.storage_state()
    context.close()
    return state


def take_all(browser: Browser, facts: dict[str, str], wanted: set[str], views: list[str]) -> None:
    state = _signed_in(browser, facts)
    missing: list[str] = []
    for view in views:
        (SHOTS / view).mkdir(parents=True, exist_ok=True)
        member = browser.new_context(**VIEWS[view], storage_state=state)
        stranger = browser.new_context(**VIEWS[view])
        for page in PAGES:
            address = address_of(page, url=facts["url"], facts=facts)
            if wanted and page.name not in wanted:
                continue
            if address is None:
                missing.append(page.name)
                continue
            try:
                _take(
                    member if page.who == "merchant" else stranger,
                    address,
                    page.opens,
                    SHOTS / view / page.name,
                )
            except Error as failure:
                missing.append(f"{page.name} ({failure.message.splitlines()[0]})")
        member.close()
        stranger.close()
        print(f"shots: {view}", flush=True)
    (SHOTS / "index.html").write_text(_sheet(views))
    for name in sorted(set(missing)):
        print(f"shots: no picture of {name}")
    print(f"shots: {SHOTS / 'index.html'}")


def _take(context: Any, address: str, opens: str, path: Path) -> None:
    page = context.new_page()
    page.goto(address)
    if opens:
        page.locator(opens).first.click()
    page.screenshot(path=path.with_suffix(".png"), full_page=True)
    page.close()


def _sheet(views: list[str]) -> str:
    rows = []
    for page in PAGES:
        cells = "".join(
            f'<td><a href="{view}/{page.name}.png"><img loading="lazy" src="{view}/{page.name}.png" alt=""></a></td>'
            for view in views
        )
        rows.append(f"<tr><th>{html.escape(page.name)}</th>{cells}</tr>")
    head = "".join(f"<th>{view}</th>" for view in views)
    style = (
        "img{max-width:22rem;max-height:22rem;border:1px solid #999}td,th{vertical-align:top;padding:.5rem}"
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>Pictures of every page</title><style>{style}</style>"
        f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>\n"
    )


def take_for_readme(browser: Browser, facts: dict[str, str]) -> None:
    state = _signed_in(browser, facts)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for picture, name, view, height in README:
        page_of = next(page for page in PAGES if page.name == name)
        address = address_of(page_of, url=facts["url"], facts=facts)
        assert address is not None, name
        context = browser.new_context(**VIEWS[view], storage_state=state)
        page = context.new_page()
        page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
        page.goto(address)
        page.screenshot(path=IMAGES / f"{picture}.png")
        context.close()
        print(
            f"shots: docs/img/{picture}.png, {(IMAGES / picture).with_suffix('.png').stat().st_size // 1024} KiB"
        )


if __name__ == "__main__":
    main()
