"""A small second opinion on what money does, in plain integers and without an order of arrival.

One merchant, one asset, one tolerance. It knows facts and decisions and derives everything else each time it
is asked; the portal books step by step. After every step both must say the same.
"""

from dataclasses import dataclass, field


@dataclass
class Invoice:
    amount: int
    debtor: str
    expires: int
    closed: str = ""
    was_whole: bool = False
    # Money outside the credits that name it: matches, credit applied, external payments.
    fixed: int = 0
    fixed_excess: int = 0
    external: int = 0
    applied: int = 0
    # A rest that was once forgiven stays forgiven.
    forgiven: int = 0
    # Excess that was spent elsewhere when a clawback opened a gap here: it cannot pay twice.
    withheld: int = 0


@dataclass
class Payment:
    """One credit; `home` is the invoice it was credited to by its own reference."""

    stroops: int
    closed: int
    state: str
    home: str = ""
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    is_settled_by_hand: bool = False
    is_ignored_by_hand: bool = False
    refunded: int = 0
    from_credit: int = 0
    # The first invoice a person matched it to: a refund comes from that client's credit.
    first: str = ""


@dataclass
class Model:
    tolerance: int
    invoices: dict[str, Invoice] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    lost_to_clawbacks: int = 0
    refunds_from_revenue: int = 0
    refunds_from_credit: dict[str, int] = field(default_factory=dict)

    def automatic(self, name: str) -> list[Payment]:
        return [
            each
            for each in self.payments.values()
            if each.home == name and each.state == "CONFIRMED" and not each.is_settled_by_hand
        ]

    def shares(self, name: str) -> tuple[int, int, int]:
        """Return (allocated, excess, rounding) of the credits that name this invoice."""
        invoice = self.invoices[name]
        total = sum(each.stroops for each in self.automatic(name))
        capacity = invoice.amount - invoice.fixed
        allocated = min(total - invoice.withheld, capacity)
        rest = capacity - allocated
        tolerance = max(min(self.tolerance, invoice.amount // 10), invoice.forgiven)
        rounding = rest if allocated > 0 and 0 < rest <= tolerance else 0
        return allocated, total - allocated, rounding

    def given(self, name: str) -> list[tuple[Payment, int]]:
        """Return what each credit gave the invoice it names, in the order of the chain."""
        invoice = self.invoices[name]
        credits = sorted(self.automatic(name), key=lambda payment: payment.closed)
        rest = invoice.amount - invoice.fixed
        allocable = sum(each.stroops for each in credits) - invoice.withheld
        found = []
        for each in credits:
            allocated = min(rest, allocable, each.stroops)
            found.append((each, allocated))
            rest, allocable = rest - allocated, allocable - allocated
        return found

    def allocated_of(self, wanted: Payment) -> int:
        return next(allocated for each, allocated in self.given(wanted.home) if each is wanted)

    def take_back(self, payment: Payment) -> None:
        """Undo a payment by a clawback; gaps are filled from excess that the debtors still have, in order."""
        names = sorted(payment.parts) or ([payment.home] if payment.home in self.invoices else [])
        left = {
            name: sum(allocated for each, allocated in self.given(name) if each is not payment)
            for name in names
        }
        was_withheld = {name: self.invoices[name].withheld for name in names}
        for name, (allocated, excess) in payment.parts.items():
            if name not in payment.moved:
                self.invoices[name].fixed -= allocated
            self.invoices[name].fixed_excess -= excess
        payment.state = "REVERSED"
        totals = {name: sum(each.stroops for each in self.automatic(name)) for name in names}
        for name in names:
            self.invoices[name].withheld = totals[name] - left[name]
        for name in names:
            invoice = self.invoices[name]
            free = totals[name] - min(was_withheld[name], totals[name] - left[name])
            filled = min(free, invoice.amount - invoice.fixed)
            moved = max(0, filled - left[name])
            spent = max(0, min(moved, moved - self.credit(invoice.debtor)))
            invoice.withheld = totals[name] - (filled - spent) if spent else totals[name] - free

    def excess_of(self, payment: Payment, debtor: str) -> int:
        """Return how much of a credited payment became credit of `debtor`."""
        if not payment.parts:
            held = 0 if payment.is_settled_by_hand else self.allocated_of(payment)
            return payment.stroops - held
        mine = {name: each for name, each in payment.parts.items() if self.invoices[name].debtor == debtor}
        return sum(
            excess + (allocated if name in payment.moved else 0) for name, (allocated, excess) in mine.items()
        )

    def refund(self, payment: Payment, amount: int) -> None:
        payment.refunded += amount
        if payment.state == "CONFIRMED":
            debtor = self.invoices[payment.first or payment.home].debtor
            excess = self.excess_of(payment, debtor) - payment.from_credit
            borne = max(0, min(amount, excess, self.credit(debtor)))
            payment.from_credit += borne
            self.refunds_from_credit[debtor] = self.refunds_from_credit.get(debtor, 0) + borne
            self.refunds_from_revenue += amount - borne
        elif payment.refunded == payment.stroops:
            payment.state, payment.is_ignored_by_hand = "IGNORED", False

    def settle(self) -> None:
        """Move every invoice to where its money puts it."""
        for name, invoice in self.invoices.items():
            allocated, _, rounding = self.shares(name)
            invoice.forgiven = rounding
            if invoice.fixed + allocated + rounding == invoice.amount:
                invoice.was_whole, invoice.closed = True, ""

    def received(self, name: str) -> int:
        allocated, _, rounding = self.shares(name)
        return self.invoices[name].fixed + allocated + rounding

    def overpaid(self, name: str) -> int:
        return self.invoices[name].fixed_excess + self.shares(name)[1]

    def status(self, name: str) -> str:
        invoice = self.invoices[name]
        return "PAID" if invoice.was_whole else invoice.closed or "PENDING"

    def is_reversed(self, name: str) -> bool:
        return self.status(name) == "PAID" and self.received(name) < self.invoices[name].amount

    def late(self, name: str) -> bool:
        """Whether late money was needed: a credit after the expiry got a share."""
        expires = self.invoices[name].expires
        return any(allocated > 0 and each.closed > expires for each, allocated in self.given(name))

    def credit(self, debtor: str) -> int:
        excess = sum(self.overpaid(name) for name, each in self.invoices.items() if each.debtor == debtor)
        applied = sum(each.applied for each in self.invoices.values() if each.debtor == debtor)
        moved = sum(
            amount
            for payment in self.payments.values()
            for name, amount in payment.moved.items()
            if self.invoices[name].debtor == debtor and payment.state == "CONFIRMED"
        )
        return excess + moved - applied - self.refunds_from_credit.get(debtor, 0)

    def balances(self) -> dict[str, int]:
        """Return debits minus credits by kind of account, those at zero left out."""
        booked = [
            each for each in self.payments.values() if each.state in {"CONFIRMED", "UNMATCHED", "IGNORED"}
        ]
        waiting = [each for each in booked if each.state in {"UNMATCHED", "IGNORED"}]
        standing = {
            name: each for name, each in self.invoices.items() if self.status(name) in {"PENDING", "PAID"}
        }
        gone = {name: each for name, each in self.invoices.items() if name not in standing}
        found = {
            "wallet": sum(each.stroops - each.refunded for each in booked) - self.lost_to_clawbacks,
            "suspense": -sum(each.stroops - each.refunded for each in waiting),
            "receivable": sum(each.amount - self.received(name) for name, each in standing.items()),
            "client_credit": -sum(
                self.credit(debtor) for debtor in {each.debtor for each in self.invoices.values()}
            ),
            "income": -sum(each.amount for each in self.invoices.values()),
            "write_off": sum(each.amount - self.received(name) for name, each in gone.items())
            + self.lost_to_clawbacks,
            "rounding": sum(self.shares(name)[2] for name in self.invoices),
            "external": sum(each.external for each in self.invoices.values()),
            "refunds": self.refunds_from_revenue,
        }
        return {kind: amount for kind, amount in found.items() if amount}
