"""dop_be: a platform's settings in one row, and its maintenance switch."""

from __future__ import annotations

import sys
from importlib import import_module

from flask import Flask

from . import cli, database, live
from .errors import UnsupportedColumn
from .ops import later
from .settings.models import SHOWN
from .settings.schemas import check_columns


def create_app(config: object, *, served: bool = True) -> Flask:
    """Build the application.

    Args:
        config: an object with upper-case attributes, those of `config.Config`.
        served: whether it shall answer requests; else it has the commands alone, and is there sooner.

    Raises:
        UnsupportedColumn: the model has a setting of a type that dop_be cannot keep.
    """
    check_columns(SHOWN)
    app = Flask(__name__, template_folder="panel/templates", static_folder="panel/static")
    app.config.from_object(config)
    app.url_map.strict_slashes = False  # a path answers the same with a slash at its end
    database.init_app(app)
    live.init_app(app)
    if served:
        import_module(".served", __name__).init_app(app)
    else:
        later.init_app(app)
    cli.init_app(app)
    return app


def create_app_or_exit(config: object) -> Flask:
    """Build the application, or print one line and end the process with code 2 where a setting cannot be kept."""
    try:
        return create_app(config, served=not cli.is_starting())
    except UnsupportedColumn as error:
        sys.stderr.write(f"dop_be: {error}\n")
        sys.exit(2)
