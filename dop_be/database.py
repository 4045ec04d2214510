"""How dop_be talks to its database: never for longer than it said it would, and one writer at a time on SQLite."""

from __future__ import annotations

import json
import logging
import math
import select
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psycopg2
import psycopg2.errors
from flask import Flask
from psycopg2 import extensions
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from .errors import DatabaseUnavailable, InvalidInput, one_line
from .extensions import db

TIME_LIMIT = 1.5  # seconds for one transaction, connecting and waiting for locks included; a write answers within 2
# The server gives up first, so that a wait for a lock costs no connection and leaves no server process behind waiting.
STATEMENT_LIMIT = 1200  # milliseconds
LIMIT_STATEMENT = f"SET LOCAL statement_timeout = {STATEMENT_LIMIT}"
ABANDONED_LIMIT = 5000  # milliseconds until the server undoes the transaction of a process that froze in it

logger = logging.getLogger(__name__)

Source = Literal["api", "cli", "panel", "sql", "migration"]


@dataclass(frozen=True)
class Attribution:
    """Who makes a change, through what, and why; recorded beside the change."""

    actor: str
    source: Source
    reason: str | None = None
    request_id: str | None = None


_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)  # on time.monotonic's clock
interrupt: ContextVar[int | None] = ContextVar("interrupt", default=None)  # readable when this thread shall end


@contextmanager
def time_limit(seconds: float = TIME_LIMIT) -> Iterator[None]:
    """Bound everything that the database is asked within the block, together.

    A frozen server or a cut network keeps a blocking psycopg2 call far past keepalives and statement_timeout; only a
    wait of our own on the monotonic clock ends it. Migrations, which take their time, are never within such a block.
    """
    extensions.set_wait_callback(_wait)  # for the whole process, where it changes nothing outside of such blocks
    token = _deadline.set(min(time.monotonic() + seconds, _deadline.get() or math.inf))
    try:
        yield
    finally:
        _deadline.reset(token)


def _wait(connection: extensions.connection) -> None:
    """psycopg2's wait callback (its manual, "Support for coroutine libraries"), ending at the deadline."""
    wait_until(connection, _deadline.get())


def wait_until(connection: extensions.connection, deadline: float | None) -> None:
    """Drive an asynchronous psycopg2 operation to its end.

    Raises:
        psycopg2.OperationalError: `deadline`, in monotonic seconds, passed (None: never), or this thread shall end; the
            connection is unusable.
    """
    ending = interrupt.get()
    while (state := connection.poll()) != extensions.POLL_OK:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        poller = select.poll()  # anew each time: connecting may go through several sockets
        poller.register(connection.fileno(), select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN)
        if ending is not None:
            poller.register(ending, select.POLLIN)
        ready = dict(poller.poll(None if left is None else left * 1000))
        if not ready or ending in ready:
            raise psycopg2.OperationalError("the database did not answer in time" if not ready else "interrupted")


def engine_options(url: URL) -> dict[str, Any]:
    """What `create_engine` is given for this URL."""
    from_json = partial(json.loads, parse_float=Decimal)  # a number keeps all its digits
    if url.get_backend_name() == "sqlite":
        # No pool: opening a file is cheap, and a kept connection would go on in a file that was replaced by a backup.
        creator = partial(open_file, Path(str(url.database)))
        return {"poolclass": NullPool, "hide_parameters": True, "creator": creator, "json_deserializer": from_json}
    return {
        "hide_parameters": True,  # an error's text, which may be logged, shows no values
        "json_deserializer": from_json,
        "isolation_level": "READ COMMITTED",  # whatever the role has: what is read behind a lock must be new
        "pool_size": 2,
        "max_overflow": 6,
        "pool_timeout": TIME_LIMIT,
        "pool_pre_ping": True,
        "pool_use_lifo": True,
        "connect_args": {"application_name": "dop_be", "keepalives_idle": 30, "tcp_user_timeout": 5000},
    }


class NoFile(sqlite3.OperationalError):
    """There is no SQLite file at this path."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"There is no SQLite file {path}; run `flask db upgrade` to make it,"
            " or set DATABASE_URL to the database that you mean"
        )


def open_file(path: Path) -> sqlite3.Connection:
    """Open an SQLite file, and never make one: a mistyped path, or a file that was moved away, is an error.

    isolation_level None takes transactions out of the driver's hands; see _begin.

    Raises:
        NoFile: there is none.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=TIME_LIMIT, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")  # as on PostgreSQL; migrations, which rebuild tables, undo it
        return connection
    except sqlite3.OperationalError:
        if path.exists():
            raise
        raise NoFile(path) from None


def lacks_file(url: URL) -> bool:
    """Whether the URL is that of an SQLite file that does not exist."""
    return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()


def init_app(app: Flask) -> None:
    url = app.config["SQLALCHEMY_DATABASE_URI"]
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(url)
    db.init_app(app)
    with app.app_context():
        if url.get_backend_name() == "sqlite":
            event.listen(db.engine, "begin", _begin)
            event.listen(db.engine, "commit", _limit_lock_wait)
        else:
            event.listen(db.engine, "before_cursor_execute", _limit_statement, retval=True)


def _begin(connection: Connection) -> None:
    """Take SQLite's write lock at once: a transaction that reads first and writes later could not wait for it.

    A reader says so with the execution option `reading`. (SQLite, "File Locking And Concurrency"; SQLAlchemy on SQLite,
    "Serializable isolation / Savepoints / Transactional DDL")
    """
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _limit_lock_wait(connection: Connection) -> None:
    """Leave SQLite's COMMIT, which waits for readers, only the time that BEGIN, which waits for writers, has left."""
    if (deadline := _deadline.get()) is not None:
        left = max(0, int((deadline - time.monotonic()) * 1000))
        connection.connection.execute(f"PRAGMA busy_timeout = {left}")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for reading, without a lock that a writer would wait for.

    On PostgreSQL each statement sees one state of the whole database, and two may see two: read in one (`columns.rows`)
    what has to fit together. A transaction around them would cost a round trip to begin and another to end.
    """
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
    with time_limit(), engine.connect().execution_options(reading=True, **level) as connection:
        yield connection


def _limit_statement(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
    """Send the limit along with a reader's statement: PostgreSQL takes both as one transaction, in one round trip."""
    reading = connection.get_execution_options().get("reading", False)
    return f"{LIMIT_STATEMENT}; {statement}" if reading else statement, parameters


@contextmanager
def writing(by: Attribution) -> Iterator[Session]:
    """One bounded and attributed transaction, committed at the end of the block and undone by any error.

    Raises:
        InvalidInput: a constraint of the database refuses the values.
        DatabaseUnavailable: there was no answer in time; unless the commit itself was cut off, nothing was changed.
    """
    session = db.session()
    with time_limit():
        try:
            _announce(session, by)
            yield session
            session.commit()
        except (IntegrityError, DataError) as error:
            raise InvalidInput({"_schema": [one_line(error)]}) from error
        except SQLAlchemyError as error:
            raise unavailable(error) from error
        finally:
            session.rollback()  # within the time limit, whatever was raised; after a commit there is nothing to undo


def _announce(session: Session, by: Attribution) -> None:
    """Tell the database who writes: PostgreSQL's triggers read it, on SQLite our own listener does."""
    session.info["attribution"] = by
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text(
                "SELECT set_config('statement_timeout', :limit, true),"
                " set_config('idle_in_transaction_session_timeout', :abandoned, true),"
                " set_config('dop_be.actor', :actor, true), set_config('dop_be.source', :source, true),"
                " set_config('dop_be.reason', :reason, true), set_config('dop_be.request_id', :request_id, true)"
            ),
            {
                "limit": str(STATEMENT_LIMIT),
                "abandoned": str(ABANDONED_LIMIT),
                "actor": by.actor,
                "source": by.source,
                "reason": by.reason or "",
                "request_id": by.request_id or "",
            },
        )


def lacks_schema(error: SQLAlchemyError) -> bool:
    """Whether a statement failed because a table or column is not there (SQLite has no code of its own for that)."""
    if not isinstance(error, DBAPIError):
        return False
    missing = (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn)
    return isinstance(error.orig, missing) or "no such" in str(error.orig)


def unavailable(error: SQLAlchemyError) -> DatabaseUnavailable:
    """The domain error for a statement that failed through no fault of the caller; its cause goes to the log."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, NoFile):
        return DatabaseUnavailable(f"{error.orig}.")
    logger.error("database: %s", one_line(error))
    if lacks_schema(error):
        return DatabaseUnavailable("The database is not migrated to this release: run `flask db upgrade`.")
    return DatabaseUnavailable("The database does not answer; nothing is known to have changed.")
