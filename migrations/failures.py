"""What an operator reads when a migration fails: one line with what failed, in which revision, and what to do."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from migrations.lock import limits, setting

UNDONE = "; this revision was undone, and can be run again"
MEND = "; this revision was undone: mend it, or the data or the server that it met, and run it again"
# Classes of SQLSTATE whose DETAIL names objects, files or limits. Elsewhere it may show rows, which are nobody's here.
HARMLESS = ("0A", "2B", "42", "53", "55", "57", "58")
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
FOREIGN_POSTGRESQL = (
    "alembic_version is at {heads}, a revision of another program in this database. Give dop_be a schema of its own:"
    " run CREATE SCHEMA dop_be; and end DATABASE_URL with ?options=-csearch_path%3Ddop_be (docs/migrations.md)"
)
FOREIGN_SQLITE = (
    "alembic_version is at {heads}, a revision of another program in this file: give dop_be a file of its own,"
    " in DATABASE_URL"
)
AHEAD = (
    "the database is at {heads}, which this release does not know, since a newer one migrated it: deploy the newer"
    " release, or use it to downgrade the database first"
)
# Its revisions were rewritten before the first release; what they made is taken over.
FIRST_VERSION = frozenset(
    {"21da7929d68a", "1ef3177d92ce", "f3410f9bae30", "e6ae72f933b2", "c41f7d90e2ab", "803362e9f446"}
)
REWRITTEN = (
    "the database is at {heads}, of dop_be's first version, whose revisions were rewritten. Run `flask db stamp --purge"
    " 4b47f7895f36`, then `flask db upgrade`: settings, tokens and windows stay, the old history stays in"
    " system_settings_history, bypasses must be made again"
)
OUR_TABLES = ("system_settings", "live_state")

logger = logging.getLogger("alembic.dop_be")


class Progress:
    """Which Alembic revision is running."""

    revision: str | None = None

    def follow(self, steps: Callable[..., Iterable[Any]] | None) -> Callable[..., Iterator[Any]]:
        """Wrap the function that gives MigrationContext its steps; one runs and commits before the next is asked for.

        Raises:
            CommandError: the database is at a revision that is not ours.
        """
        assert steps is not None

        def following(heads: tuple[str, ...], context: MigrationContext) -> Iterator[Any]:
            check_heads(heads, context)
            for step in steps(heads, context):
                self.revision = step.info.up_revision_id
                yield step
                self.revision = None

        return following

    def prefix(self) -> str:
        return f"in revision {self.revision}: " if self.revision else ""

    def interrupted(self) -> str:
        return (
            f"in revision {self.revision}; its transaction was undone"
            if self.revision
            else "while no revision was running"
        )


def check_heads(heads: tuple[str, ...], context: MigrationContext) -> None:
    """Refuse a database whose revision is none of ours: another program shares it, or a newer release migrated it.

    Raises:
        CommandError: the way out.
    """
    unknown = [head for head in heads if not is_ours(head, context)]
    if not unknown:
        return
    if FIRST_VERSION.issuperset(unknown):
        raise CommandError(REWRITTEN.format(heads=", ".join(unknown)))
    assert context.connection is not None
    inspector = sa.inspect(context.connection)
    ahead = unknown == list(heads) and all(map(inspector.has_table, OUR_TABLES))
    foreign = FOREIGN_POSTGRESQL if context.dialect.name == "postgresql" else FOREIGN_SQLITE
    raise CommandError((AHEAD if ahead else foreign).format(heads=", ".join(unknown)))


def is_ours(head: str, context: MigrationContext) -> bool:
    assert context.script is not None
    try:
        return context.script.get_revision(head).revision == head  # Alembic also takes the beginning of an identifier
    except CommandError:
        return False


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
        raise CommandError(f"{progress.prefix()}{said}{one_line(str(error))}") from error
    except (sa.exc.DBAPIError, psycopg2.Error, sqlite3.Error) as error:
        raise CommandError(f"{progress.prefix()}{failure(cause(error), url, progress)}") from error
    except (sa.exc.TimeoutError, OSError, UnicodeDecodeError, RuntimeError) as error:
        raise CommandError(f"{progress.prefix()}{other_failure(error, progress)}") from error
    except Exception as error:
        if progress.revision:
            error.add_note(f"in revision {progress.revision}{MEND}")
        raise


def cause(error: BaseException) -> BaseException:
    """Return the driver's error within SQLAlchemy's."""
    return getattr(error, "orig", None) or error


def failure(error: BaseException, url: sa.URL, progress: Progress) -> str:
    """Return what the database says, and what to do."""
    if isinstance(error, sqlite3.Error):
        return sqlite_failure(error, url, progress)
    said, undone, mend = words(error), *((UNDONE, MEND) if progress.revision else ("", ""))
    match getattr(error, "pgcode", None):
        case "55P03":
            return f"{said} (MIGRATION_LOCK_TIMEOUT is {limits()['lock_timeout']}){undone}"
        case "57014":
            return f"{said} (MIGRATION_STATEMENT_TIMEOUT is {limits()['statement_timeout']}){undone}"
        case "42501":
            return missing_right(said, url)
        case "25006":
            return f"{said}: {READ_ONLY}"
        case "3F000":
            return f"{said}: {NO_SCHEMA}"
        case None if isinstance(error, psycopg2.OperationalError):
            return f"{said}; {LOST if progress.revision else NO_CONNECTION}"
    return f"{said}{mend}"


def other_failure(error: Exception, progress: Progress) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; correct DATABASE_URL, or the folder's rights"
    if progress.revision:
        return f"{words(error)}{MEND}"
    return f"{words(error)}; {NO_CONNECTION}" if isinstance(error, UnicodeDecodeError) else words(error)


def sqlite_failure(error: sqlite3.Error, url: sa.URL, progress: Progress) -> str:
    for part, advice in SQLITE.items():
        if part in str(error):
            return f"{error}: {advice.format(path=url.database, wait=setting('MIGRATION_LOCK_WAIT'))}"
    return words(error) + (MEND if progress.revision else "")


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


# On some versions of Python psycopg2 makes nothing of what is not UTF-8.
UNREADABLE = "the server refused, in words that are not UTF-8 (its log has them)"


def words(error: BaseException) -> str:
    """Return the server's own words and hint on one line, without the statement and its values."""
    if isinstance(error, UnicodeDecodeError):  # psycopg2, of an error in the server's language
        return one_line(bytes(error.object).decode("latin-1"))
    diagnosis: Any = getattr(error, "diag", None)
    if diagnosis is None or not diagnosis.message_primary:
        silent = UNREADABLE if isinstance(error, psycopg2.Error) else type(error).__name__
        return one_line(str(error)) or silent
    parts = [diagnosis.message_primary]
    if diagnosis.message_detail and diagnosis.sqlstate.startswith(HARMLESS):
        parts.append(f"DETAIL: {diagnosis.message_detail}")
    if diagnosis.message_hint:
        parts.append(f"HINT: {diagnosis.message_hint}")
    return one_line(" ".join(parts))


def one_line(text: str) -> str:
    lines = dict.fromkeys(text.splitlines())  # libpq repeats itself, with TLS and without
    return " ".join("".join(char if char.isprintable() else " " for char in " ".join(lines)).split())
