"""Forms by which a person brings money to an invoice; each stands on the invoice's page beside the others."""

from datetime import date, tzinfo
from decimal import Decimal

from wtforms import RadioField, StringField, TextAreaField

from portal.domain.invoices.documents import plain
from portal.domain.payments.decisions import NOTE_MAX, required_note
from portal.domain.payments.external import METHODS, DateInFuture
from portal.domain.payments.rules import parse_hash
from portal.kernel.clock import utc_now
from portal.kernel.errors import TagihError
from portal.kernel.money import parse_amount
from portal.web.filters import zone
from portal.web.forms import INPUT, Checked, Form, add_error, choices
from portal.web.invoices.fields import FieldInvalid, line_of_text
from portal.web.paging import parse_day

# What a pasted hash may bring along from a wallet or a mail.
_BLANKS = " \t\r\n"
METHOD_WORDS = {"cash": "Cash", "bank": "Bank transfer", "other": "Another way"}
assert set(METHOD_WORDS) == set(METHODS)


def _amount(text: str) -> Decimal:
    return parse_amount(text.strip())


def _reason(text: str) -> str:
    return required_note(line_of_text(" ".join(text.split()), what="the reason", longest=NOTE_MAX))


def _day(text: str) -> date:
    day = parse_day(text.strip())
    if day is None:
        raise FieldInvalid("Write the day as year-month-day, such as 2026-11-20.")
    if day > _today(zone()):
        raise DateInFuture("This day has not come yet.")
    return day


def _today(where: tzinfo) -> date:
    return utc_now().astimezone(where).date()


class HashForm(Form):
    """A transaction that somebody says pays the invoice."""

    transaction_hash = StringField(
        "Transaction hash", [Checked(lambda text: parse_hash(text.strip(_BLANKS)))], render_kw=INPUT
    )


class ExternalForm(Form):
    """Money that came outside the network."""

    amount = StringField("Amount", [Checked(_amount)], id="external-amount", render_kw=INPUT)
    method = RadioField("How it came", choices=choices(METHOD_WORDS.items()), id="external-method")
    received_on = StringField("Received on", [Checked(_day)], id="external-day", render_kw=INPUT)
    reason = StringField("Reason", [Checked(_reason)], id="external-reason", render_kw=INPUT)

    @classmethod
    def of(cls, due: Decimal) -> "ExternalForm":
        """Return the form as it is first shown: for all that is due, today."""
        today = _today(zone()).isoformat()
        return cls(formdata=None, amount=plain(due), method=METHODS[0], received_on=today)


class CreditForm(Form):
    """How much of a client's credit an invoice gets."""

    amount = StringField("Amount", [Checked(_amount)], id="credit-amount", render_kw=INPUT)


class UndoForm(Form):
    reason = TextAreaField("Why is it undone?", [Checked(_reason)], render_kw=INPUT | {"rows": 3})


def note(form: Form, refusal: TagihError) -> None:
    """Show a refusal of the domain beside the field that it points at, else above the form."""
    name = (refusal.pointer or "").strip("/")
    if name in form:
        add_error(form[name], refusal)
    else:
        form.form_errors.append(refusal.detail)
