"""Changes to the models in a copy of the project, as a developer makes them."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.postgres import execute

from .tree import Tree

ANCHOR = "    # Add further settings"
IMPORTS = """\
from datetime import date, time, timedelta
from decimal import Decimal
from sqlalchemy import BigInteger, Date, Enum, Float, Interval, JSON, LargeBinary, Numeric, SmallInteger, String, Text
from sqlalchemy import Boolean, CHAR, DateTime, ForeignKey, REAL, Time, Uuid, false, func, text, true
"""
OURS = "from ..columns import ExactNumeric, UtcDateTime, enumeration, new_uuid\n"
STEPS = """\
import sys
import flask_migrate
from wsgi import app
with app.app_context():
    for step in sys.argv[1:]:
        if hasattr(flask_migrate, step):
            getattr(flask_migrate, step)()
        else:
            result = app.test_cli_runner().invoke(args=step.split())
            print(result.output, end="")
            assert result.exit_code == 0
"""


def add_settings(tree: Tree, *columns: str) -> None:
    """Put columns into the model of the settings, one `name: Mapped[…] = mapped_column(…)` each."""
    models = tree.path / "dop_be" / "settings" / "models.py"
    before, anchor, after = models.read_text().partition(ANCHOR)
    assert anchor
    before = before.replace("import uuid\n", f"import uuid\n{IMPORTS}", 1).replace(
        "from ..columns", f"{OURS}from ..columns", 1
    )
    models.write_text(before + "".join(f"    {column}\n" for column in columns) + "\n" + anchor + after)


def edit(tree: Tree, before: str, after: str) -> None:
    """Replace what matches, once, in the model of the settings."""
    models = tree.path / "dop_be" / "settings" / "models.py"
    text, times = re.subn(before, after, models.read_text(), flags=re.MULTILINE)
    assert times == 1
    models.write_text(text)


def add_model(tree: Tree, text: str) -> None:
    """Put a model beside those of the settings."""
    add_settings(tree)
    with (tree.path / "dop_be" / "settings" / "models.py").open("a") as models:
        models.write(f"\n\n{text}")


def revise(tree: Tree, message: str, url: str = "") -> Path:
    """Let Alembic write the revision, on this database or the tree's; return its file."""
    tree.run("flask", "db", "revision", "--autogenerate", "-m", message, DATABASE_URL=url or tree.url)
    [file] = (tree.path / "migrations" / "versions").glob(f"*_{message.replace(' ', '_')}.py")
    return file


def steps(tree: Tree, url: str, *names: str) -> str:
    """Run commands on this database one after the other in one process: `flask db`'s by their names."""
    return tree.run("python", "-c", STEPS, *names, DATABASE_URL=url)


def run_sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run SQL as another program would; return the rows of the last statement."""
    if url.startswith("postgresql"):
        return execute(url, *statements)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        rows = [connection.execute(statement).fetchall() for statement in statements]
        return rows[-1]
