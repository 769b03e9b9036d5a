"""Who did something, in words for the end of a line."""

from collections.abc import Iterable

from portal.domain.merchants import queries
from portal.kernel.refs import from_ref


def actor_words(recorded: Iterable[str]) -> dict[str, str]:
    """Return "by Dewi", "by a program", "on the payment page" or "automatically" for each recorded actor."""
    actors = set(recorded)
    people = {name: from_ref("usr", name) for name in actors if name.startswith("usr_")}
    known = queries.names_of(people.values()) if people else {}
    return {name: _words(name, known.get(people[name]) if name in people else None) for name in actors}


def _words(actor: str, name: str | None) -> str:
    kind = actor.partition("_")[0]
    if kind == "usr":
        return f"by {name}" if name else "by a former colleague"
    if kind == "key":
        return "by a program with an API key"
    # Nobody else writes without signing in: a payer reports a transaction, everything else is the portal's own.
    return "on the payment page" if actor == "anonymous" else "automatically"
