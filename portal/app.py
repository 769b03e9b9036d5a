"""The application factory: binds extensions, registers blueprints, error handlers, filters and commands."""

from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

import portal.adapters.page_cache  # it drops kept pages after each commit, whoever commits
import portal.models  # noqa: F401  every table must be known before the mapper is used
from config import Config
from portal.extensions import csrf, db, limiter, login_manager, mongo, redis, site
from portal.web.hosts import TrustedHosts

ROOT = Path(__file__).parent.parent
# Requests are short; whatever runs longer holds locks that payments wait for.
STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 10_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000
BODY_LIMIT_BYTES = 1_000_000


def create_app(config: Config) -> Flask:
    """Return an app that serves as `config.role`: web (pages and API), worker or owner (commands alone)."""
    app = Flask("portal", root_path=str(ROOT / "portal"), template_folder=str(ROOT / "templates"))
    app.static_folder = str(ROOT / "static")
    app.config.update(
        TAGIH=config,
        SECRET_KEY=config.secret_key,
        MAX_CONTENT_LENGTH=BODY_LIMIT_BYTES,
        SQLALCHEMY_DATABASE_URI=engine_url(config.database_url),
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(config),
        SESSION_COOKIE_NAME="__Host-flash" if config.is_production else "flash",
        SESSION_COOKIE_SECURE=config.is_production,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_HTTPONLY=True,
        WTF_CSRF_TIME_LIMIT=None,
        RATELIMIT_STORAGE_URI=config.redis_url,
        RATELIMIT_STRATEGY="sliding-window-counter",
        RATELIMIT_HEADERS_ENABLED=True,
        RATELIMIT_IN_MEMORY_FALLBACK_ENABLED=True,
        RATELIMIT_SWALLOW_ERRORS=True,
    )
    if config.role == "web":
        # Probes on the machine itself name it by loopback; links are made from PUBLIC_BASE_URL alone.
        names = {urlsplit(config.public_base_url).hostname or "localhost", "localhost", "127.0.0.1"}
        app.wsgi_app = TrustedHosts(app.wsgi_app, names)  # type: ignore[method-assign]
    if config.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    _bind(app)
    if config.role == "web":
        _register_web(app)
    return app


def engine_url(dsn: str) -> str:
    """Turn a libpq DSN into SQLAlchemy's spelling for psycopg 3."""
    scheme, separator, rest = dsn.partition("://")
    if scheme not in {"postgresql", "postgres"} or not separator:
        raise ValueError("a database URL begins with postgresql://")
    return f"postgresql+psycopg://{rest}"


def engine_options(config: Config) -> dict[str, object]:
    timeouts = (
        f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS} -c timezone=UTC"
    )
    return {
        "pool_size": 5,
        "max_overflow": 15,
        "pool_recycle": 1800,
        "connect_args": {
            "options": timeouts,
            "application_name": f"tagih-{config.role}",
            "connect_timeout": 5,
        },
    }


def _bind(app: Flask) -> None:
    db.init_app(app)
    if app.config["TAGIH"].role == "owner":
        # Only this role may migrate; Alembic is not worth its memory in the others.
        from flask_migrate import Migrate

        Migrate(app, db, directory=str(ROOT / "migrations"))
    redis.init_app(app)
    mongo.init_app(app)
    site.init_app(app)


def _register_web(app: Flask) -> None:
    """Pages and API; imported here because commands and workers need none of it."""
    from portal.api.v1.routes import init_api
    from portal.web.access import check_every_route_is_marked, init_access
    from portal.web.auth.views import bp as auth
    from portal.web.balances.views import bp as balances
    from portal.web.checkout.views import bp as checkout
    from portal.web.clients.views import bp as clients
    from portal.web.developers.views import bp as developers
    from portal.web.errors import register_error_handlers
    from portal.web.filters import register_filters
    from portal.web.frame import init_frame
    from portal.web.headers import init_headers
    from portal.web.health.views import bp as health
    from portal.web.home.views import bp as home
    from portal.web.invoices.crediting import bp as invoices
    from portal.web.metrics import init_metrics
    from portal.web.navigation import init_navigation
    from portal.web.payments.views import bp as payments
    from portal.web.refunds.views import bp as refunds
    from portal.web.settings.views import bp as settings

    # Headers first: they name the request before anything may refuse it.
    init_headers(app)
    init_metrics(app)
    csrf.init_app(app)
    login_manager.init_app(app)
    limiter.init_app(app)
    # Only marked views have limits and each checks its own; asking on every other request costs a tenth of
    # a cached page.
    app.before_request_funcs[None].remove(limiter._check_request_limit)
    init_navigation(app)
    init_frame(app)
    register_filters(app)
    register_error_handlers(app)
    init_access(app)
    app.register_blueprint(health)
    app.register_blueprint(checkout)
    app.register_blueprint(auth)
    app.register_blueprint(settings)
    app.register_blueprint(developers)
    for pages in (home, invoices, clients, payments, refunds, balances):
        app.register_blueprint(pages)
    init_api(app)
    check_every_route_is_marked(app)
