"""What every command needs: an app of its own, and words for people or JSON for programs."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from flask import Flask

from config import Config
from portal.app import create_app
from portal.kernel.actor import Actor, acting_as
from portal.kernel.errors import TagihError

as_json = click.option("--json", "is_json", is_flag=True, help="Print machine-readable JSON instead of text.")


@contextmanager
def working() -> Iterator[Flask]:
    """Enter an app of portal_worker; what a person can mend is said in a sentence."""
    app = create_app(Config.from_env("worker"))
    with app.app_context(), acting_as(Actor("command")):
        try:
            yield app
        except TagihError as refusal:
            raise click.ClickException(f"{refusal.code}: {refusal.detail}") from refusal


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def progress(text: str) -> None:
    """Tell a person how far long work is; nothing where stderr is no terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r{text}", nl=False, err=True)
