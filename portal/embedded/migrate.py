"""`python -m portal.embedded.migrate`: bring the database to the newest migration, as its owner.

`flask --app wsgi db upgrade` does the same, but through an app that serves, which wants more settings.
"""

from flask_migrate import upgrade

from config import Config
from portal.app import create_app


def main() -> None:
    app = create_app(Config.from_env("owner"))
    with app.app_context():
        upgrade()


if __name__ == "__main__":
    main()
