"""What the checkout page is held against: Flask and Jinja alone, a page of the same size, no hooks.

`write_template` makes the page from ours: its bytes, with some thirty of its texts as escaped variables.
"""

import html
import json
import os
import re
from pathlib import Path

from flask import Flask, render_template

VARIABLES = 30
_TEXT = re.compile(r">([^<>{}]{3,80})<")


def write_template(page: str, folder: Path) -> None:
    assert not re.search(r"{[{%#]", page), "the page must hold no template syntax"
    texts = list(_TEXT.finditer(page))
    chosen = texts[:: max(1, len(texts) // VARIABLES)][:VARIABLES]
    facts: list[str] = []
    pieces, place = [], 0
    for match in chosen:
        pieces += [page[place : match.start(1)], f"{{{{ facts[{len(facts)}] }}}}"]
        facts.append(html.unescape(match[1]))
        place = match.end(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "page.html").write_text("".join([*pieces, page[place:]]))
    (folder / "facts.json").write_text(json.dumps(facts))


def make_app(folder: Path) -> Flask:
    app = Flask("bare", template_folder=str(folder))
    facts = json.loads((folder / "facts.json").read_text())

    @app.get("/i/<token>")
    def show(token: str) -> str:
        return render_template("page.html", token=token, facts=facts)

    return app


if "BENCH_BARE" in os.environ:
    app = make_app(Path(os.environ["BENCH_BARE"]))
