"""What each route of the API promises: who may call it, what it reads, what it answers.

One mark on the view serves the guard of requests and `/api/openapi.json`, so that they cannot disagree.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

V = TypeVar("V", bound=Callable[..., Any])
# The name under which the portal's guard finds the mark of any view.
MARK = "tagih_access"


@dataclass(frozen=True, slots=True)
class Contract:
    """A route's mark; `kind`, `roles`, `step_up` and `scopes` are what the portal's guard reads of any mark."""

    summary: str
    kind: Literal["api", "public"] = "api"
    scopes: tuple[str, ...] = ()
    description: str = ""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answers: dict[int, type[BaseModel]] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    asks_network: bool = False
    roles: frozenset[str] = frozenset()
    step_up: bool = False


def api_access(scope: str, **promises: Any) -> Callable[[V], V]:
    """Mark a view for holders of an API key with this scope."""
    return _marked_with(Contract(scopes=(scope,), **promises))


def public(summary: str) -> Callable[[V], V]:
    """Mark a view that anybody may call."""
    return _marked_with(Contract(summary=summary, kind="public"))


def contract_of(view: Callable[..., Any]) -> Contract:
    contract = getattr(view, MARK, None)
    assert isinstance(contract, Contract), view
    return contract


def _marked_with(contract: Contract) -> Callable[[V], V]:
    def mark(view: V) -> V:
        setattr(view, MARK, contract)
        return view

    return mark
