"""The Flask extensions, unbound; imports nothing of ours."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from flask_migrate import Migrate
from flask_migrate.cli import db as commands
from flask_smorest import Api
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

# Names by rule: a later migration can name what an earlier one made (Alembic, "The Importance of Naming Constraints").
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of every model."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


db = SQLAlchemy(model_class=Base)
migrate = Migrate(db=db)
api = Api(spec_kwargs={"title": "dop_be", "version": "v1", "openapi_version": "3.1.0"})
commands.add_command(commands.commands["list-templates"], "list_templates")  # Alembic's own spelling works too


@migrate.configure  # type: ignore[untyped-decorator]  # Flask-Migrate carries no types
def _read_pyproject(config: Config) -> Config:
    """Give `flask db` what plain `alembic` finds by itself: [tool.alembic], with no alembic.ini beside it."""
    directory = Path(config.get_main_option("script_location") or migrate.directory)
    config.toml_file_name = str(directory.parent / "pyproject.toml")
    return config
