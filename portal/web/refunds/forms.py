"""What a person types about a refund."""

from typing import cast

from wtforms import BooleanField, Field, SelectField, StringField, TextAreaField

from portal.domain.payments.rules import parse_hash
from portal.domain.refunds.rules import REASON_MAX, clean_memo, clean_reason
from portal.flows.prepare_refund import Plan
from portal.kernel.errors import Invalid, TagihError
from portal.kernel.money import parse_amount
from portal.web.forms import INPUT, Checked, Form, add_error, checked, choices

# What a pasted hash may bring along from a wallet or a mail.
_BLANKS = " \t\r\n"
MEMO_KINDS = (("none", "No memo"), ("id", "ID (a number)"), ("text", "Text"), ("hash", "Hash"))


class RefundForm(Form):
    """How much goes back, why, and what the receiver needs to find it."""

    amount = StringField("Amount", [Checked(lambda text: parse_amount(text.strip()))], render_kw=INPUT)
    reason = TextAreaField("Reason", [Checked(clean_reason)], render_kw={"rows": 2, "maxlength": REASON_MAX})
    memo_type = SelectField("Kind of memo", choices=choices(MEMO_KINDS), default="none")
    memo = StringField("Memo", render_kw=INPUT)
    confirmed = BooleanField("I have checked that the money finds its owner without a memo")

    def plan(self) -> Plan | None:
        """Return what is asked for, or None when a field is wrong and says so."""
        if not self.validate_on_submit():
            return None
        try:
            memo = clean_memo(str(self.memo_type.data), str(self.memo.data or ""))
        except Invalid as refusal:
            self.refuse(refusal)
            return None
        return Plan(checked(self.amount), checked(self.reason), memo, bool(self.confirmed.data))

    def refuse(self, refusal: TagihError) -> None:
        """Show a refusal beside the field that it is about, or above them all."""
        name = (refusal.pointer or "").removeprefix("/")
        if name in self._fields:
            add_error(cast(Field, self._fields[name]), refusal)
        else:
            self.form_errors.append(refusal.detail)


class SentForm(Form):
    """The transaction by which a refund was sent."""

    transaction_hash = StringField(
        "Transaction hash", [Checked(lambda text: parse_hash(text.strip(_BLANKS)))], render_kw=INPUT
    )


class PrepareForm(Form):
    """Asks for the transaction anew; confirmed when the receiver is a shared account."""

    confirmed = BooleanField("I have checked that the money finds its owner without a memo")
