"""Where each rule's answer stands in what the network gave: the field by name, and what it says there. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from portal.domain.payments.models import ChainTransaction, Payment
from portal.kernel.money import format_units

# What operations of each kind call sender, receiver and amount; an account_merge names no amount at all.
_NAMES: dict[str, tuple[str, str, str]] = {
    "create_account": ("funder", "account", "starting_balance"),
    "account_merge": ("account", "into", ""),
}
_USUAL = ("from", "to", "amount")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of Horizon's JSON, or of ours where the network does not know it; `value` is None when absent."""

    name: str
    value: str | None


class Evidence:
    """The fields of one payment's transaction that its rules looked at."""

    def __init__(self, payment: Payment, transaction: ChainTransaction) -> None:
        self._payment = payment
        self._transaction = transaction
        self._raw: Mapping[str, Any] = transaction.raw
        self._base, self._operation = self._place()
        kind = str(self._operation.get("type") or "")
        self._sender, self._receiver, self._amount = _NAMES.get(kind, _USUAL)

    def fields(self, code: str) -> tuple[Field, ...]:
        """Return the fields that answer the rule with this code; none for a rule that is ours alone."""
        found = _FIELDS.get(code)
        return () if found is None else tuple(found(self))

    def verified(self) -> list[Field]:
        return [
            Field("hash", _text(self._raw.get("hash"))),
            Field("envelope_xdr", "hashed anew, with the network's passphrase"),
        ]

    def successful(self) -> list[Field]:
        return [Field("successful", _text(self._raw.get("successful")))]

    def parties(self) -> list[Field]:
        return [self._of(self._sender), self._of(self._receiver)]

    def receiver(self) -> list[Field]:
        return [self._of(self._receiver)]

    def kept(self) -> list[Field]:
        count = len(self._raw.get("operations") or ())
        return [Field("operations", f"{count} looked at" if count else None)]

    def reference(self) -> list[Field]:
        muxed = self._payment.muxed_id
        found = []
        if muxed is not None:
            name = (
                "destination_muxed_id"
                if self._base.endswith("]") and "." in self._base
                else f"{self._receiver}_muxed_id"
            )
            found.append(Field(f"{self._base}.{name}", f"{muxed:f}"))
        found.append(Field("memo_type", self._transaction.memo_type))
        if self._transaction.memo_type != "none":
            found.append(Field(f"memo_{self._transaction.memo_type}", self._transaction.memo))
        return found

    def asset(self) -> list[Field]:
        names = ("asset_type", "asset_code", "asset_issuer")
        given = [self._of(name) for name in names if name in self._operation]
        return given or [Field(f"{self._base}.type", _text(self._operation.get("type")))]

    def closed(self) -> list[Field]:
        return [
            Field("ledger", str(self._transaction.ledger)),
            Field("created_at", _text(self._raw.get("created_at"))),
        ]

    def amount(self) -> list[Field]:
        if self._amount:
            return [self._of(self._amount)]
        return [Field("effects.account_credited.amount", format_units(self._payment.amount))]

    def _of(self, name: str) -> Field:
        return Field(f"{self._base}.{name}", _text(self._operation.get(name)))

    def _place(self) -> tuple[str, Mapping[str, Any]]:
        """Return name and JSON of the operation, or of the change of a balance, that brought the money."""
        index, operations = self._payment.operation_index, self._raw.get("operations")
        base = f"operations[{index}]"
        if not isinstance(operations, list) or index >= len(operations):
            return base, {}
        operation = operations[index]
        if not isinstance(operation, dict):
            return base, {}
        changes = operation.get("asset_balance_changes")
        if operation.get("type") != "invoke_host_function" or not isinstance(changes, list):
            return base, operation
        mine = format_units(self._payment.amount)
        for at, change in enumerate(changes):
            given = (change.get("to"), change.get("amount")) if isinstance(change, dict) else ()
            if given == (self._payment.destination, mine):
                return f"{base}.asset_balance_changes[{at}]", change
        return base, operation


_FIELDS: dict[str, Callable[[Evidence], list[Field]]] = {
    "hash_verified": Evidence.verified,
    "successful": Evidence.successful,
    "not_self_payment": Evidence.parties,
    "kept": Evidence.kept,
    "reference": Evidence.reference,
    "invoice": Evidence.reference,
    "destination": Evidence.receiver,
    "asset": Evidence.asset,
    "after_issue": Evidence.closed,
    "in_time": Evidence.closed,
    "amount": Evidence.amount,
}


def _text(value: object) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
