"""dop_be: a platform's settings in one row, and its maintenance switch."""

from __future__ import annotations

from flask import Flask

from . import database, errors, http, live
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


def create_app(config: object) -> Flask:
    """Build the application.

    Args:
        config: an object with upper-case attributes, those of `config.Config`.
    """
    app = Flask(__name__, template_folder="panel/templates", static_folder="panel/static")
    app.config.from_object(config)
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
    http.init_app(app)
    return app
