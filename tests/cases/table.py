"""What a case is: who pays what, and what the portal must answer, record and leave behind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.cases.served import Spoil
from tests.cases.signing import Signed

if TYPE_CHECKING:
    from tests.cases.scene import Bill, Scene

DUE = "12.5000000"
# How long the portal's client waits for an answer, as in production; a busy machine needs some of it.
PATIENCE_SECONDS = 3.0


@dataclass(frozen=True)
class Answer:
    """What a submission is answered; `status` is that of the API."""

    status: int
    code: str | None = None

    @property
    def state(self) -> str:
        return {200: "ACCEPTED", 201: "ACCEPTED", 202: "CHECKING", 404: "MISSING"}.get(
            self.status, "REJECTED"
        )


ACCEPTED = Answer(201)
AGAIN = Answer(200)
WAITS = Answer(202)
USED = Answer(409, "hash_used")
NO_SUCH_PAGE = Answer(404)


def refused(code: str) -> Answer:
    return Answer(422, code)


@dataclass(frozen=True)
class Money:
    """A payment as it stands in the merchant's books afterwards."""

    status: str
    reason: str | None
    flags: tuple[str, ...]
    amount: str


def confirmed(*flags: str, amount: str = DUE) -> Money:
    return Money("CONFIRMED", None, flags, amount)


def unmatched(reason: str, *flags: str, amount: str = DUE) -> Money:
    return Money("UNMATCHED", reason, flags, amount)


def ignored(reason: str, *, amount: str = DUE) -> Money:
    return Money("IGNORED", reason, (), amount)


@dataclass(frozen=True)
class Left:
    """How an invoice stands afterwards."""

    status: str = "PENDING"
    settlement: str = "UNPAID"
    received: str = "0.0000000"
    overpaid: str = "0.0000000"


UNTOUCHED = Left()
PAID = Left("PAID", "PAID", DUE)


@dataclass(frozen=True)
class Terms:
    """Of the invoice, and whose it is: the shop called `plain`, `tolerant` or `strict`."""

    amount: str = "12.5"
    asset: str = "native"
    shop: str = "plain"
    wallet: str = "main"
    issued_hours_ago: float = 1
    expires_in_hours: float = 24
    issue: bool = True


@dataclass
class Told:
    """What happened on the chain, oldest first, and what is claimed of it; each once, in order, unless said.

    `lies` is shown in the place of the last transaction, and `spoil` garbles every answer, until healed.
    """

    signed: list[Signed]
    claims: list[tuple["Bill", str]] | None = None
    lies: Signed | None = None
    spoil: Spoil | None = None
    patience_seconds: float = PATIENCE_SECONDS
    also: list[tuple["Bill", Left]] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    name: str
    tell: Callable[["Scene"], Signed | Told]
    answers: tuple[Answer, ...]
    money: tuple[Money, ...]
    left: Left
    terms: Terms
    is_honest: bool
    heals: bool = False
    """Whether the same transaction is credited in full once the network answers as it should."""
    is_seen: bool = True
    """Whether the watcher meets it at all; a claim without a transaction it cannot see."""


HOSTILE: dict[str, Case] = {}
HONEST: dict[str, Case] = {}
UNUSABLE: dict[str, Case] = {}

Tell = Callable[["Scene"], Signed | Told]


def _keep(table: dict[str, Case], case: Case) -> None:
    assert case.name not in {*HOSTILE, *HONEST, *UNUSABLE}, case.name
    table[case.name] = case


def hostile(
    *answers: Answer,
    money: tuple[Money, ...] = (),
    left: Left = UNTOUCHED,
    is_seen: bool = True,
    **terms: Any,
) -> Callable[[Tell], Tell]:
    """Note a case in which the invoice gets nothing."""

    def keep(tell: Tell) -> Tell:
        case = Case(tell.__name__, tell, answers, money, left, Terms(**terms), False, is_seen=is_seen)
        _keep(HOSTILE, case)
        return tell

    return keep


def honest(
    *answers: Answer, money: tuple[Money, ...] = (confirmed(),), left: Left = PAID, **terms: Any
) -> Callable[[Tell], Tell]:
    """Note a case in which everything that was meant for the invoice reaches it."""

    def keep(tell: Tell) -> Tell:
        _keep(HONEST, Case(tell.__name__, tell, answers or (ACCEPTED,), money, left, Terms(**terms), True))
        return tell

    return keep


def unusable(name: str, tell: Tell, *, heals: bool = True, is_seen: bool = True, **terms: Any) -> None:
    """Note a case whose answers of the network prove nothing, neither a payment nor its absence."""
    _keep(
        UNUSABLE,
        Case(name, tell, (WAITS,), (), UNTOUCHED, Terms(**terms), False, heals=heals, is_seen=is_seen),
    )
