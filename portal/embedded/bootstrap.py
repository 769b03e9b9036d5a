"""What `make run` and `make test` do first: the virtual environment, pinned packages, assets, a browser.

Run by the machine's own python3 before anything is installed, so the standard library is all it uses.
Each step leaves a stamp, so the second time takes a moment.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# What the browser tests need beside Playwright: the browser, and a library of Playwright's own node.
DEBIAN_BROWSER = ("chromium", "libatomic1")


class SetUpRefused(Exception):
    """The set-up cannot go on; the sentence says what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="also what tests, checks and benchmarks need")
    parser.add_argument(
        "--browser", action="store_true", help="also Chromium, from Debian's packages when root"
    )
    chosen = parser.parse_args()
    try:
        with open(ROOT / ".set-up.lock", "w") as lock:
            # Two of the commands may be started at the same time.
            fcntl.flock(lock, fcntl.LOCK_EX)
            make_environment()
            install("requirements-dev.txt" if chosen.dev else "requirements.txt")
            make_assets()
            if chosen.browser:
                install_browser()
    except SetUpRefused as refusal:
        print(f"set-up: {refusal}", file=sys.stderr)
        return 1
    return 0


def make_environment() -> None:
    """Create .venv with pip; a half-made one is replaced."""
    # Run by whatever python3 the machine has, older ones too.
    if sys.version_info < (3, 11):  # noqa: UP036
        version = ".".join(str(part) for part in sys.version_info[:2])
        raise SetUpRefused(
            f"Python 3.11 or newer is needed, this is {version}. Set PYTHON to one, e.g. PYTHON=python3.11."
        )
    if (VENV / "bin" / "pip").exists() and _works([str(PYTHON), "-c", "import pip"]):
        return
    say("making .venv")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if _works(command):
        return
    # Debian keeps this part of Python in a package of its own.
    apt_install("python3-venv", why="`python3 -m venv` does not work here")
    if not _works(command):
        raise SetUpRefused(
            "`python3 -m venv .venv` fails even with Debian's python3-venv; run it to see why."
        )


def install(requirements: str) -> None:
    """Install exactly the pinned packages, each checked against its hash."""
    wanted = _stamp_of(ROOT / requirements)
    # The longer list holds the shorter one.
    for name in {requirements, "requirements-dev.txt"}:
        stamp = VENV / f".installed-{name}"
        if stamp.exists() and stamp.read_text() == _stamp_of(ROOT / name):
            return
    say(f"installing {requirements}")
    words = [
        str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
        "-r", str(ROOT / requirements),
    ]  # fmt: skip
    if subprocess.run(words, check=False).returncode != 0:
        raise SetUpRefused(f"pip could not install {requirements}; its own message is above.")
    (VENV / f".installed-{requirements}").write_text(wanted)


def make_assets() -> None:
    words = [str(PYTHON), "-m", "portal.embedded.assets"]
    if subprocess.run(words, cwd=ROOT, check=False).returncode != 0:
        raise SetUpRefused("the front-end packages could not be installed; the reason is above.")


def install_browser() -> None:
    """Install Chromium when this user may; without it the browser tests skip themselves and say so."""
    missing = [] if shutil.which("chromium") else ["chromium"]
    if not any(any(Path(folder).glob("*/libatomic.so.1")) for folder in ("/usr/lib", "/lib")):
        missing.append("libatomic1")
    if not missing:
        return
    try:
        apt_install(*missing, why="the browser tests need them")
    except SetUpRefused as refusal:
        say(f"{refusal} The browser tests will be skipped.")


def apt_install(*packages: str, why: str) -> None:
    """Install Debian packages, as root on Debian alone.

    :raises SetUpRefused: with the command to type, if this user may not or apt-get fails.
    """
    by_hand = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetUpRefused(f"{why}; as root, type: {by_hand}.")
    say(f"installing {', '.join(packages)} from Debian's packages")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["apt-get", "update", "-qq"], [*by_hand.split(), "-qq"]):
        done = subprocess.run(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip()[-300:]
            raise SetUpRefused(f"{why}, but `{' '.join(words)}` failed ({reason}).")


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _stamp_of(path: Path) -> str:
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()} {sys.version_info[0]}.{sys.version_info[1]}\n"


if __name__ == "__main__":
    raise SystemExit(main())
