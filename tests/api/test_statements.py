"""No route sends more statements than it is stated to (design, section 12, T3)."""

import pytest
from sqlalchemy import event

from portal.extensions import db


@pytest.fixture
def count(api_app, caller):
    """Return a function that sends a request and returns what SQL it took, the key being known already."""
    sent: list[str] = []

    def note(connection, cursor, statement, parameters, context, executemany):
        sent.append(" ".join(statement.split()))

    with api_app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    caller.get("/invoices")

    def send(method, path, status, **options):
        sent.clear()
        response = caller.send(method, path, **options)
        assert response.status_code == status, response.get_data(as_text=True)
        return list(sent)

    yield send
    event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def invoice(caller):
    return caller.make_invoice()


KEY = {"Idempotency-Key": "k"}


def test_a_draft_takes_nine(count):
    body = {"amount": "1", "asset": "native", "description": "Beans", "metadata": {"order": "7"}}

    sent = count("POST", "/invoices", 201, json=body, headers=KEY)

    assert len(sent) <= 9, "\n".join(sent)


def test_an_issued_invoice_takes_fourteen(count, invoice):
    body = {"amount": "1", "asset": "native", "issue": True}

    sent = count("POST", "/invoices", 201, json=body, headers=KEY)

    assert len(sent) <= 14, "\n".join(sent)


def test_a_replay_takes_three(count):
    body = {"amount": "1"}
    count("POST", "/invoices", 201, json=body, headers=KEY)

    assert len(count("POST", "/invoices", 201, json=body, headers=KEY)) <= 3


@pytest.mark.parametrize(
    ("path", "most"),
    [("/invoices", 3), ("/invoices?q=beans", 4), ("/payments", 4), ("/clients", 3), ("/events", 3)],
)
def test_a_list_takes_no_more_the_longer_it_is(count, caller, path, most):
    for _ in range(3):
        caller.make_invoice(client={"name": "Sri"}, description="beans")

    sent = count("GET", path, 200)

    assert len(sent) <= most, "\n".join(sent)


def test_an_invoice_takes_six(count, invoice):
    sent = count("GET", f"/invoices/{invoice['id']}", 200)

    assert len(sent) <= 6, "\n".join(sent)


def test_crediting_a_submission_takes_thirty(count, invoice, payer):
    target = invoice["pay_to"]
    paid = payer.pay(target["address"], invoice["amount_due"], target["memo"])

    sent = count(
        "POST",
        f"/invoices/{invoice['id']}/submissions",
        201,
        json={"transaction_hash": paid},
        headers=KEY,
    )

    assert len(sent) <= 30, "\n".join(sent)


@pytest.mark.parametrize(("path", "body", "most"), [("issue", {}, 18), ("cancel", {}, 14)])
def test_a_change_of_state_takes_its_number(count, caller, invoice, path, body, most):
    # The first invoice left the wallet known to be ready.
    invoice = caller.make_invoice(issue=path != "issue")

    sent = count("POST", f"/invoices/{invoice['id']}/{path}", 200, json=body, headers=KEY)

    assert len(sent) <= most, f"{len(sent)}\n" + "\n".join(sent)
