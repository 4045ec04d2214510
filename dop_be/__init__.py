"""dop_be: a platform's settings in one row, and its maintenance switch."""

from __future__ import annotations

from flask import Flask

from . import database, errors, live
from .cli import bypass as bypass_cli
from .cli import maintenance as maintenance_cli
from .cli import settings as settings_cli
from .cli import tokens as access_cli
from .extensions import api, migrate
from .ops import health, logs
from .panel import pages
from .web import bypass as bypass_link
from .web import gate, guessing, http
from .web import maintenance as maintenance_api
from .web import settings as settings_api


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
