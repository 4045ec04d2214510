"""dop_be: a platform's settings in one row, and its maintenance switch."""

from __future__ import annotations

import sys

from flask import Flask

from . import database, errors, live
from .cli import bypass as bypass_cli
from .cli import maintenance as maintenance_cli
from .cli import settings as settings_cli
from .cli import tokens as access_cli
from .extensions import api, migrate
from .ops import health, logs
from .panel import pages
from .settings.models import shown
from .settings.schemas import check_columns
from .web import bypass as bypass_link
from .web import gate, guessing, http
from .web import maintenance as maintenance_api
from .web import settings as settings_api


def create_app(config: object) -> Flask:
    """Build the application.

    Args:
        config: an object with upper-case attributes, those of `config.Config`.

    Raises:
        UnsupportedColumn: the model has a setting of a type that dop_be cannot keep.
    """
    check_columns(shown())
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


def create_app_or_exit(config: object) -> Flask:
    """`create_app` for a program's start: a setting that cannot be kept prints its line and ends the process with 2."""
    try:
        return create_app(config)
    except errors.UnsupportedColumn as error:
        sys.stderr.write(f"dop_be: {error}\n")
        sys.exit(2)
