"""The words and figures of the pages."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from flask import Flask, g
from werkzeug.datastructures import MultiDict
from wtforms import FieldList, Form, FormField, StringField
from wtforms.validators import InputRequired

from portal.kernel.clock import utc_now
from portal.web import filters

NOON = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
HASH = "3f9c" + "0" * 56 + "e1ab"


@pytest.fixture
def in_jakarta():
    app = Flask(__name__)
    with app.app_context():
        g.time_zone = "Asia/Jakarta"
        yield


class TestMoney:
    @pytest.mark.parametrize(
        ("value", "text"),
        [("412", "412.00"), ("0.1234567", "0.1234567"), ("1240.5000000", "1,240.50"), ("-7.05", "−7.05")],
    )
    def test_keeps_two_decimals_and_drops_zeros_beyond(self, value, text):
        assert filters.display_amount(Decimal(value)) == text

    def test_reads_the_text_of_the_api_too(self):
        assert filters.display_amount("148.5000000") == "148.50"

    def test_gives_copy_fields_all_seven_places(self):
        assert filters.units(Decimal(60)) == "60.0000000"


class TestHashes:
    def test_show_both_ends(self):
        assert filters.short_hash(HASH) == "3f9c…e1ab"

    def test_stay_whole_when_short(self):
        assert filters.short_hash("3f9ce1ab") == "3f9ce1ab"

    def test_references_are_grouped_from_the_left(self):
        assert filters.spaced(482913077415) == "482\u00a0913\u00a0077\u00a0415"


class TestTime:
    def test_is_shown_in_the_readers_zone(self, in_jakarta):
        assert filters.moment_text(NOON, "long") == "18 Nov 2026, 19:00"
        assert filters.moment_text(NOON, "full") == "18 November 2026, 19:00 WIB"
        assert filters.moment_text(NOON, "seconds") == "18 Nov 2026, 19:00:00"
        assert filters.moment_text(NOON, "time") == "19:00"

    def test_is_utc_outside_a_request(self):
        assert filters.moment_text(NOON, "long") == "18 Nov 2026, 12:00"

    def test_falls_back_to_utc_for_an_unknown_zone(self):
        with Flask(__name__).app_context():
            g.time_zone = "../etc/passwd"

            assert filters.moment_text(NOON, "time") == "12:00"

    def test_names_today_and_yesterday(self):
        now = utc_now()

        assert filters.moment_text(now).startswith("Today, ")
        assert filters.moment_text(now - timedelta(days=1)).startswith("Yesterday, ")

    def test_names_the_year_of_another_year(self):
        assert filters.moment_text(datetime(2019, 3, 2, 8, 5, tzinfo=UTC)) == "2 Mar 2019, 08:05"

    def test_refuses_a_time_without_zone(self):
        with pytest.raises(AssertionError):
            filters.moment_text(datetime(2026, 11, 18))

    def test_writes_plain_days(self, in_jakarta):
        assert filters.day_text(date(2026, 11, 18)) == "18 Nov 2026"
        assert filters.day_text(datetime(2026, 11, 18, 20, 0, tzinfo=UTC)) == "19 Nov 2026"


class TestDueDates:
    @pytest.mark.parametrize(
        ("days", "text"),
        [(1, "tomorrow"), (-1, "yesterday"), (4, "in 4 days"), (7, "in 7 days"), (-2, "2 days ago")],
    )
    def test_are_told_by_distance_when_near(self, days, text):
        assert filters.relative_due(utc_now() + timedelta(days=days)) == text

    def test_have_an_hour_when_today(self):
        assert filters.relative_due(utc_now()).startswith("today, ")

    def test_are_dates_when_far(self):
        assert filters.relative_due(datetime(2019, 3, 2, tzinfo=UTC)) == "2 Mar 2019"


class TestStates:
    @pytest.mark.parametrize(
        ("status", "settlement", "flags", "words"),
        [
            ("DRAFT", "UNPAID", [], ["Draft"]),
            ("PENDING", "UNPAID", [], ["Pending"]),
            ("PENDING", "PARTIAL", [], ["Partly paid"]),
            ("PAID", "PAID", [], ["Paid"]),
            ("PAID", "OVERPAID", ["overpaid"], ["Overpaid"]),
            ("PAID", "PAID", ["late"], ["Paid", "Late"]),
            ("PAID", "PAID", ["short"], ["Paid", "Short"]),
            ("PAID", "OVERPAID", ["duplicate", "overpaid"], ["Paid twice"]),
            ("PAID", "UNPAID", ["reversed"], ["Reversed"]),
            ("PAID", "PARTIAL", ["late", "reversed"], ["Reversed", "Late"]),
            ("EXPIRED", "UNPAID", [], ["Expired"]),
            ("CANCELLED", "UNPAID", [], ["Cancelled"]),
        ],
    )
    def test_of_invoices_have_one_word_each(self, status, settlement, flags, words):
        assert [word for word, _ in filters.invoice_badges(status, settlement, flags)] == words

    def test_of_payments_and_submissions_have_words(self):
        assert filters.state_badge("CONFIRMED") == ("Credited", "paid")
        assert filters.state_badge("NOT_FOUND") == ("Not found", "expired")

    def test_unknown_ones_are_shown_as_they_are(self):
        assert filters.state_badge("PARKED_TODAY") == ("Parked today", "expired")


class Line(Form):
    description = StringField("Description", [InputRequired("Say what this line is for.")])


class Order(Form):
    email = StringField("Email", [InputRequired("Enter an email address.")])
    items = FieldList(FormField(Line), min_entries=1)


class TestFormProblems:
    def test_lead_to_each_wrong_input_nested_ones_too(self):
        form = Order(MultiDict({"items-0-description": "Beans", "items-1-description": ""}))
        form.validate()

        assert filters.form_problems(form) == [
            ("email", "Enter an email address."),
            ("items-1-description", "Say what this line is for."),
        ]

    def test_are_none_before_a_form_was_checked(self):
        assert filters.form_problems(Order()) == []


def test_json_is_indented_and_keeps_letters():
    assert filters.pretty_json({"name": "Kopí", "at": NOON}).splitlines()[1] == '  "name": "Kopí",'
