"""Every module of tests/support brings its fixtures; what they are is told there.

servers: `services`, `private_services` (real PostgreSQL, Valkey, mongod: one set a session)
databases: `database`, `new_database`, `environment`, `config_web`, `config_worker`, `config_owner`
networks: `sandbox`, `sandbox_environment`          chromium: `chromium`
desk: `desk`, an empty portal as its worker sees it, with a MongoDB of its own
"""

from pathlib import Path

pytest_plugins = [
    f"tests.support.{module.stem}"
    for module in sorted((Path(__file__).parent / "support").glob("*.py"))
    if module.stem != "__init__"
]
