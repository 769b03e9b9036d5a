"""`ledger verify` derives the books once more and tells each figure that is not what the facts say."""

import json

import pytest

from portal import cli
from portal.kernel.refs import to_ref
from tests.cli.test_invariants import move_credit_elsewhere

CASES = {}
OTHER = "G" + "B" * 55


def tells(line):
    def keep(function):
        CASES[line] = function
        return function

    return keep


@tells("{open} amount_received: stored 1.0000000, derived 0.0000000")
def _(copy):
    copy.sql("UPDATE invoices SET amount_received = 1 WHERE id = %(open)s")


@tells("{paid} allocated: stored 90.0000000, derived 0.0000000")
def _(copy):
    move_credit_elsewhere(copy)


@tells("{open} status: stored EXPIRED, derived PENDING")
def _(copy):
    copy.drop_check("invoices", "ck_invoices_closed_has_time")
    copy.sql("UPDATE invoices SET status = 'EXPIRED' WHERE id = %(open)s")


@tells("{big} settlement: stored PAID, derived UNPAID")
def _(copy):
    copy.sql('UPDATE events SET payload = payload || \'{"settlement": "PAID"}\' WHERE aggregate_id = %(big)s')


@tells("{income} income balance: stored {income_after}, derived {income_before}")
def _(copy):
    copy.sql(
        "UPDATE account_balances SET balance = balance + 1 WHERE account_id = %(income)s", **account(copy)
    )


@tells("{paid} flags: stored late, derived none")
def _(copy):
    copy.sql("UPDATE invoices SET flags = '{late}' WHERE id = %(paid)s")


@tells("{over} overpaid_by: stored 11.0000000, derived 10.0000000")
def _(copy):
    copy.sql("UPDATE invoices SET overpaid_by = 11 WHERE id = %(over)s")


@tells("{paid} paid_at: stored 2027-01-01 00:00:00+00:00, derived 2026-11-20 12:05:00+00:00")
def _(copy):
    copy.sql("UPDATE invoices SET paid_at = '2027-01-01T00:00:00Z' WHERE id = %(paid)s")


@tells("{signed_payment} amount: stored 91.0000000, derived 90.0000000")
def _(copy):
    copy.sql("UPDATE payments SET amount = 91 WHERE id = %(signed_payment)s")


@tells("{signed_payment} sender: stored {other}, derived {sender}")
def _(copy):
    copy.sql("UPDATE payments SET sender = %(other)s WHERE id = %(signed_payment)s", other=OTHER)


@tells("{signed_payment} ledger: stored 8, derived 7")
def _(copy):
    copy.sql("UPDATE chain_transactions SET ledger = 8 WHERE canonical_hash = %(signed_hash)s")


@tells("{signed_payment} verdict: stored UNMATCHED no_reference, derived CREDITED {signed_invoice}")
def _(copy):
    copy.sql(
        "UPDATE payments SET status = 'UNMATCHED', reason = 'no_reference', invoice_id = NULL"
        " WHERE id = %(signed_payment)s"
    )


@tells(
    "{signed_payment} chain record: stored contradicts its envelope, derived amount is missing, malformed or contradicts the envelope"
)
def _(copy):
    copy.sql(
        "UPDATE chain_transactions SET raw = jsonb_set(raw, '{operations,0,amount}', '\"91.0000000\"')"
        " WHERE canonical_hash = %(signed_hash)s"
    )


def account(copy):
    return {
        "income": copy.sql("SELECT id FROM ledger_accounts WHERE kind = 'income' AND merchant_id = %(shop)s")
    }


def failures(result) -> list[str]:
    return [line.removeprefix("FAIL ") for line in result.stdout.splitlines() if line.startswith("FAIL ")]


@pytest.mark.parametrize("line", sorted(CASES))
def test_a_wrong_figure_is_told_by_its_own_line_alone(line, copy):
    named = names(copy)
    CASES[line](copy)

    result = copy.run(cli.ledger, "verify")

    [told] = failures(result)
    assert told == line.format(**named), result.stdout
    assert result.exit_code == 1


def names(copy):
    refs = {
        name: to_ref(prefix, copy.ids[name])
        for name, prefix in (
            ("open", "inv"), ("paid", "inv"), ("big", "inv"), ("over", "inv"), ("signed_payment", "pay"),
            ("signed_invoice", "inv"),
        )
    }  # fmt: skip
    sender = copy.sql("SELECT sender FROM payments WHERE id = %(signed_payment)s")
    income = copy.sql("SELECT balance FROM account_balances WHERE account_id = %(income)s", **account(copy))
    return {
        **refs,
        "income": to_ref("acc", account(copy)["income"]),
        "income_before": income,
        "income_after": income + 1,
        "sender": sender,
        "other": OTHER,
    }


def test_a_credit_without_a_payment_is_found_in_the_chain_rows(copy):
    copy.sql("DELETE FROM payments WHERE id = %(signed_payment)s")

    result = copy.run(cli.ledger, "verify")

    line = f"{copy.ids['signed_hash']} credit 0.0: stored none, derived 90.0000000 native"
    assert line in failures(result)


def test_one_merchant_is_verified_alone(copy):
    copy.sql("UPDATE invoices SET amount_received = 1 WHERE id = %(open)s")

    theirs = copy.run(cli.ledger, "verify", "--json", "--merchant", to_ref("mer", copy.ids["stranger"]))
    ours = copy.run(cli.ledger, "verify", "--json", "--merchant", to_ref("mer", copy.ids["shop"]))

    assert (theirs.exit_code, json.loads(theirs.stdout)["invoices"]) == (0, 1)
    assert (ours.exit_code, json.loads(ours.stdout)["invoices"]) == (1, 9)


def test_whole_books_have_no_difference(copy):
    result = copy.run(cli.ledger, "verify", "--json")

    told = json.loads(result.stdout)
    assert (result.exit_code, told["differences"]) == (0, [])
    assert told["invoices"] == copy.sql("SELECT count(*) FROM invoices")
    assert told["payments"] == copy.sql("SELECT count(*) FROM payments")
    # Transactions that nobody signed prove nothing: their payments count as they are.
    assert told["unread"] == told["payments"] - 2
