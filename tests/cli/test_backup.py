"""A dump by the backup role, restored into a fresh database, is the whole portal again."""

import subprocess

import psycopg
import pytest
from click.testing import CliRunner

from portal import cli
from tests.support import databases

COUNTED = (
    "merchants",
    "users",
    "invoices",
    "payments",
    "allocations",
    "ledger_entries",
    "events",
    "outbox",
    "audit_log",
)


@pytest.fixture
def restored(scene, services, worker_index, tmp_path):
    dump = tmp_path / "portal.dump"
    programs = services.postgres_programs
    # The role that may read past the policies and write nothing.
    run([programs / "pg_dump", "--format=custom", f"--file={dump}", scene.database.backup])
    fresh = databases._create(services, f"portal_test_{worker_index}_restored", None)
    run([programs / "pg_restore", "--exit-on-error", f"--dbname={fresh.superuser}", dump])
    yield fresh
    with databases._superuser(services) as superuser:
        databases.roles.drop_database(superuser, fresh.name)


def run(command) -> None:
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def counts(database) -> dict[str, int]:
    with psycopg.connect(database.superuser) as connection:
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in COUNTED}


def test_a_restored_dump_holds_every_row_and_passes_the_invariants(scene, restored, base_environment):
    environment = databases._variables(base_environment, restored)

    checked = CliRunner().invoke(cli.invariants, env=environment)
    verified = CliRunner().invoke(cli.ledger, ["verify"], env=environment)

    assert counts(restored) == counts(scene.database)
    assert checked.exit_code == 0, checked.stdout
    assert verified.exit_code == 0, verified.stdout


def test_the_backup_role_may_write_nothing(scene):
    with psycopg.connect(scene.database.backup) as connection:
        seen = connection.execute("SELECT count(DISTINCT merchant_id) FROM invoices").fetchone()[0]

        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE invoices SET description = 'mine'")

    assert seen == 3
