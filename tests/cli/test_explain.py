"""`payments explain`: any hash, recorded or not, without leaving a trace."""

import json
from decimal import Decimal
from urllib.request import urlopen

import psycopg
import pytest
from click.testing import CliRunner
from stellar_sdk import IdMemo, Keypair

from config import SANDBOX_PASSPHRASE
from portal import cli
from portal.sandbox.client import fund, play_payment
from tests.support import databases


@pytest.fixture(scope="module")
def environment(new_database, base_environment, sandbox):
    return databases._variables(base_environment, new_database()) | {"HORIZON_URL": sandbox.url}


@pytest.fixture(scope="module")
def shop(environment):
    """A merchant of the demo: money credited, partly paid, and unmatched."""
    ran = CliRunner().invoke(cli.seed, ["--demo", "--json"], env=environment)
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


@pytest.fixture
def rows(environment):
    with psycopg.connect(environment["DATABASE_WORKER_URL"], autocommit=True) as connection:
        yield connection


def explain(environment, text: str, *options: str, **changes: str):
    return CliRunner().invoke(cli.payments, ["explain", text, *options], env=environment | changes)


def hash_of(rows, status: str) -> str:
    [name] = rows.execute(
        "SELECT h.hash FROM chain_transaction_hashes h JOIN payments p USING (transaction_id)"
        " WHERE p.status = %s LIMIT 1",
        [status],
    ).fetchone()
    return name


def counted(rows) -> list[int]:
    tables = ("chain_transactions", "payments", "allocations", "ledger_journals", "events", "audit_log")
    return [rows.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables]


def played(sandbox, shop, amount: str, memo: int | None) -> str:
    payer = Keypair.random()
    fund(sandbox.url, payer.public_key)
    return play_payment(
        sandbox.url,
        SANDBOX_PASSPHRASE,
        payer.secret,
        shop["wallet"],
        "native",
        Decimal(amount),
        None if memo is None else IdMemo(memo),
    )


class TestRecorded:
    def test_is_told_whole_as_json_by_either_case_of_its_hash(self, environment, shop, rows):
        told = json.loads(explain(environment, hash_of(rows, "CONFIRMED").upper(), "--json").stdout)

        [payment] = told["payments"]
        assert (told["recorded"], payment["merchant"]) == (True, shop["merchant"])
        assert payment["status"] == "CONFIRMED" and all(rule["ok"] for rule in payment["rules"])
        fields = {each["name"]: each["value"] for rule in payment["rules"] for each in rule["fields"]}
        assert fields["operations[0].amount"] == payment["amount"]
        assert fields["operations[0].to"] == shop["wallet"]
        assert fields["memo_id"] == payment["memo"]
        assert payment["transaction"]["raw"]["operations"] and payment["transaction"]["envelope_xdr"]
        [journal] = payment["journals"]
        assert {entry["side"] for entry in journal["entries"]} == {"DEBIT", "CREDIT"}
        assert shop["wallet"] in {entry["owner"] for entry in journal["entries"]}

    def test_is_told_in_lines_with_the_rule_that_failed(self, environment, shop, rows):
        ran = explain(environment, hash_of(rows, "UNMATCHED"))

        assert ran.exit_code == 0
        assert "UNMATCHED (no_reference): 7.0000000 native" in ran.stdout
        assert "NO  reference: there is no memo and no muxed id" in ran.stdout
        assert "memo_type = none" in ran.stdout


class TestNotRecorded:
    def test_is_judged_as_it_would_be_recorded_and_leaves_no_trace(self, environment, shop, rows, sandbox):
        [reference, due] = rows.execute(
            "SELECT pay_ref, amount - amount_received FROM invoices WHERE destination = %s AND status = 'PENDING'"
            " AND amount_received = 0 LIMIT 1",
            [shop["wallet"]],
        ).fetchone()
        name = played(sandbox, shop, str(due + 1), reference)
        before = counted(rows)

        told = json.loads(explain(environment, name, "--json").stdout)
        text = explain(environment, name).stdout

        [verdict] = told["verdicts"]
        [credit] = verdict["credits"]
        assert (told["recorded"], verdict["recorded"], told["found"]) == (False, False, True)
        assert (credit["outcome"], credit["excess"]) == ("CREDITED", "1.0000000")
        assert f"{shop['merchant']} would be CREDITED" in text
        assert counted(rows) == before

    def test_says_so_when_it_concerns_nobody_here(self, environment, shop, sandbox):
        elsewhere = Keypair.random().public_key
        fund(sandbox.url, elsewhere)
        name = played(sandbox, {"wallet": elsewhere}, "5", None)

        told = json.loads(explain(environment, name, "--json").stdout)

        assert told["verdicts"] == [] and told["successful"] is True
        assert "It touches no wallet of any merchant here." in explain(environment, name).stdout

    def test_tells_of_money_that_leaves_a_wallet(self, environment, shop, sandbox):
        name = play_payment(
            sandbox.url,
            SANDBOX_PASSPHRASE,
            shop["wallet_secret"],
            _funded(sandbox),
            "native",
            Decimal("1.5"),
            None,
        )

        assert "it brings nothing to this merchant's wallets" in explain(environment, name).stdout

    def test_unknown_to_the_network_is_said_and_fails(self, environment, shop):
        ran = explain(environment, "f" * 64)
        told = explain(environment, "f" * 64, "--json")

        assert ran.exit_code == told.exit_code == 1
        assert "the network does not know it" in ran.stdout
        assert (json.loads(told.stdout)["found"], json.loads(told.stdout)["recorded"]) == (False, False)

    def test_an_outage_is_told_apart_from_an_unknown_hash(self, environment, shop):
        away = {"HORIZON_URL": "http://127.0.0.1:9"}

        ran = explain(environment, "f" * 64, **away)
        told = explain(environment, "f" * 64, "--json", **away)

        assert ran.exit_code == told.exit_code == 1
        assert "the network gives no answer that counts" in ran.stderr
        assert json.loads(told.stdout)["error"] == "horizon_unavailable"

    def test_what_is_no_hash_is_refused_before_any_look_up(self, environment):
        ran = explain(environment, "12ab")

        assert ran.exit_code == 1 and "hash_malformed" in ran.stderr


class TestOtherFacts:
    def test_refunds_and_clawbacks_of_the_transaction_are_told(self, environment, shop, rows):
        name = hash_of(rows, "CONFIRMED")
        rows.execute(
            "INSERT INTO refunds (id, merchant_id, network, payment_id, wallet_id, source, destination, asset, amount,"
            " reason, status, transaction_hash, next_attempt_at)"
            " SELECT gen_random_uuid(), merchant_id, network, id, wallet_id, destination, sender, asset, 1, 'sent twice',"
            " 'PROCESSING', %s, now() FROM payments WHERE status = 'CONFIRMED' LIMIT 1",
            ["ee" * 32],
        )
        rows.execute(
            "INSERT INTO clawbacks (id, merchant_id, network, transaction_id, debit_index, wallet_id, asset, amount)"
            " SELECT gen_random_uuid(), p.merchant_id, p.network, p.transaction_id, 7, p.wallet_id, p.asset, 2"
            " FROM payments p JOIN chain_transaction_hashes h USING (transaction_id) WHERE h.hash = %s LIMIT 1",
            [name],
        )

        refund = json.loads(explain(environment, "ee" * 32, "--json").stdout)
        clawed = json.loads(explain(environment, name, "--json").stdout)

        assert [each["status"] for each in refund["refunds"]] == ["PROCESSING"]
        assert [each["amount"] for each in clawed["clawbacks"]] == ["2.0000000"]
        assert "clawback: 2.0000000 native" in explain(environment, name).stdout


def _funded(sandbox) -> str:
    address = Keypair.random().public_key
    with urlopen(f"{sandbox.url}/friendbot?addr={address}", timeout=10) as answer:
        assert answer.status == 200
    return address
