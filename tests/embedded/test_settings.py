"""What `make run` makes of its environment."""

import os
import stat

import pytest

from config import SANDBOX_PASSPHRASE, Config, gather_environment
from portal.embedded import settings
from portal.embedded.processes import StartRefused

SERVICES = {
    "DATABASE_URL": "postgresql://portal_web:a@127.0.0.1:1/portal",
    "DATABASE_WORKER_URL": "postgresql://portal_worker:b@127.0.0.1:1/portal",
    "DATABASE_OWNER_URL": "postgresql://portal_owner:c@127.0.0.1:1/portal",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "MONGO_URL": "mongodb://127.0.0.1:1/tagih",
}


def plan_for(folder, **environ):
    return settings.make_plan({"VAR_DIR": str(folder), **environ})


class TestMakePlan:
    def test_starts_everything_by_default(self, tmp_path):
        plan = plan_for(tmp_path)

        assert plan.wanted == ("postgres", "valkey", "mongo")
        assert (plan.port, plan.sandbox_port) == (8000, 8001)

    def test_starts_no_service_that_a_variable_names(self, tmp_path):
        plan = plan_for(
            tmp_path, **SERVICES, HORIZON_URL="http://127.0.0.1:2", STELLAR_NETWORK_PASSPHRASE="p"
        )

        assert plan.wanted == ()
        assert plan.sandbox_url is None

    def test_refuses_a_database_with_a_role_missing(self, tmp_path):
        with pytest.raises(StartRefused, match="DATABASE_WORKER_URL, DATABASE_OWNER_URL must be set too"):
            plan_for(tmp_path, DATABASE_URL=SERVICES["DATABASE_URL"])

    def test_refuses_a_network_without_its_passphrase(self, tmp_path):
        with pytest.raises(StartRefused, match="STELLAR_NETWORK_PASSPHRASE"):
            plan_for(tmp_path, HORIZON_URL="http://127.0.0.1:2")

    @pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "80.0"])
    def test_refuses_what_is_no_port(self, tmp_path, port):
        with pytest.raises(StartRefused, match="PORT must be a port"):
            plan_for(tmp_path, PORT=port)

    def test_is_not_misled_by_the_file_of_the_last_run(self, tmp_path):
        settings.write_environment(tmp_path / "env", SERVICES)

        assert plan_for(tmp_path).wanted == ("postgres", "valkey", "mongo")


class TestVariables:
    def test_satisfy_every_role(self, tmp_path):
        values = settings.variables(plan_for(tmp_path), SERVICES)

        for role in ("web", "worker", "owner"):
            config = Config.checked(role, values)
            assert config.network_passphrase == SANDBOX_PASSPHRASE

    def test_keep_their_secrets_between_runs(self, tmp_path):
        first = settings.variables(plan_for(tmp_path), SERVICES)
        second = settings.variables(plan_for(tmp_path, PORT="8010"), SERVICES)

        for name in ("SECRET_KEY", "API_KEY_PEPPER", "FIELD_KEYS", "SIGNING_SEED"):
            assert first[name] == second[name]

    def test_given_ones_win(self, tmp_path):
        plan = plan_for(tmp_path, SECRET_KEY="g" * 40, PUBLIC_BASE_URL="https://pay.example")
        values = settings.variables(plan, SERVICES)

        assert values["SECRET_KEY"] == "g" * 40
        assert values["WEB_AUTH_DOMAIN"] == "pay.example"

    def test_reach_a_second_terminal_through_a_private_file(self, tmp_path):
        values = settings.variables(plan_for(tmp_path), SERVICES)
        settings.write_environment(tmp_path / "env", values)

        read = gather_environment({"VAR_DIR": str(tmp_path)})

        assert stat.S_IMODE(os.stat(tmp_path / "env").st_mode) == 0o600
        assert read == values

    def test_the_web_process_gets_no_other_role(self, tmp_path):
        values = settings.variables(plan_for(tmp_path), SERVICES)
        settings.write_environment(tmp_path / "env", values)

        seen = gather_environment(settings.for_web(values))

        assert "DATABASE_URL" in seen
        assert not {"DATABASE_WORKER_URL", "DATABASE_OWNER_URL", "DATABASE_BACKUP_URL"} & seen.keys()
