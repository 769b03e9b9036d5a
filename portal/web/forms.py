"""What the portal's forms share: checks of the domain as WTForms validators, choices, classes of inputs."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import request
from flask_wtf import FlaskForm
from flask_wtf.form import _Auto, _is_submitted
from wtforms import Field, ValidationError
from wtforms.fields.choices import SelectChoice

from portal.domain.merchants.rules import time_zones
from portal.kernel.errors import TagihError

INPUT = {"class": "input"}


class Form(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """Base of every form of the portal."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        def wrap_formdata(self, form: FlaskForm, formdata: Any) -> Any:
            """Read the fields of a sent form alone.

            Flask-WTF would take JSON and files too, and with them numbers, lists and streams where every
            rule of ours expects text.
            """
            if formdata is not _Auto:
                return formdata
            return request.form or None if _is_submitted() else None


class Checked:
    """Runs a rule of the domain on the typed text and keeps what it returns as `field.checked`.

    The rule's refusal becomes the field's error; an empty field counts as empty text.
    """

    def __init__(self, rule: Callable[[str], object]) -> None:
        self._rule = rule

    def __call__(self, form: Form, field: Field) -> None:
        del form  # a rule is about one field
        try:
            field.checked = self._rule(str(field.data or ""))
        except TagihError as refusal:
            raise ValidationError(refusal.detail) from refusal


def checked(field: Field) -> Any:
    """Return what the rule of a validated field made of its text."""
    return field.checked


def add_error(field: Field, refusal: TagihError) -> None:
    """Show a refusal of the domain beside the field that it is about."""
    field.errors = [*field.errors, refusal.detail]


def choices(pairs: Iterable[tuple[str, str]]) -> list[SelectChoice]:
    """Return (value, label) pairs as WTForms wants them."""
    return [SelectChoice(value, label) for value, label in pairs]


def time_zone_choices() -> list[SelectChoice]:
    return choices((name, name.replace("_", " ")) for name in time_zones())
