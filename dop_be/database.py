"""Transactions: every call has a deadline, every write an author, and SQLite one writer at a time."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psycopg2
import psycopg2.errors
from flask import Flask, current_app
from sqlalchemy import Connection, Engine, Index, UniqueConstraint, event, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from . import columns, deadline, sqlite
from .deadline import time_limit
from .errors import DatabaseUnavailable, DomainError, InvalidInput, one_line
from .extensions import Base, db

# The server gives up before our deadline, so that a wait for a lock costs no connection.
STATEMENT_LIMIT = 1200  # milliseconds
LIMIT_STATEMENT = f"SET LOCAL statement_timeout = {STATEMENT_LIMIT}"
ABANDONED_LIMIT = 5000  # milliseconds until the server undoes the transaction of a process that froze in it

# What the databases say of values that a caller may have sent; the schemas find most of that first.
ABOUT_VALUES = (
    psycopg2.errors.CheckViolation,
    psycopg2.errors.StringDataRightTruncation,
    psycopg2.errors.NumericValueOutOfRange,
    psycopg2.errors.DatetimeFieldOverflow,
    psycopg2.errors.CharacterNotInRepertoire,
    psycopg2.errors.UntranslatableCharacter,
)
SQLITE_ABOUT_VALUES = {"SQLITE_CONSTRAINT_CHECK", "SQLITE_TOOBIG"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Author:
    """Who makes a change, through what, and why: recorded beside the change.

    `token` is the id of the token that allowed it, and `scope` what it had to have for that; None for ADMIN_TOKEN and
    the command line.
    """

    actor: str
    source: Literal["api", "cli"]
    reason: str | None = None
    request_id: str | None = None
    token: str | None = None
    scope: str | None = None


# Looks at a transaction just before its commit, where it may still raise; what it returns runs after the commit.
Witness = Callable[[Session], Callable[[], None] | None]


def engine_options(url: URL) -> dict[str, Any]:
    """Return what `create_engine` is given for this URL."""
    from_json = partial(json.loads, parse_float=Decimal)  # a number keeps all its digits
    if url.get_backend_name() == "sqlite":
        # No pool: opening a file is cheap, and a kept connection would go on in a file that was replaced by a backup.
        creator = partial(sqlite.open_file, Path(str(url.database)))
        return {"poolclass": NullPool, "hide_parameters": True, "creator": creator, "json_deserializer": from_json}
    return {
        "hide_parameters": True,  # an error's text, which may be logged, shows no values
        "json_deserializer": from_json,
        "isolation_level": "READ COMMITTED",  # whatever the role has: what is read behind a lock must be new
        "pool_size": 2,
        "max_overflow": 6,
        "pool_timeout": deadline.SECONDS,
        "pool_pre_ping": True,
        "pool_use_lifo": True,
        "connect_args": {"application_name": "dop_be", "keepalives_idle": 30, "tcp_user_timeout": 5000},
    }


def init_app(app: Flask) -> None:
    url = app.config["SQLALCHEMY_DATABASE_URI"]
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(url)
    app.extensions["witnesses"] = []
    db.init_app(app)
    with app.app_context():
        if url.get_backend_name() == "sqlite":
            event.listen(db.engine, "begin", sqlite.begin)
            event.listen(db.engine, "commit", sqlite.limit_lock_wait)
        else:
            event.listen(db.engine, "connect", columns.read_every_year)
            event.listen(db.engine, "before_cursor_execute", _limit_statement, retval=True)


def witnesses(app: Flask) -> list[Witness]:
    """Return the witnesses of an application's writes, in the order in which they are asked; append to register."""
    registered: list[Witness] = app.extensions["witnesses"]
    return registered


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a connection for reading, without a lock that a writer would wait for.

    On PostgreSQL each statement sees one state of the whole database, and two may see two: read in one (`columns.rows`)
    what has to fit together. A transaction around them would cost a round trip to begin and another to end.
    """
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
    with time_limit(), engine.connect().execution_options(reading=True, **level) as connection:
        yield connection


def _limit_statement(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
    """Send the limit along with a reader's statement: PostgreSQL takes both as one transaction, in one round trip."""
    only_reads = connection.get_execution_options().get("reading", False)
    return f"{LIMIT_STATEMENT}; {statement}" if only_reads else statement, parameters


@contextmanager
def writing(by: Author, *, longer: float = 0) -> Iterator[Session]:
    """Run one bounded transaction with an author; commit at the end of the block, undo it after any error.

    The witnesses look at it before the commit; what they return runs after it. `longer` is by how many seconds it may
    take longer than others, since it writes many rows; negative where some of its time has passed already.

    Raises:
        InvalidInput: the database refuses the caller's values.
        DatabaseUnavailable: no answer in time, or a fault of the database; nothing was changed unless the commit itself
            was cut off.
    """
    session = db.session()
    with time_limit(deadline.SECONDS + longer):
        try:
            _announce(session, by, max(1, STATEMENT_LIMIT + int(longer * 1000)))
            yield session
            session.flush()
            after = [witness(session) for witness in current_app.extensions["witnesses"]]
            session.commit()
        except SQLAlchemyError as error:
            raise refusal(error) from error
        finally:
            session.rollback()  # within the time limit, whatever was raised; after a commit there is nothing to undo
    for run in filter(None, after):
        run()


def now(connection: Connection | Session) -> datetime:
    """Return the time on the database's clock, which is the one for whatever is stored: hosts' clocks differ."""
    found: datetime = connection.execute(select(columns.database_now())).scalar_one()
    return found


def author(session: Session) -> Author:
    """Return who makes the change of this transaction."""
    by: Author = session.info["author"]
    return by


def _announce(session: Session, by: Author, statement_limit: int) -> None:
    """Tell the database who writes: PostgreSQL's triggers read it, on SQLite `history.record` does."""
    session.info["author"] = by
    if session.get_bind().dialect.name != "postgresql":
        return
    local = {
        "statement_timeout": str(statement_limit),
        "idle_in_transaction_session_timeout": str(ABANDONED_LIMIT),
        "dop_be.actor": by.actor,
        "dop_be.source": by.source,
        "dop_be.reason": by.reason or "",
        "dop_be.request_id": by.request_id or "",
    }
    settings = ", ".join(f"set_config('{name}', :v{place}, true)" for place, name in enumerate(local))
    session.execute(text(f"SELECT {settings}"), {f"v{place}": value for place, value in enumerate(local.values())})


def refusal(error: SQLAlchemyError) -> DomainError:
    """Return the domain error for a write that failed: about the caller's values, where those are at fault."""
    return InvalidInput({"_schema": [one_line(error)]}) if _is_about_values(error) else unavailable(error)


def _is_about_values(error: SQLAlchemyError) -> bool:
    """Whether a statement of ours was refused for its values: a CHECK, a length, a range, an encoding, a taken name.

    What a trigger or function stumbles over is the database's own fault, and so is a column, key or reference that the
    models do not know of.
    """
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorname", None)
        return code in SQLITE_ABOUT_VALUES or (code == "SQLITE_CONSTRAINT_UNIQUE" and _is_declared(str(error.orig)))
    if not isinstance(error.orig, psycopg2.Error) or error.orig.diag.context:  # of the trigger or function
        return False
    if isinstance(error.orig, psycopg2.errors.UniqueViolation):
        return _is_declared(error.orig.diag.constraint_name)
    return isinstance(error.orig, ABOUT_VALUES)


def _is_declared(unique: str | None) -> bool:
    """Whether the models declare this constraint or index; SQLite's message has its columns in place of its name."""
    for table in Base.metadata.tables.values():
        declared: list[UniqueConstraint | Index] = [index for index in table.indexes if index.unique]
        declared += [constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
        for item in declared:
            columns = ", ".join(f"{table.name}.{column.name}" for column in item.columns)
            if unique in {item.name, f"UNIQUE constraint failed: {columns}"}:
                return True
    return False


def lacks_schema(error: SQLAlchemyError) -> bool:
    """Whether a statement failed because a table or column is missing (SQLite has no code of its own for that)."""
    if not isinstance(error, DBAPIError):
        return False
    missing = (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn)
    return isinstance(error.orig, missing) or "no such" in str(error.orig)


def unavailable(error: SQLAlchemyError) -> DatabaseUnavailable:
    """Return the domain error for a statement that failed through no fault of the caller; log its cause."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite.NoFile):
        return DatabaseUnavailable(f"{error.orig}.")
    logger.error("database: %s", one_line(error))
    if lacks_schema(error):
        return DatabaseUnavailable("The database is not migrated to this release: run `flask db upgrade`.")
    if isinstance(getattr(error, "orig", None), psycopg2.errors.InsufficientPrivilege):
        return DatabaseUnavailable("The database refuses this to the role of DATABASE_URL; use the role that migrates.")
    return DatabaseUnavailable("The database does not answer; nothing is known to have changed.")
