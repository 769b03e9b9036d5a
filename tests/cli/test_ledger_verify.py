"""`ledger verify` derives the books once more and tells each figure that is not what the facts say."""

import json

import pytest

from portal import cli
from portal.kernel.refs import to_ref
from tests.cli.test_invariants import move_credit_elsewhere

CASES = {}


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


@tells("{income} income balance: stored one more than derived")
def _(copy):
    copy.sql(
        "UPDATE account_balances SET balance = balance + 1 WHERE account_id = %(income)s", **account(copy)
    )


def account(copy):
    return {
        "income": copy.sql("SELECT id FROM ledger_accounts WHERE kind = 'income' AND merchant_id = %(shop)s")
    }


def failures(result) -> list[str]:
    return [line.removeprefix("FAIL ") for line in result.stdout.splitlines() if line.startswith("FAIL ")]


@pytest.mark.parametrize("line", sorted(CASES))
def test_a_wrong_figure_is_told_by_its_own_line_alone(line, copy):
    CASES[line](copy)

    result = copy.run(cli.ledger, "verify")

    refs = {name: to_ref("inv", copy.ids[name]) for name in ("open", "paid", "big")}
    head, _, figures = line.partition(" ")
    [told] = failures(result)
    assert told.startswith(head.format(**refs, income=to_ref("acc", account(copy)["income"])))
    if "income" not in line:
        assert told.endswith(figures)
    assert result.exit_code == 1


def test_whole_books_have_no_difference(copy):
    result = copy.run(cli.ledger, "verify", "--json")

    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert told["differences"] == []
    assert told["invoices"] == 36
