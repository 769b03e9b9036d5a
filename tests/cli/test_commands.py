"""The other commands, each run as it is typed: `flask --app wsgi ...`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from portal import cli
from tests.support import databases

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def flask(new_database, base_environment, sandbox):
    """Return a function that runs a command in a process of its own, on a database of its own."""
    environment = databases._system() | databases._variables(base_environment, new_database())
    environment["HORIZON_URL"] = sandbox.url

    def run(*arguments: str, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
            cwd=ROOT,
            env={name: value for name, value in environment.items() if name not in without},
            capture_output=True,
            text=True,
            check=False,
        )

    run.environment = environment
    return run


@pytest.fixture(scope="session")
def command(flask):
    """Return a function that runs a command here, which spares it the start of a process."""

    def run(command, *arguments: str):
        return CliRunner().invoke(command, list(arguments), env=flask.environment)

    return run


def test_db_upgrade_runs_as_the_owner_and_needs_no_other_dsn(flask):
    ran = flask("db", "upgrade", without=("DATABASE_URL", "DATABASE_WORKER_URL"))

    assert ran.returncode == 0, ran.stderr
    with psycopg.connect(flask.environment["DATABASE_OWNER_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_db_commands_take_the_owner_where_every_dsn_is_set(flask):
    ran = flask("db", "current")

    assert ran.returncode == 0, ran.stderr
    assert "(head)" in ran.stdout


def test_seed_prints_a_merchant_that_can_be_paid(command, flask):
    ran = flask("seed", "--json", "--demo", without=("DATABASE_URL", "DATABASE_OWNER_URL"))

    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert sorted(said) == ["api_key", "checkout", "email", "merchant", "password", "wallet", "wallet_secret"]
    assert said["api_key"].startswith("tgh_test_")
    with psycopg.connect(flask.environment["DATABASE_WORKER_URL"]) as connection:
        rows = connection.execute(
            "SELECT status, count(*) FROM invoices i JOIN wallets w USING (merchant_id) WHERE w.address = %s"
            " GROUP BY status ORDER BY status",
            [said["wallet"]],
        ).fetchall()
        paid = connection.execute(
            "SELECT status, count(*) FROM payments WHERE destination = %s GROUP BY status ORDER BY status",
            [said["wallet"]],
        ).fetchall()
    assert rows == [("CANCELLED", 1), ("DRAFT", 1), ("PAID", 1), ("PENDING", 3)]
    assert paid == [("CONFIRMED", 2), ("UNMATCHED", 1)]
    checked = command(cli.invariants)
    assert checked.exit_code == 0, checked.stdout


def test_seed_with_a_taken_address_is_refused_in_a_sentence(command):
    mine = ("--email", "twice@example.com", "--password", "correct horse battery")
    first = command(cli.seed, *mine)

    ran = command(cli.seed, *mine)

    assert first.exit_code == 0, first.output
    assert ran.exit_code == 1
    assert "email_taken" in ran.stderr


def test_an_unknown_worker_job_is_refused(command):
    ran = command(cli.worker, "--only", "relay,dance")

    assert ran.exit_code == 2
    assert "dance" in ran.stderr


def test_a_missing_dsn_is_named(flask):
    ran = flask("invariants", without=("DATABASE_WORKER_URL",))

    assert ran.returncode == 78
    assert "DATABASE_WORKER_URL" in ran.stderr


def test_logs_hide_secrets(flask):
    code = (
        "import structlog; from portal.kernel.logs import configure_logs; configure_logs();"
        " structlog.get_logger().warning('look', password='hunter2', paging_token='12',"
        f" text='key tgh_test_abcd1234xyz of {'S' + 'A' * 55} at postgres://me:pw@host/db')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )

    told = json.loads(ran.stderr)
    assert told["password"] == "[redacted]"
    assert told["paging_token"] == "12"
    assert told["text"] == "key [redacted] of [redacted] at postgres://[redacted]@host/db"


def test_dead_outbox_rows_are_listed_retried_and_discarded(command, flask):
    assert command(cli.seed).exit_code == 0
    with psycopg.connect(flask.environment["DATABASE_WORKER_URL"], autocommit=True) as connection:
        connection.execute(
            "UPDATE outbox SET state = 'DEAD', dead_at = now(), attempts = 9 WHERE id IN"
            " (SELECT id FROM outbox WHERE consumer = 'feed' ORDER BY id DESC LIMIT 2)"
        )

        [first, second] = json.loads(command(cli.outbox, "list", "--json").stdout)
        retried = command(cli.outbox, "retry", first["event"])
        discarded = command(cli.outbox, "discard", "--all", "--reason", "never needed")

        states = dict(
            connection.execute("SELECT state, discard_reason FROM outbox WHERE consumer = 'feed'").fetchall()
        )
    assert first["attempts"] == 9
    assert second["consumer"] == "feed"
    assert retried.stdout == "1 rows will be tried again\n"
    assert discarded.stdout == "1 rows discarded\n"
    assert states == {"PENDING": None, "DISCARDED": "never needed"}
