"""Forms of sign-up, sign-in and passwords; what is typed is kept on refusal, but for passwords."""

from wtforms import PasswordField, SelectField, StringField, ValidationError

from portal.domain.merchants import rules
from portal.kernel.errors import TagihError
from portal.web.forms import INPUT, Checked, Form, time_zone_choices


def _email(text: str) -> str:
    return rules.clean_email(text)


class SignUpForm(Form):
    business_name = StringField(
        "Business name", [Checked(lambda text: rules.clean_text(text, what="the name of your business"))],
        render_kw=INPUT,
    )  # fmt: skip
    name = StringField(
        "Your name", [Checked(lambda text: rules.clean_text(text, what="your name"))], render_kw=INPUT
    )
    email = StringField("Email", [Checked(_email)], render_kw=INPUT)
    password = PasswordField("Password", render_kw=INPUT)
    time_zone = SelectField(
        "Time zone", [Checked(rules.clean_time_zone)], default="UTC", validate_choice=False, render_kw=INPUT
    )

    def __init__(self) -> None:
        super().__init__()
        self.time_zone.choices = time_zone_choices()

    def validate_password(self, field: PasswordField) -> None:
        check_password(field.data or "", self.email.data or "")


class VerifyForm(Form):
    email = StringField("Email", [Checked(_email)], render_kw=INPUT)
    code = StringField("6-digit code", render_kw=INPUT)


class ResendForm(Form):
    email = StringField("Email", [Checked(_email)], render_kw=INPUT)


class LoginForm(Form):
    email = StringField("Email", render_kw=INPUT)
    password = PasswordField("Password", render_kw=INPUT)


class AskResetForm(Form):
    email = StringField("Email", [Checked(_email)], render_kw=INPUT)


class ResetForm(Form):
    password = PasswordField("New password", render_kw=INPUT)

    def validate_password(self, field: PasswordField) -> None:
        check_password(field.data or "", "")


class ConfirmForm(Form):
    password = PasswordField("Password", render_kw=INPUT)


def check_password(password: str, email: str) -> None:
    try:
        rules.check_password(password, email=email)
    except TagihError as refusal:
        raise ValidationError(refusal.detail) from refusal
