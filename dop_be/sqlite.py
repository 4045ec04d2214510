"""How an SQLite file is opened and locked."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from . import deadline
from .sentences import NO_FILE


class NoFile(sqlite3.OperationalError):
    """There is no SQLite file at this path."""

    def __init__(self, path: Path) -> None:
        super().__init__(NO_FILE.format(f" {path}").removesuffix("."))


def open_file(path: Path) -> sqlite3.Connection:
    """Open an SQLite file, and never make one: a mistyped path, or a file that was moved away, is an error.

    isolation_level None takes transactions out of the driver's hands; see `begin`.

    Raises:
        NoFile: there is none.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=deadline.SECONDS, isolation_level=None)
        connection.create_function("clock_timestamp", 0, _clock_timestamp)  # as on PostgreSQL
        connection.execute("PRAGMA foreign_keys = ON")  # as on PostgreSQL; migrations, which rebuild tables, undo it
        return connection
    except sqlite3.OperationalError:
        if path.exists():
            raise
        raise NoFile(path) from None


def _clock_timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")  # as SQLAlchemy's DateTime stores it


def lacks_file(url: URL) -> bool:
    """Whether the URL is that of an SQLite file that does not exist."""
    return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()


def begin(connection: Connection) -> None:
    """Take SQLite's write lock at once: a transaction that reads first and writes later could not wait for it.

    A reader says so with the execution option `reading`. (SQLite, "File Locking And Concurrency"; SQLAlchemy on SQLite,
    "Serializable isolation / Savepoints / Transactional DDL")
    """
    only_reads = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


def limit_lock_wait(connection: Connection) -> None:
    """Leave SQLite's COMMIT, which waits for readers, only the time that BEGIN, which waits for writers, has left."""
    if (left := deadline.remaining()) is not None:
        connection.connection.execute(f"PRAGMA busy_timeout = {int(left * 1000)}")
