"""What the variables about Horizon accept; money in them is exact."""

from decimal import Decimal

import pytest

from config import Config

HORIZON = "https://horizon.example"
VARIABLES = {
    "DATABASE_URL": "postgresql://portal_web@db.example/portal",
    "REDIS_URL": "redis://redis.example",
    "MONGO_URL": "mongodb://mongo.example",
    "HORIZON_URL": HORIZON,
    "STELLAR_NETWORK_PASSPHRASE": "Some Network ; 2026",
    "PUBLIC_BASE_URL": "https://portal.example",
    "SECRET_KEY": "k" * 32,
    "API_KEY_PEPPER": "p" * 32,
    "FIELD_KEYS": "f" * 44,
    "SIGNING_SEED": "S" + "A" * 55,
    "WEB_AUTH_DOMAIN": "portal.example",
}


def config(**changes: str) -> Config:
    return Config.checked("web", VARIABLES | changes)


def test_one_source_at_a_generous_pace_is_the_default():
    found = config()

    assert (found.horizon_second_url, found.horizon_second_above) == ("", Decimal(0))
    assert (found.horizon_requests_per_second, found.horizon_web_lookups) == (100, 4)


def test_the_threshold_is_exact():
    found = config(HORIZON_SECOND_URL="https://second.example/", HORIZON_SECOND_ABOVE="0.0000001")

    assert found.horizon_second_url == "https://second.example"
    assert found.horizon_second_above == Decimal("0.0000001")


@pytest.mark.parametrize(
    "text", ["-1", "1e3", "NaN", "Infinity", "1,5", "0.00000001", "\uff11", "1.", " 1", "1_0"]
)
def test_a_threshold_that_is_no_plain_amount_is_refused(text):
    with pytest.raises(ValueError, match="HORIZON_SECOND_ABOVE"):
        config(HORIZON_SECOND_ABOVE=text)


@pytest.mark.parametrize(
    "url", [HORIZON, f"{HORIZON}/", "https://HORIZON.example", "https://horizon.example:443", f"{HORIZON}/v2"]
)
def test_the_same_server_is_no_second_source(url):
    with pytest.raises(ValueError, match="another server"):
        config(HORIZON_SECOND_URL=url)


@pytest.mark.parametrize("url", ["horizon.example", "ftp://horizon.example", "https://second.example:port"])
def test_a_second_source_that_is_no_address_is_refused(url):
    with pytest.raises(ValueError):
        config(HORIZON_SECOND_URL=url)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HORIZON_REQUESTS_PER_SECOND", "0"),
        ("HORIZON_REQUESTS_PER_SECOND", "nan"),
        ("HORIZON_REQUESTS_PER_SECOND", "inf"),
        ("HORIZON_WEB_LOOKUPS", "0"),
        ("HORIZON_WEB_LOOKUPS", "four"),
    ],
)
def test_a_pace_that_is_none_is_refused(name, text):
    with pytest.raises(ValueError, match=name):
        config(**{name: text})
