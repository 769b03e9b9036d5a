"""The form of a new API key."""

from datetime import datetime, timedelta

from wtforms import SelectField, SelectMultipleField, StringField, ValidationError

from portal.domain.api_keys import rules
from portal.domain.api_keys.service import NAME_MAX
from portal.domain.merchants.rules import clean_text
from portal.web.forms import INPUT, Checked, Form, choices

WORDS = {
    "invoices:read": "Read invoices",
    "invoices:write": "Create, issue and cancel invoices, submit payments",
    "clients:read": "Read clients",
    "clients:write": "Create and change clients",
    "payments:read": "Read payments",
    "events:read": "Read events",
}
DAYS = (("90", "90 days"), ("365", "1 year"), ("30", "30 days"), ("0", "Never"))


class KeyForm(Form):
    name = StringField(
        "Name", [Checked(lambda text: clean_text(text, what="a name for the key", longest=NAME_MAX))],
        render_kw=INPUT,
    )  # fmt: skip
    scopes = SelectMultipleField(
        "What it may do", choices=choices((scope, WORDS[scope]) for scope in rules.SCOPES)
    )
    days = SelectField("Expires after", choices=choices(DAYS), render_kw=INPUT)

    def validate_scopes(self, field: SelectMultipleField) -> None:
        if not field.data:
            raise ValidationError("Choose what the key may do.")

    def expires_at(self, now: datetime) -> datetime | None:
        days = int(self.days.data)
        return now + timedelta(days=days) if days else None
