"""The WSGI entry point: `granian --interface wsgi wsgi:app`; commands: `flask --app wsgi ...`."""

from portal.app import create_app
from portal.cli import config_of_process, register_commands
from portal.kernel.logs import configure_logs

configure_logs()
app = create_app(config_of_process())
register_commands(app)
