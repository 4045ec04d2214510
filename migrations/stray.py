"""Finds what overrides `[tool.alembic]` of pyproject.toml: options in an alembic.ini beside it."""

from __future__ import annotations

from configparser import Error, RawConfigParser
from pathlib import Path

TOLD = (
    "{path} overrides pyproject.toml for the plain `alembic` command ({options}): delete it, or restore the one that"
    " the repository has"
)


def stray_settings(pyproject: str | Path | None) -> str | None:
    """Return what to tell about an alembic.ini that sets anything, where there is one."""
    path = Path(pyproject or "pyproject.toml").absolute().with_name("alembic.ini")
    parser = RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (Error, OSError, UnicodeDecodeError) as error:
        return TOLD.format(path=path, options=f"it cannot be read: {type(error).__name__}")
    options = [option for section in parser.values() for option in section]
    return TOLD.format(path=path, options=", ".join(options[:3])) if options else None
