"""`flask db …`: Flask-Migrate, told where Alembic's options are."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from flask import Flask
from flask_migrate import Migrate
from flask_migrate.cli import db as commands

from .extensions import db

migrate = Migrate(db=db)
commands.add_command(commands.commands["list-templates"], "list_templates")  # Alembic's own spelling works too


@migrate.configure  # type: ignore[untyped-decorator]  # Flask-Migrate carries no types
def _read_pyproject(config: Config) -> Config:
    """Give `flask db` what plain `alembic` finds by itself: [tool.alembic], with no alembic.ini beside it."""
    directory = Path(config.get_main_option("script_location") or migrate.directory)
    config.toml_file_name = str(directory.parent / "pyproject.toml")
    return config


def init_app(app: Flask) -> None:
    """Add the commands."""
    migrate.init_app(app, directory=app.config["MIGRATIONS"])
