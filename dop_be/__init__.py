"""dop_be: a platform's settings in one row, and its maintenance switch."""

from __future__ import annotations

import sys

from flask import Flask

from . import cli, database, live, ops, panel, web
from .errors import UnsupportedColumn
from .extensions import api, migrate
from .settings.models import SHOWN
from .settings.schemas import check_columns


def create_app(config: object) -> Flask:
    """Build the application.

    Args:
        config: an object with upper-case attributes, those of `config.Config`.

    Raises:
        UnsupportedColumn: the model has a setting of a type that dop_be cannot keep.
    """
    check_columns(SHOWN)
    app = Flask(__name__, template_folder="panel/templates", static_folder="panel/static")
    app.config.from_object(config)
    app.url_map.strict_slashes = False  # a path answers the same with a slash at its end
    database.init_app(app)
    migrate.init_app(app, directory=app.config["MIGRATIONS"])
    api.init_app(app)
    live.init_app(app)
    web.init_app(app)
    panel.init_app(app)
    ops.init_app(app)
    cli.init_app(app)
    return app


def create_app_or_exit(config: object) -> Flask:
    """Build the application, or print one line and end the process with code 2 where a setting cannot be kept."""
    try:
        return create_app(config)
    except UnsupportedColumn as error:
        sys.stderr.write(f"dop_be: {error}\n")
        sys.exit(2)
