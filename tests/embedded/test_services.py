"""The embedded servers survive what happens to a launcher: signals, crashes, taken ports, other users."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pymongo
import pytest
import redis

from portal.embedded import processes
from portal.embedded.home import Home, others_may_enter, write_private
from portal.embedded.processes import Record, StartRefused
from portal.embedded.services import Services
from tests.embedded.launching import ROOT, launched

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def folder():
    """A folder that every account can pass through; pytest's own are private."""
    made = Path(tempfile.mkdtemp(prefix="tagih-services-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def remember(urls):
    with psycopg.connect(urls["DATABASE_OWNER_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('durable')")
    with redis.Redis.from_url(urls["REDIS_URL"]) as client:
        client.set("kept", "durable")
    with pymongo.MongoClient(urls["MONGO_URL"]) as client:
        client.get_default_database().kept.insert_one({"word": "durable"})


def recall(urls):
    with psycopg.connect(urls["DATABASE_OWNER_URL"]) as connection:
        rows = connection.execute("SELECT count(*) FROM kept").fetchone()
    with redis.Redis.from_url(urls["REDIS_URL"]) as client:
        word = client.get("kept")
    with pymongo.MongoClient(urls["MONGO_URL"]) as client:
        documents = client.get_default_database().kept.count_documents({})
    return rows[0], word, documents


def is_gone(pid):
    return processes.wait_until(lambda: not Path(f"/proc/{pid}").exists(), seconds=10)


class TestDurableServices:
    def test_they_end_with_a_killed_launcher_and_keep_everything(self, folder):
        with launched(folder) as first:
            remember(first.urls)
            pids = [first.pid_of(name) for name in ("postgres", "valkey", "mongo")]
            # The append-only file is synced every second, as Redis does by default.
            with redis.Redis.from_url(first.urls["REDIS_URL"]) as client:
                client.execute_command("WAITAOF", 1, 0, 2000)
            first.process.kill()
            first.process.wait()
            assert all(is_gone(pid) for pid in pids)

        with launched(folder) as second:
            assert recall(second.urls) == (1, b"durable", 1)
            assert second.urls == first.urls

    def test_orphans_and_stale_locks_of_a_killed_launcher_are_cleared(self, folder, monkeypatch):
        # Without setpriv the kernel does not end the servers with their launcher.
        monkeypatch.setattr(processes.shutil, "which", lambda _: None)
        orphans = Services(folder, durable=True, wanted=["postgres", "valkey"])
        orphans.start()
        pids = [server.process.pid for server in orphans.servers]

        following = Services(folder, durable=True, wanted=["postgres", "valkey"])
        following.start()

        try:
            # Our own children stay zombies until somebody waits for them: ask for their state instead.
            assert [server.process.poll() is not None for server in orphans.servers] == [True, True]
            assert {server.process.pid for server in following.servers}.isdisjoint(pids)
            with psycopg.connect(following.urls()["DATABASE_URL"]) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        finally:
            following.stop()

    def test_a_lock_file_whose_pid_is_a_stranger_is_not_obeyed(self, folder):
        services = Services(folder, durable=False, wanted=["postgres"])
        services.start()
        lock = services.postgres.data / "postmaster.pid"
        lines = lock.read_text().splitlines()
        os.kill(services.postgres.process.pid, signal.SIGKILL)
        services.postgres.process.wait()
        lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

        services.start()

        try:
            assert services.postgres.process.poll() is None
        finally:
            services.stop()

    def test_mongo_moves_to_another_port_with_its_data_and_password(self, folder):
        first = Services(folder, durable=True, wanted=["mongo"])
        first.start()
        with pymongo.MongoClient(first.mongod.url) as client:
            client.get_default_database().kept.insert_one({"word": "durable"})
        first.stop()

        moved = Services(folder, durable=True, wanted=["mongo"], ports={"mongo": processes.free_port()})
        moved.start()

        try:
            with pymongo.MongoClient(moved.mongod.url) as client:
                assert client.get_default_database().kept.count_documents({}) == 1
            with (
                pymongo.MongoClient("127.0.0.1", moved.mongod.port, directConnection=True) as stranger,
                pytest.raises(pymongo.errors.OperationFailure),
            ):
                stranger.tagih.kept.find_one()
        finally:
            moved.stop()

    def test_sigterm_stops_them_within_ten_seconds(self, folder):
        with launched(folder, "--throwaway") as launcher:
            pids = [launcher.pid_of(name) for name in ("postgres", "valkey", "mongo")]
            launcher.process.send_signal(signal.SIGTERM)

            assert launcher.process.wait(timeout=10) == 0
            assert all(is_gone(pid) for pid in pids)


class TestRefusals:
    def test_a_taken_port_names_the_service_and_both_ways_out(self, folder):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]

            with pytest.raises(StartRefused) as refusal:
                Services(folder, durable=False, wanted=["valkey"], ports={"valkey": port}).start()

        assert f"port {port} is taken" in refusal.value.detail
        assert "EMBEDDED_REDIS_PORT" in refusal.value.detail and "REDIS_URL" in refusal.value.detail

    def test_a_server_that_dies_at_once_is_named_with_its_reason(self, folder):
        services = Services(folder, durable=False, wanted=["postgres"])
        services.start()
        services.stop()
        (services.postgres.data / "global" / "pg_control").unlink()

        with pytest.raises(StartRefused) as refusal:
            services.start()

        assert refusal.value.detail.startswith("PostgreSQL cannot start: it ended with status")
        assert "DATABASE_URL" in refusal.value.detail and "pg_control" in refusal.value.detail

    def test_lost_passwords_are_told_before_anything_starts(self, folder):
        home = Home.open(folder)
        (home.folder("postgres") / "PG_VERSION").write_text("18\n")

        with pytest.raises(StartRefused, match=r"secrets\.json is missing"):
            Home.open(folder)

    def test_a_recycled_pid_is_never_taken_for_a_server(self):
        mine = Record.of(os.getpid(), marker="python", port=1)
        recycled = Record(os.getpid(), mine.start_ticks + 1, "python", 1)
        stranger = Record(os.getpid(), mine.start_ticks, "/nowhere/at/all", 1)

        assert mine.is_running()
        assert not recycled.is_running()
        assert not stranger.is_running()


class TestAccounts:
    @as_root
    def test_no_server_runs_as_root(self, folder):
        with launched(folder, "--throwaway") as launcher:
            owners = {
                os.stat(f"/proc/{launcher.pid_of(name)}").st_uid for name in ("postgres", "valkey", "mongo")
            }

            assert 0 not in owners

    @as_root
    def test_a_folder_that_only_root_may_enter_is_no_obstacle(self, folder):
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        services = Services(closed / "services", durable=False, wanted=["valkey"])

        services.start()

        try:
            assert redis.Redis.from_url(services.valkey.url).ping()
            assert (closed / "services" / "LOCATION").read_text().strip() == str(services.home.path)
        finally:
            services.stop()
            services.home.remove()

    @as_root
    def test_a_plain_user_runs_them_as_himself(self, folder):
        interpreter = Path(sys.executable).resolve()
        packages = Path(psycopg.__file__).parents[1]
        if not (others_may_enter(interpreter) and others_may_enter(packages)):
            pytest.skip("a plain user cannot enter this interpreter or this checkout")
        os.chown(folder, 65534, 65534)

        with launched(
            folder,
            interpreter=interpreter,
            environment={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(packages)},
            user=65534,
            group=65534,
            extra_groups=[],
        ) as launcher:
            remember(launcher.urls)

            assert recall(launcher.urls) == (1, b"durable", 1)
            assert os.stat(f"/proc/{launcher.pid_of('postgres')}").st_uid == 65534

    def test_secrets_are_readable_by_their_owner_alone(self, folder):
        services = Services(folder, durable=True, wanted=["valkey"])
        services.start()
        services.stop()
        write_private(folder / "env", "SECRET_KEY=x\n")

        for name in ("secrets.json", "valkey.conf", "env"):
            assert stat.S_IMODE((services.home.path / name).stat().st_mode) == 0o600, name

    def test_no_password_is_on_a_command_line(self, folder):
        services = Services(folder, durable=True, wanted=["valkey"])
        services.start()
        try:
            line = processes.command_line(services.valkey.process.pid)
        finally:
            services.stop()

        assert services.home.secret("redis") not in line


def test_the_set_up_script_runs_on_the_standard_library_alone():
    helped = subprocess.run(
        [sys.executable, "-I", "-S", "portal/embedded/bootstrap.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert helped.returncode == 0, helped.stderr
