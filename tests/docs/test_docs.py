"""What the papers say is there: variables, commands, targets of make, files they point to."""

import re
from pathlib import Path

import click
import pytest

from config import VARIABLES
from portal import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.fixture(scope="module")
def commands() -> dict[str, click.Command]:
    """Our commands by their full name, `outbox list` for one of a group."""
    found: dict[str, click.Command] = {}
    for command in vars(cli).values():
        if isinstance(command, click.Group):
            found |= {f"{command.name} {name}": each for name, each in command.commands.items()}
        elif isinstance(command, click.Command) and command.name and " " not in command.name:
            found.setdefault(command.name, command)
    grouped = {name.split()[-1] for name in found if " " in name}
    return {name: each for name, each in found.items() if name not in grouped}


def test_every_variable_is_in_the_readme():
    missing = [name for name in VARIABLES if f"`{name}`" not in README]
    assert missing == []


def test_every_command_is_in_the_readme(commands):
    assert "worker" in commands and "mirror check" in commands
    missing = [name for name in commands if name not in README]
    assert missing == []


def test_the_readme_names_no_command_that_is_not_there(commands):
    named = set(re.findall(r"flask --app wsgi ([a-z]+)", "\n".join(path.read_text() for path in PAPERS)))
    assert named <= {name.split()[0] for name in commands} | {"db"}


def test_every_target_of_make_that_is_named_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for paper in PAPERS:
        assert set(re.findall(r"`make ([a-z-]+)", paper.read_text())) <= targets, paper.name


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_paper_points_to_is_there(paper):
    text = paper.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    missing = [link for link in links if not (paper.parent / link).exists()]
    paths = re.findall(r"`((?:portal|templates|tests|static|bench|migrations)/[\w/.-]+\.\w+)`", text)
    # What a command writes is not there in a fresh clone.
    written = (ROOT / ".gitignore").read_text().split()
    wanted = [path for path in paths if not re.search("reports|NNNN", path) and path not in written]
    missing += [path for path in wanted if not (ROOT / path).exists()]
    assert missing == []
