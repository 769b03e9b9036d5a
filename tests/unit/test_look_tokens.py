"""The style sheets: contrast of both themes, right-to-left readiness, weight."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The sandbox's wallet is a page of another program with a sheet of its own.
SHEETS = sorted(path for path in (ROOT / "static/css").glob("*.css") if path.name != "sandbox.css")
SCRIPTS = sorted((ROOT / "static/js").glob("*.js"))
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
TOKENS = {
    name: values
    for name, *values in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)",
        (ROOT / "static/css/tokens.css").read_text(),
    )
}
THEMES = {"light": 0, "dark": 1}
# WCAG 2.2: 1.4.3 for text, 1.4.11 for the outlines of controls and of focus.
TEXT_RATIO, OUTLINE_RATIO = 4.5, 3.0
STATES = ("paid", "pending", "partial", "expired", "failed")
TEXT_PAIRS = [
    *((ink, ground) for ink in ("ink", "ink-2", "ink-3") for ground in ("paper", "surface", "sunken")),
    ("accent-ink", "accent"),
    ("accent-ink", "accent-hover"),
    ("paper", "ink"),
    *((state, f"{state}-bg") for state in STATES),
    *(("ink", f"{state}-bg") for state in STATES),
    *((state, ground) for state in STATES for ground in ("paper", "surface")),
]
MAX_SCRIPT_BYTES = 8 * 1024
PHYSICAL = re.compile(
    r"(?:^|[\s;{])((?:margin|padding|border)-(?:left|right|top|bottom)|left|right|top|bottom|width|height"
    r"|(?:min|max)-(?:width|height)|text-align)\s*:\s*([^;}]+)"
)


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("ink", "ground"), TEXT_PAIRS)
def test_text_can_be_read_in_both_themes(ink, ground, theme):
    side = THEMES[theme]

    assert _contrast(TOKENS[ink][side], TOKENS[ground][side]) >= TEXT_RATIO


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", ["paper", "surface"])
def test_controls_and_the_focus_ring_stand_out(ground, theme):
    side = THEMES[theme]
    behind = TOKENS[ground][side]

    assert _contrast(TOKENS["line-control"][side], behind) >= OUTLINE_RATIO
    # The ring is yellow within ink: one of the two always shows.
    assert max(_contrast(TOKENS[name][side], behind) for name in ("focus", "ink")) >= OUTLINE_RATIO


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_sheets_use_logical_properties_alone(sheet):
    text = re.sub(r"/\*.*?\*/|@media[^{]+", "", sheet.read_text(), flags=re.DOTALL)

    wrong = [f"{name}: {value}" for name, value in PHYSICAL.findall(text)
             if name != "text-align" or value.strip() in ("left", "right")]  # fmt: skip

    assert wrong == []


@pytest.mark.parametrize(
    "sheet", [path for path in SHEETS if path.name != "tokens.css"], ids=lambda path: path.name
)
def test_colours_come_from_the_tokens(sheet):
    used = set(re.findall(r"var\(--([\w-]+)", sheet.read_text()))
    defined = set(re.findall(r"--([\w-]+):", (ROOT / "static/css/tokens.css").read_text()))

    assert used <= defined


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_stay_small_and_write_no_markup(script):
    text = script.read_text()

    assert len(text.encode()) <= MAX_SCRIPT_BYTES
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|\.on\w+ = ", text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_templates_name_icons_of_the_sprite(template):
    listed = set((ROOT / "static/icons.txt").read_text().split())
    named = set(re.findall(r"\bicon\(\s*\"([\w-]+)\"", template.read_text()))

    assert named <= listed
