"""Requests that name another host than ours are refused before anything reads them."""

import pytest


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "127.0.0.2", ""]
)
def test_a_foreign_host_is_refused(client, host):
    assert client.get("/login", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000"])
def test_our_own_names_are_served(client, host):
    assert client.get("/login", headers={"Host": host}).status_code == 200


def test_a_foreign_host_gets_problem_json_from_the_api(client):
    answer = client.get("/api/v1/invoices", headers={"Host": "evil.example"})

    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
