"""The source tree as the architecture tests read it: parsed once, imports resolved to modules."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = (
    ("portal.kernel",),
    ("portal.extensions",),
    ("portal.db",),
    ("portal.domain",),
    ("portal.models",),
    ("portal.adapters",),
    ("portal.flows",),
    ("portal.web", "portal.api", "portal.workers", "portal.sandbox"),
    ("portal.app",),
    ("portal.commands",),
    ("portal.cli", "portal.embedded"),
)
DOMAINS = (
    "audit", "events", "merchants", "api_keys", "idempotency", "webhooks", "clients", "ledger", "vouchers",
    "invoices", "links", "payments", "refunds", "notices", "reports",
)  # fmt: skip


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module
    text: str

    @property
    def place(self) -> str:
        return str(self.path.relative_to(ROOT))


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted((ROOT / "portal").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        found.append(Module(name, path, ast.parse(text), text))
    return tuple(found)


def imports_of(module: Module) -> set[str]:
    """Return every module of ours that `module` imports anywhere, function bodies included."""
    known = {each.name for each in modules()}
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{module.place}: relative import")
    return {name for name in found if name == "portal" or name.startswith("portal.")}


def layer_of(name: str) -> int | None:
    for rank, prefixes in enumerate(LAYERS):
        if any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes):
            return rank
    return None


def group_of(name: str) -> str:
    return ".".join(name.split(".")[:2])
