"""Moments are read as RFC 3339 and nothing else."""

from datetime import UTC, datetime

import pytest

from portal.kernel.clock import parse_iso


def test_a_moment_is_read_in_utc():
    assert parse_iso("2026-11-20T19:00:00+07:00") == datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-20T12:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
)
def test_what_is_no_moment_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_iso(text)
