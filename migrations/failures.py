"""What an operator reads when a migration fails: one line with what failed, in which revision, and what to do."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import sqlalchemy as sa
from alembic.util import CommandError

from dop_be.errors import printable
from dop_be.failures import cause, words
from migrations.lock import limits, setting
from migrations.progress import Progress

AGAIN = ", and can be run again"
MEND = ": mend it, or the data or the server that it met, and run it again"
IN_PARTS = (
    "; what this revision did before and in its autocommit_block stays, so that it is not tried again: see what is"
    " there, and mend that and the revision before you run it again"
)
READ_ONLY = (
    "this server is a replica, or the role or database is read-only: connect DATABASE_URL to the primary, or run"
    " SET default_transaction_read_only = off; ALTER ROLE … (or ALTER DATABASE …) RESET default_transaction_read_only"
)
NO_SCHEMA = (
    "search_path names no schema that exists: create the one it names (CREATE SCHEMA …), or end DATABASE_URL with one"
    " that exists, such as ?options=-csearch_path%3Dpublic"
)
NO_CONNECTION = "check DATABASE_URL, and that the server is up and has room for two connections"
LOST = "the connection was lost, and what ran was undone; run it again"
SQLITE = {
    "database is locked": "another process writes to {path}: waited for {wait} s (MIGRATION_LOCK_WAIT)",
    "unable to open database file": "{path} cannot be opened: its folder must exist, and this user must be able to"
    " write there",
    "readonly": "{path} and its folder must be writable for this user",
    "malformed": "{path} is damaged: put a backup in its place",
    "not a database": "{path} is not an SQLite file: correct DATABASE_URL, or put a backup in its place",
    "disk is full": "make room for {path}, then run it again",
}
logger = logging.getLogger("alembic.dop_be")


@contextmanager
def explained(progress: Progress, url: sa.URL) -> Iterator[None]:
    """Turn what an operator has to mend into one line; leave an author's mistake its traceback.

    Raises:
        CommandError: the line.
    """
    try:
        yield
    except CommandError as error:
        said = f"{words(cause(error.__cause__))}: " if isinstance(error.__cause__, sa.exc.DBAPIError) else ""
        raise CommandError(f"{progress.prefix()}{said}{printable(str(error))}") from error
    except (sa.exc.DBAPIError, psycopg2.Error, sqlite3.Error) as error:
        raise CommandError(f"{progress.prefix()}{failure(cause(error), url, progress)}") from error
    except (sa.exc.TimeoutError, OSError, UnicodeDecodeError, RuntimeError) as error:
        raise CommandError(f"{progress.prefix()}{other_failure(error, progress)}") from error
    except Exception as error:
        if progress.revision:
            error.add_note(f"in revision {progress.revision}{fate(progress, MEND)}")
        raise


def failure(error: BaseException, url: sa.URL, progress: Progress) -> str:
    """Return what the database says, and what to do."""
    if isinstance(error, sqlite3.Error):
        return sqlite_failure(error, url, progress)
    said = words(error)
    match getattr(error, "pgcode", None):
        case "55P03":
            return f"{said}{limit('lock_timeout', progress)}{waited(progress)}{fate(progress, AGAIN)}"
        case "57014":
            return f"{said}{limit('statement_timeout', progress)}{fate(progress, AGAIN)}"
        case "42501":
            return missing_right(said, url)
        case "25006":
            return f"{said}: {READ_ONLY}"
        case "3F000":
            return f"{said}: {NO_SCHEMA}"
        case None if isinstance(error, psycopg2.OperationalError):
            return f"{said}; {LOST if progress.revision else NO_CONNECTION}"
    return f"{said}{fate(progress, MEND)}"


def fate(progress: Progress, advice: str) -> str:
    """Return what became of the revision that failed."""
    if not progress.revision:
        return ""
    return IN_PARTS if progress.in_parts else f"; this revision was undone{advice}"


def limit(name: str, progress: Progress) -> str:
    """Return the limit that ended a statement; in an autocommit_block the role's or the database's are in force."""
    return "" if progress.in_parts else f" (MIGRATION_{name.upper()} is {limits()[name]})"


def waited(progress: Progress) -> str:
    """Return how long a revision was tried that met a lock, and who holds it."""
    if not progress.locked or progress.waited_since is None:
        return ""
    seconds = round(time.monotonic() - progress.waited_since)
    told = f"; {progress.holders}" if progress.holders else ""
    return f"; tried for {seconds} s (MIGRATION_LOCK_WAIT is {setting('MIGRATION_LOCK_WAIT')} s){told}"


def other_failure(error: Exception, progress: Progress) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; correct DATABASE_URL, or the folder's rights"
    if progress.revision:
        return f"{words(error)}{fate(progress, MEND)}"
    return f"{words(error)}; {NO_CONNECTION}" if isinstance(error, UnicodeDecodeError) else words(error)


def sqlite_failure(error: sqlite3.Error, url: sa.URL, progress: Progress) -> str:
    for part, advice in SQLITE.items():
        if part in str(error):
            return f"{error}: {advice.format(path=url.database, wait=setting('MIGRATION_LOCK_WAIT'))}"
    return words(error) + fate(progress, MEND)


def missing_right(said: str, url: sa.URL) -> str:
    """Return which role has to run migrations, and what lets this one where it is to own the tables."""
    quote = url.get_dialect()().identifier_preparer.quote_identifier
    role = quote(url.username) if url.username else "CURRENT_USER"
    advice = f"{said}: run migrations as the role that owns the tables, see docs/operations.md"
    schema = re.fullmatch(r"permission denied for schema (.+)", said)
    if schema is None:
        return advice
    grant = f"GRANT USAGE, CREATE ON SCHEMA {quote(schema[1])} TO {role};"
    return f"{advice}. Where {role} is to own them, an administrator must run, in this database: {grant}"
