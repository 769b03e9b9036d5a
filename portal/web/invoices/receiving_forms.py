"""Forms by which a person brings money to an invoice; each stands on the invoice's page beside the others."""

from wtforms import StringField

from portal.domain.payments.rules import parse_hash
from portal.web.forms import INPUT, Checked, Form

# What a pasted hash may bring along from a wallet or a mail.
_BLANKS = " \t\r\n"


class HashForm(Form):
    """A transaction that somebody says pays the invoice."""

    transaction_hash = StringField(
        "Transaction hash", [Checked(lambda text: parse_hash(text.strip(_BLANKS)))], render_kw=INPUT
    )
