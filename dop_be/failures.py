"""What a failed statement or connection means: a domain error, and one sentence that anyone may be shown."""

from __future__ import annotations

import logging
import re
import socket
import sqlite3
from typing import Any

import psycopg2
import psycopg2.errors
from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from . import sentences
from .errors import DatabaseReadOnly, DatabaseUnavailable, DomainError, InvalidInput, Taken, printable
from .extensions import Base
from .locks import locked
from .sqlite import NoFile

# What the databases say of values that a caller may have sent; the schemas find most of that first.
ABOUT_VALUES = (
    psycopg2.errors.CheckViolation,
    psycopg2.errors.StringDataRightTruncation,
    psycopg2.errors.NumericValueOutOfRange,
    psycopg2.errors.DatetimeFieldOverflow,
)
ABOUT_CHARACTERS = (psycopg2.errors.CharacterNotInRepertoire, psycopg2.errors.UntranslatableCharacter)
SQLITE_ABOUT_VALUES = {"SQLITE_CONSTRAINT_CHECK", "SQLITE_TOOBIG"}
MISSING = (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn)
SQLITE_MISSING = re.compile(r"no such (table|column)|table \S+ has no column")
WAITED = (psycopg2.errors.LockNotAvailable, psycopg2.errors.QueryCanceled)
# Classes of SQLSTATE whose DETAIL names objects, files or limits. Elsewhere it may show rows, which must not be told.
HARMLESS = ("0A", "2B", "42", "53", "55", "57", "58")
# On some versions of Python psycopg2 makes nothing of what is not UTF-8.
UNREADABLE = "the server refused, in words that are not UTF-8 (its log has them)"

logger = logging.getLogger(__name__)


def refusal(error: BaseException) -> DomainError:
    """Return the domain error for a statement that failed: about the caller's values, where those are at fault."""
    if not _is_about_values(cause(error)):
        return unavailable(error)
    said = words(error)
    if isinstance(cause(error), ABOUT_CHARACTERS):
        said = f"The database's encoding lacks one of these characters: {said}."
    elif _is_taken(cause(error)):
        return Taken({"_schema": [sentences.TAKEN]})
    return InvalidInput({"_schema": [said]})


def unavailable(error: BaseException, holder: str | None = None) -> DatabaseUnavailable:
    """Return the domain error for a statement or connection that failed through no fault of the caller; log its cause.

    Args:
        error: of SQLAlchemy or the driver.
        holder: who holds the lock that was waited for, where `waited_for_lock`, and `locks.holder` has found somebody.
    """
    if not isinstance(cause(error), NoFile):  # the watcher logs that once, and a command says it
        logger.error("database: %s", words(error))
    said = locked(holder) if holder else explain(error)
    read_only = said in {sentences.READ_ONLY, sentences.NO_PRIMARY, sentences.BY_SQLITE["SQLITE_READONLY"].format("")}
    return (DatabaseReadOnly if read_only else DatabaseUnavailable)(said)


def explain(error: BaseException) -> str:
    """Return one sentence for people: what happened, and what to do.

    It holds no address, user, password, path or SQL, so that anyone may be shown it.
    """
    return _explain(error, "")


def explain_in_full(error: BaseException, url: URL) -> str:
    """Return the same with the path of an SQLite file in it: for the command line and the log, not for the API."""
    if isinstance(error, DatabaseUnavailable) and isinstance(cause(error.__cause__ or error), sqlite3.Error):
        return explain_in_full(error.__cause__ or error, url)
    return _explain(error, f" {url.database}")


def _explain(error: BaseException, file: str) -> str:
    match cause(error):
        case DomainError() as told:
            return told.detail
        case PoolTimeout():
            return sentences.OUT_OF_POOL
        case UnicodeDecodeError():  # psycopg2, of a refusal in the server's language
            return sentences.REFUSED
        case sqlite3.Error() as said:
            return _of_sqlite(said).format(file)
        case psycopg2.Error() as said if said.pgcode:
            return _of_statement(said)
        case psycopg2.Error() | OSError() as said:
            return _of_connection(said)
        case SQLAlchemyError():
            return sentences.FAILED
    return sentences.UNREADABLE_STATE


def _of_statement(error: psycopg2.Error) -> str:
    """Return what an error with a SQLSTATE means."""
    if error.pgcode == "57014":
        if "tuple" in (error.diag.context or ""):  # the row that it waited for
            return sentences.LOCKED
        if "user request" in (error.diag.message_primary or ""):
            return sentences.CANCELLED
    code = error.pgcode or ""
    return sentences.BY_SQLSTATE.get(code) or sentences.BY_SQLSTATE.get(code[:2], sentences.FAILED)


def _of_connection(error: psycopg2.Error | OSError) -> str:
    """Return what an error without a SQLSTATE means, which is libpq's, the server's through it, or a socket's."""
    if isinstance(error, socket.gaierror):
        return sentences.NO_HOST
    if isinstance(error, TimeoutError):
        return sentences.NO_ANSWER
    said = re.sub(r'"[^"]*"', '""', words(error))  # a database may be called anything
    found = (sentence for pattern, sentence in sentences.BY_WORDS.items() if re.search(pattern, said))
    otherwise = sentences.REFUSED if isinstance(error, psycopg2.OperationalError) else sentences.FAILED
    return next(found, otherwise)


def _of_sqlite(error: sqlite3.Error) -> str:
    if isinstance(error, NoFile):
        return sentences.NO_FILE
    if lacks_schema(error):
        return sentences.NOT_MIGRATED
    name = getattr(error, "sqlite_errorname", None) or ""
    found = (sentence for start, sentence in sentences.BY_SQLITE.items() if name.startswith(start))
    return next(found, sentences.FAILED)


def waited_for_lock(error: BaseException) -> bool:
    """Whether a statement has waited too long, perhaps for another session's lock: `locks.holder` tells whose."""
    return isinstance(cause(error), WAITED)


def lacks_schema(error: BaseException) -> bool:
    """Whether a statement failed because a table or column is missing (SQLite has no code of its own for that)."""
    found = cause(error)
    return isinstance(found, MISSING) or (isinstance(found, sqlite3.Error) and bool(SQLITE_MISSING.match(str(found))))


def cause(error: BaseException) -> BaseException:
    """Return the driver's error within SQLAlchemy's."""
    return error.orig if isinstance(error, DBAPIError) and error.orig else error


def words(error: BaseException) -> str:
    """Return the server's own words and hint on one line, without the statement and its values."""
    error = cause(error)
    if isinstance(error, UnicodeDecodeError):  # psycopg2, of an error in the server's language
        return printable(bytes(error.object).decode("latin-1"))
    diagnosis: Any = getattr(error, "diag", None)
    if diagnosis is None or not diagnosis.message_primary:
        silent = UNREADABLE if isinstance(error, psycopg2.Error) else type(error).__name__
        return printable(str(error)) or silent
    parts = [diagnosis.message_primary]
    if diagnosis.message_detail and diagnosis.sqlstate.startswith(HARMLESS):
        parts.append(f"DETAIL: {diagnosis.message_detail}")
    if diagnosis.message_hint:
        parts.append(f"HINT: {diagnosis.message_hint}")
    return printable(" ".join(parts))


def _is_about_values(error: BaseException) -> bool:
    """Whether a statement of ours was refused for its values: a CHECK, a length, a range, an encoding, a taken name.

    What a trigger or function stumbles over is the database's own fault, and so is a column, key or reference that the
    models do not know of.
    """
    if _is_taken(error):
        return True
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorname", None) in SQLITE_ABOUT_VALUES
    if not isinstance(error, psycopg2.Error) or error.diag.context:  # of the trigger or function
        return False
    return isinstance(error, ABOUT_VALUES + ABOUT_CHARACTERS)


def _is_taken(error: BaseException) -> bool:
    """Whether a name of ours is taken already."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorname", None) == "SQLITE_CONSTRAINT_UNIQUE" and _is_declared(str(error))
    if not isinstance(error, psycopg2.errors.UniqueViolation) or error.diag.context:
        return False
    return _is_declared(error.diag.constraint_name)


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
