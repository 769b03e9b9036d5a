"""A real browser from Debian's packages for the tests marked `browser`."""

import shutil
from pathlib import Path

import pytest

PROGRAM = Path("/usr/bin/chromium")
# A container's /dev/shm is too small for Chromium, and root may not use its own sandbox.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def _reason_to_skip() -> str | None:
    if not PROGRAM.exists() and shutil.which("chromium") is None:
        return "Chromium is not installed: apt-get install chromium libatomic1"
    if not any(Path(folder).glob("*/libatomic.so.1") for folder in ("/usr/lib", "/lib")):
        return "libatomic1 is not installed: apt-get install libatomic1"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = _reason_to_skip()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=f"the browser group is skipped: {reason}"))


@pytest.fixture(scope="session")
def chromium():
    """A started browser; each test opens a context of its own: `chromium.new_context(...)`."""
    from playwright.sync_api import sync_playwright

    reason = _reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    program = str(PROGRAM) if PROGRAM.exists() else shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()
