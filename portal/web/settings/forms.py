"""Forms of the settings."""

import re
from decimal import Decimal

from wtforms import PasswordField, RadioField, SelectField, StringField, TextAreaField, ValidationError

from portal.domain.merchants import rules
from portal.kernel.errors import Invalid
from portal.kernel.money import ZERO, parse_amount
from portal.web.auth.forms import check_password
from portal.web.forms import INPUT, Checked, Form, choices, time_zone_choices
from portal.web.typed import typed_asset

_PREFIX = re.compile(r"[A-Z0-9]{1,8}")
_ZERO = re.compile(r"0{1,20}(\.0{1,7})?")
EXPIRY_HOURS_MAX = 8760


class SettingInvalid(Invalid):
    code = "setting_invalid"


def _prefix(text: str) -> str:
    prefix = text.strip().upper()
    if _PREFIX.fullmatch(prefix) is None:
        raise SettingInvalid("Use 1 to 8 letters or digits, such as INV.")
    return prefix


def _hours(text: str) -> int:
    if not text.strip().isascii() or not text.strip().isdigit() or len(text.strip()) > 5:
        raise SettingInvalid("Write a whole number of hours, such as 168 for a week.")
    hours = int(text)
    if not 1 <= hours <= EXPIRY_HOURS_MAX:
        raise SettingInvalid("Choose between 1 hour and 8760 hours, a year.")
    return hours


def _tolerance(text: str) -> Decimal:
    asked = text.strip()
    return ZERO if _ZERO.fullmatch(asked) else parse_amount(asked)


class BusinessForm(Form):
    name = StringField(
        "Business name", [Checked(lambda text: rules.clean_text(text, what="the name of your business"))],
        render_kw=INPUT,
    )  # fmt: skip
    time_zone = SelectField(
        "Time zone", [Checked(rules.clean_time_zone)], validate_choice=False, render_kw=INPUT
    )
    invoice_prefix = StringField("Invoice prefix", [Checked(_prefix)], render_kw=INPUT)
    default_asset = StringField("Asset of new invoices", [Checked(typed_asset)], render_kw=INPUT)

    def __init__(self, **values: object) -> None:
        super().__init__(**values)
        self.time_zone.choices = time_zone_choices()


class PaymentsForm(Form):
    expiry_hours = StringField("New invoices are open for", [Checked(_hours)], render_kw=INPUT)
    tolerance = StringField("Waive what is missing up to", [Checked(_tolerance)], render_kw=INPUT)
    late_policy = RadioField(
        "A payment after expiry",
        choices=choices(
            [
                ("accept", "Counts: the invoice becomes paid and is marked Late"),
                ("unmatched", "Waits in unmatched money until somebody decides"),
            ]
        ),
    )


class PreferencesForm(Form):
    name = StringField(
        "Your name", [Checked(lambda text: rules.clean_text(text, what="your name"))], render_kw=INPUT
    )
    theme = RadioField(
        "Theme", choices=choices([("auto", "Auto, as the device"), ("light", "Light"), ("dark", "Dark")])
    )


class PasswordForm(Form):
    current = PasswordField("Current password", render_kw=INPUT)
    password = PasswordField("New password", render_kw=INPUT)

    def validate_password(self, field: PasswordField) -> None:
        check_password(field.data or "", "")


class AddressForm(Form):
    address = StringField("Address of your wallet", render_kw=INPUT)


class SignedForm(Form):
    signed_xdr = TextAreaField("Signed transaction", render_kw=INPUT | {"rows": 6})

    def validate_signed_xdr(self, field: TextAreaField) -> None:
        if not (field.data or "").strip():
            raise ValidationError("Paste the signed transaction that your wallet gave back.")
