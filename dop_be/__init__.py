"""dop_be: a platform's settings in one row, and its maintenance switch."""

from __future__ import annotations

from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from . import database, errors, live
from .access import cli as access_cli
from .access import guessing
from .extensions import api, migrate
from .maintenance import api as maintenance_api
from .maintenance import cli as maintenance_cli
from .maintenance import gate
from .maintenance.bypass import cli as bypass_cli
from .maintenance.bypass import link as bypass_link
from .ops import health, logs
from .panel import pages
from .settings import api as settings_api
from .settings import cli as settings_cli

EXPOSED_HEADERS = ["ETag", "Retry-After", "X-Maintenance-Mode", "X-Maintenance-Starts", "X-Request-ID"]


def create_app(config: object) -> Flask:
    """Build the application.

    Args:
        config: an object with upper-case attributes, those of `config.Config`.
    """
    app = Flask(__name__, template_folder="panel/templates", static_folder="panel/static")
    app.config.from_object(config)
    app.config.from_mapping(API_TITLE="dop_be", API_VERSION="v1", OPENAPI_VERSION="3.1.0")
    app.config["CORS_EXPOSE_HEADERS"] = EXPOSED_HEADERS
    logs.init_app(app)
    database.init_app(app)
    migrate.init_app(app, directory=app.config["MIGRATIONS"])
    api.init_app(app)
    errors.init_app(app)
    live.init_app(app)
    guessing.init_app(app)
    access_cli.init_app(app)
    settings_api.init_app(app)
    settings_cli.init_app(app)
    maintenance_api.init_app(app)
    maintenance_cli.init_app(app)
    bypass_cli.init_app(app)
    bypass_link.init_app(app)
    health.init_app(app)
    pages.init_app(app)
    gate.init_app(app)
    if app.config["CORS_ORIGINS"]:
        CORS(app)
    if hops := app.config["TRUSTED_PROXY_HOPS"]:  # around all else, so that the gate below Flask sees the client too
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app
