"""axe-core on every page: light on a desktop, dark on a phone, which covers both themes and both layouts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.pages import PAGES, address_of, find_facts, sign_in
from tests.browser.running import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async (rules) => (await axe.run(document, {
    resultTypes: ["violations"], ...(rules.length ? {runOnly: {type: "rule", values: rules}} : {}),
})).violations.map(
    (each) => `${each.id}: ${each.nodes.map((node) => node.target.join(" ")).slice(0, 3).join(" | ")}`)"""
VIEWS = {
    "light on a desktop": (DESKTOP | {"color_scheme": "light"}, []),
    # The same documents once more: what theme and width may change is looked at, and no more.
    "dark on a phone": (
        PHONE | {"color_scheme": "dark"},
        ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"],
    ),
}


@pytest.fixture(scope="module")
def demo(portal) -> dict[str, str]:
    """A business with clients, invoices in every state and money that matched nothing."""
    seeded = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "seed", "--demo", "--json"],
        cwd=ROOT, env=portal.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert seeded.returncode == 0, seeded.stderr[-2000:]
    made = json.loads(seeded.stdout.strip().splitlines()[-1])
    return made | find_facts(url=portal.url, horizon=portal.horizon, api_key=made["api_key"])


@pytest.mark.parametrize("view", VIEWS)
def test_no_page_has_a_barrier_that_axe_can_see(portal, demo, chromium, view):
    assert AXE.exists(), "axe-core is a front-end package: make assets"
    script = Path(AXE).read_text()
    options, rules = VIEWS[view]
    context, stranger = chromium.new_context(**options), chromium.new_context(**options)
    page, public = context.new_page(), stranger.new_page()
    sign_in(page, url=portal.url, email=demo["email"], password=demo["password"])
    found, seen = {}, 0

    for each in PAGES:
        address = address_of(each, url=portal.url, facts=demo)
        assert address is not None, f"the demo business has nothing for {each.name}: {sorted(demo)}"
        tab = page if each.who == "merchant" else public
        answer = tab.goto(address)
        assert answer.status == 200 or each.name == "not-found", (each.name, answer.status)
        if each.opens:
            tab.locator(each.opens).first.click()
        tab.evaluate(script)
        violations = tab.evaluate(RUN, rules)
        seen += 1
        if violations:
            found[each.name] = violations

    context.close()
    stranger.close()
    assert found == {}
    assert seen == len(PAGES)
