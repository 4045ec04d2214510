"""The errors of real databases, and another session that is in the way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

DRIVER = "postgresql+psycopg2"
ROW = "UPDATE system_settings SET maintenance_message = 'changed'"
LOCK_ROW = "SELECT 1 FROM system_settings FOR UPDATE"


def engine_of(url: str | URL, **options: Any) -> Engine:
    given = make_url(url)
    return create_engine(given if given.drivername == "sqlite" else given.set(drivername=DRIVER), **options)


def failing(url: str | URL, *statements: str) -> Exception:
    """The error of the last statement, or of connecting where there is none."""
    engine = engine_of(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with ExitStack() as stack:
        connection: Connection | None = None
        if statements:
            connection = stack.enter_context(engine.connect())
            for statement in statements[:-1]:
                connection.exec_driver_sql(statement)
        with pytest.raises((SQLAlchemyError, UnicodeDecodeError)) as caught:
            connection.exec_driver_sql(statements[-1]) if connection else engine.connect()
    return caught.value


@contextmanager
def held(url: str, *statements: str, name: str = "psql") -> Iterator[int]:
    """Another session's open transaction, for the block; its process."""
    with closing(psycopg2.connect(url, application_name=name)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield connection.get_backend_pid()


def sqlite_failing(path: Path, *statements: str, mode: str = "rw") -> sqlite3.Error:
    """The error of the last statement, or of opening the file."""
    try:
        opened = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=0, isolation_level=None)
        with closing(opened):
            for statement in statements:
                opened.execute(statement)
    except sqlite3.Error as error:
        return error
    pytest.fail("nothing failed")
