"""`python -m tests.mutation`: change the rules about money one token at a time; some test must notice each change.

mutmut works on a copy under var/mutation, so that whoever uses the working tree meanwhile is not disturbed,
and with the pure tests alone: they need no servers. What is mutated, and by which tests it is judged, stands
in pyproject.toml.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = ROOT / "var" / "mutation"
PERCENT_MIN = 85
# A mutant that never ends is noticed like one that fails.
KILLED = frozenset({"killed", "timeout"})
MUTMUT = (sys.executable, "-m", "mutmut")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--survivors", action="store_true", help="also show each change that no test noticed")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="how many tests run side by side"
    )
    chosen = parser.parse_args()
    began = time.monotonic()
    modules = make_workspace()
    log = WORKSPACE / "run.log"
    with log.open("wb") as output:
        command = [*MUTMUT, "run", "--max-children", str(chosen.jobs)]
        run = subprocess.run(command, cwd=WORKSPACE, stdout=output, stderr=output, check=False)
    if run.returncode != 0:
        print(log.read_text(errors="replace")[-4000:])
        return run.returncode
    fates = read_fates()
    if chosen.survivors:
        show_survivors(fates)
    return report(modules, fates, time.monotonic() - began)


def make_workspace() -> list[str]:
    """Copy what is mutated and its tests, and return the modules' names."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    WORKSPACE.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", WORKSPACE)
    shutil.copytree(ROOT / "portal", WORKSPACE / "portal", ignore=shutil.ignore_patterns("__pycache__"))
    for name in settings["pytest_add_cli_args_test_selection"]:
        copy = WORKSPACE / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    return [path.removesuffix(".py").replace("/", ".") for path in settings["only_mutate"]]


def read_fates() -> dict[str, str]:
    """Return what became of each mutant, by its name."""
    command = [*MUTMUT, "results", "--all", "true"]
    listed = subprocess.run(command, cwd=WORKSPACE, capture_output=True, text=True, check=True).stdout
    lines = (line.strip().partition(": ") for line in listed.splitlines() if "__mutmut_" in line)
    return {name: fate for name, _, fate in lines}


def show_survivors(fates: dict[str, str]) -> None:
    def show(name: str) -> str:
        command = [*MUTMUT, "show", name]
        return subprocess.run(command, cwd=WORKSPACE, capture_output=True, text=True, check=True).stdout

    survivors = [name for name, fate in fates.items() if fate not in KILLED]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for text in pool.map(show, survivors):
            print(text)


def report(modules: list[str], fates: dict[str, str], seconds: float) -> int:
    """Print a line for each module and return 1 when one of them is below the goal."""
    counts: defaultdict[str, Counter[bool]] = defaultdict(Counter)
    for name, fate in fates.items():
        counts[name.partition(".x")[0]][fate in KILLED] += 1
    print(f"{'module':<40}{'mutants':>8}{'killed':>8}{'survived':>10}{'percent':>9}")
    is_good = True
    for module in [*modules, "all"]:
        found = sum(counts.values(), Counter()) if module == "all" else counts[module]
        percent = 100 * found[True] / found.total() if found else 0.0
        is_good = is_good and percent >= PERCENT_MIN
        print(f"{module:<40}{found.total():>8}{found[True]:>8}{found[False]:>10}{percent:>9.1f}")
    verdict = "reached" if is_good else "missed"
    print(f"at least {PERCENT_MIN} percent of each: {verdict}, in {seconds:.0f} seconds")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
