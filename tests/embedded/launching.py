"""Running `python -m portal.embedded.services` as a child of a test."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Launcher:
    """A launcher and the URLs it printed."""

    process: subprocess.Popen[str]
    urls: dict[str, str]
    home: Path

    def pid_of(self, name: str) -> int:
        return int(json.loads((self.home / f"{name}.process.json").read_text())["pid"])


@contextmanager
def launched(
    folder: Path,
    *arguments: str,
    interpreter: Path | str = sys.executable,
    environment: dict[str, str] | None = None,
    **options: Any,
):
    """Start the servers, wait until they are ready, stop them at the end; AssertionError if they refuse."""
    process = subprocess.Popen(
        [str(interpreter), "-m", "portal.embedded.services", str(folder), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment or dict(os.environ),
        **options,
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        location = folder / "LOCATION"
        home = Path(location.read_text().strip()) if location.exists() else folder
        yield Launcher(process, json.loads(line), home)
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()
        process.stderr.close()
