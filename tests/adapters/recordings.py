"""Real records of the public and test networks, on machines that have them."""

import json
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "horizon"
PASSPHRASES = {
    "pubnet": "Public Global Stellar Network ; September 2015",
    "testnet": "Test SDF Network ; September 2015",
    "standalone": "Standalone Network ; February 2017",
}
needs_recordings = pytest.mark.skipif(
    not FIXTURES.is_dir(),
    reason="the real Horizon records (../shared/fixtures/horizon) are not on this machine",
)
TRAPS = ("EDITED_", "UNVERIFIED_", "FOREIGN_")


def index(kind: str) -> list[dict[str, Any]]:
    if not FIXTURES.is_dir():
        return []
    return [entry for entry in json.loads((FIXTURES / "INDEX.json").read_text()) if entry["kind"] == kind]


def load(entry: dict[str, Any]) -> Any:
    return json.loads((FIXTURES / entry["file"]).read_text())


def is_trap(entry: dict[str, Any]) -> bool:
    return Path(entry["file"]).name.startswith(TRAPS)


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["file"] for entry in entries]


HONEST = [entry for entry in index("tx") if not is_trap(entry)]
TRAPPED = [entry for entry in index("tx") if is_trap(entry)]
