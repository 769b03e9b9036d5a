"""Rules of the house that a parser can see."""

import ast
import re

import pytest

from tests.architecture.source import ROOT, modules

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
VIEW_LINES_MAX = 20
TEMPLATE_LINES_MAX = 200
# The sandbox plays the network and the launcher starts processes: both are clocks of their own.
CLOCK_READERS = ("portal/kernel/clock.py", "portal/sandbox/", "portal/embedded/")
# Pure packages and those that decide about money never see binary fractions.
MONEY_PACKAGES = ("portal/kernel/", "portal/domain/", "portal/adapters/horizon_records", "portal/flows/")
SECONDS = re.compile(r"seconds|_at\b|timeout|lag|age|delay|-> dict\[str, float\]|max\(0\.0")


def functions(tree: ast.AST):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_modules_stay_short():
    long = [
        f"{module.place} ({lines})"
        for module in modules()
        if (lines := module.text.count("\n")) > MODULE_LINES_MAX
    ]

    assert long == []


def test_functions_stay_short():
    long = [
        f"{module.place}:{node.lineno} {node.name} ({length_of(node)})"
        for module in modules()
        for node in functions(module.tree)
        if length_of(node) > FUNCTION_LINES_MAX
    ]

    assert long == []


def test_views_stay_short():
    long = []
    for module in modules():
        if not module.place.endswith("/views.py") and not module.place.startswith("portal/api/v1/"):
            continue
        for node in functions(module.tree):
            decorators = " ".join(ast.unparse(each) for each in node.decorator_list)
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if re.search(r"\.(get|post|put|patch|delete|route)\(", decorators) and lines > VIEW_LINES_MAX:
                long.append(f"{module.place}:{node.lineno} {node.name} ({lines})")

    assert long == []


def test_only_the_database_edge_commits():
    pattern = re.compile(r"\.(commit|rollback)\(")
    wrong = [
        f"{module.place}:{number}"
        for module in modules()
        if module.place != "portal/db.py" and not module.place.startswith("portal/sandbox/")
        for number, line in enumerate(module.text.splitlines(), 1)
        if pattern.search(line)
    ]

    assert wrong == []


def test_only_the_edge_reads_the_clock():
    pattern = re.compile(r"datetime\.(now|utcnow)\(|time\.time\(|date\.today\(")
    wrong = [
        f"{module.place}:{number}"
        for module in modules()
        if not module.place.startswith(CLOCK_READERS)
        for number, line in enumerate(module.text.splitlines(), 1)
        if pattern.search(line)
    ]
    domain = [m.place for m in modules() if m.place.startswith("portal/domain/") and "utc_now" in m.text]

    assert wrong == []
    assert domain == []


def test_money_is_never_a_float():
    wrong = []
    for module in modules():
        if not module.place.startswith(MONEY_PACKAGES):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
                wrong.append(f"{module.place}:{node.lineno}")
            named = isinstance(node, ast.Name) and node.id == "float"
            constant = isinstance(node, ast.Constant) and isinstance(node.value, float)
            if named or constant:
                line = module.text.splitlines()[node.lineno - 1]
                if re.search(r"amount|stroop|price|total|balance|units", line) and not SECONDS.search(line):
                    wrong.append(f"{module.place}:{node.lineno}")

    assert wrong == []


def test_nothing_is_caught_and_forgotten():
    wrong = []
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
                silent = all(isinstance(each, ast.Pass) for each in node.body)
                raises = any(isinstance(each, ast.Raise) for each in ast.walk(node))
                if broad and (silent or not raises):
                    wrong.append(f"{module.place}:{node.lineno}")

    assert wrong == []


def test_the_domain_does_no_network():
    pattern = re.compile(
        r"^\s*(from|import) (requests|urllib3|http\.client|socket|pymongo|redis|smtplib)\b", re.M
    )

    assert [
        m.place for m in modules() if m.place.startswith("portal/domain/") and pattern.search(m.text)
    ] == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"\sstyle=",
        r"\son[a-z]+=",
        r"\|\s*safe\b",
        r"https?://(?!www\.w3\.org)[a-z]",
        r"<script(?![^>]*nonce)",
    ],
)
def test_templates_hold_nothing_that_the_policy_forbids(pattern):
    wrong = []
    for path in (ROOT / "templates").rglob("*.html"):
        # Arguments of macros look like attributes; only what reaches the browser counts. `|safe` is the exception.
        kept = r"\{#.*?#\}" if "safe" in pattern else r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}"
        html = re.sub(kept, lambda found: "\n" * found.group().count("\n"), path.read_text(), flags=re.DOTALL)
        for number, line in enumerate(html.splitlines(), 1):
            if re.search(pattern, line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}")

    assert wrong == []


def test_templates_stay_short():
    long = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "templates").rglob("*")
        if path.is_file() and path.read_text().count("\n") > TEMPLATE_LINES_MAX
    ]

    assert long == []


def test_migrations_are_numbered_without_a_gap_and_import_no_app_code():
    files = sorted((ROOT / "migrations" / "versions").glob("*.py"))

    assert [path.name[:4] for path in files] == [f"{number:04d}" for number in range(1, len(files) + 1)]
    assert [
        path.name for path in files if re.search(r"^(from|import) (portal|config)", path.read_text(), re.M)
    ] == []


def test_the_project_speaks_of_itself_alone():
    # Spelt in two halves, so that this file does not find itself.
    forbidden = re.compile(
        "|".join(["/wo" + "rk/", "Cla" + "ude", "sub" + "agent", r"\bLL" + r"M\b", "Anthro" + "pic"])
    )
    folders = ("portal", "templates", "static/css", "static/js", "tests", "docs", "migrations", "bench")
    wrong = []
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".html", ".md", ".css", ".js", ".txt"} and forbidden.search(
                path.read_text()
            ):
                wrong.append(str(path.relative_to(ROOT)))

    assert wrong == []
