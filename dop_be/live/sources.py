"""How a watcher hears of changes: NOTIFY on PostgreSQL, a poll where LISTEN fails, the file's counter on SQLite."""

from __future__ import annotations

import logging
import secrets
import select
import socket
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg2
import psycopg2.errors
from sqlalchemy import Engine, func
from sqlalchemy import select as sql_select
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from ..database import LIMIT_STATEMENT
from ..deadline import time_limit, wait
from ..errors import one_line
from ..sqlite import NoFile, open_file
from .loader import MARK, as_mark, read_mark
from .snapshot import Mark

CHANNEL = "dop_be"
ANSWER_SECONDS = 1.5  # how long the listener's connection may take for anything: longer means frozen
SELF_TEST, SELF_TEST_SECONDS = "test ", 1.0  # how the self-test's payloads begin; all others are versions
SQLITE_POLL_SECONDS = 0.05
POLL_SECONDS = 0.25  # where LISTEN does not work
RETRY_FAILED, RETRY_DEAF = 5.0, 300.0  # seconds after which a polling watcher tries to listen again
POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]
ASK = f"{LIMIT_STATEMENT}; {MARK.compile(dialect=POSTGRESQL)}"
ERRORS = (psycopg2.Error, SQLAlchemyError, sqlite3.Error, OSError)

logger = logging.getLogger(__name__)


class Reopen(Exception):
    """The source must be opened again, and nothing is wrong."""


class Wake:
    """Ends a wait from another thread; a socket, so that it can be waited for beside a connection's."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self.is_set = False

    def fileno(self) -> int:
        return self._ours.fileno()

    def set(self) -> None:
        if not self.is_set:
            self.is_set = True
            with suppress(OSError):  # closed: who waited has seen it already
                self._theirs.send(b"!")

    def wait(self, seconds: float, also: int | None = None) -> bool:
        """Wait for `also`, a file descriptor, to become readable; False when time is up or the wake was set."""
        poller = select.poll()
        poller.register(self._ours, select.POLLIN)
        if also is not None:
            poller.register(also, select.POLLIN)
        ready = poller.poll(max(0.0, seconds) * 1000)
        return any(descriptor == also for descriptor, _ in ready)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class ChangeSource(Protocol):
    """An open source of changes."""

    def wait(self, seconds: float, loaded: Mark | None) -> bool:
        """Wait until the state may differ from the `loaded` one, or for `seconds`; whether it may differ.

        Raises:
            Reopen: the source must be opened again.
            one of ERRORS: the database is lost; the source must be opened again.
        """

    def close(self) -> None:
        """Release what it holds."""


def open_source(engine: Engine, listen_url: URL, wake: Wake) -> ChangeSource:
    """Open the right source. It reports changes made after it was opened, so read the state after opening.

    Raises:
        one of ERRORS: the database does not answer.
    """
    if engine.dialect.name == "sqlite":
        return SQLiteFile(str(engine.url.database), wake)
    try:
        listener = _listener(engine, listen_url, wake)
    except psycopg2.Error as error:
        return Poll(engine, wake, RETRY_FAILED, one_line(error))
    try:
        if listener.hears(engine):
            return listener
    except BaseException:
        listener.close()
        raise
    listener.close()
    return Poll(engine, wake, RETRY_DEAF, "it hears nothing, as through a transaction pooler")


def _listener(engine: Engine, listen_url: URL, wake: Wake) -> Listener:
    """Connect a listener, trying twice, since the database may just have come back.

    Raises:
        psycopg2.Error: only that fails, while the database itself answers.
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    arguments = engine.dialect.create_connect_args(listen_url)[1]
    try:
        return Listener(arguments, wake)
    except psycopg2.Error:
        read_mark(engine)
    try:
        return Listener(arguments, wake)
    except psycopg2.Error:
        read_mark(engine)
        raise


class SQLiteFile:
    """Watches the counter that SQLite raises with every commit of another connection (`PRAGMA data_version`)."""

    def __init__(self, path: str, wake: Wake) -> None:
        self._path, self._wake = Path(path), wake
        if not self._path.exists():
            raise NoFile(self._path)
        self._file = self._path.stat().st_ino  # before connecting, so that a file replaced between is noticed
        self._connection = open_file(self._path)
        try:
            self._seen = self._data_version()
        except sqlite3.Error:
            self.close()
            raise

    def wait(self, seconds: float, loaded: Mark | None) -> bool:
        deadline = time.monotonic() + seconds
        while not self._wake.is_set and time.monotonic() < deadline:
            self._wake.wait(SQLITE_POLL_SECONDS)
            if self._path.stat().st_ino != self._file:
                raise Reopen
            if (seen := self._data_version()) != self._seen:
                self._seen = seen
                return True
        return False

    def close(self) -> None:
        self._connection.close()

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


class Listener:
    """LISTEN on a direct, asynchronous connection that is never waited for longer than ANSWER_SECONDS."""

    def __init__(self, arguments: Mapping[str, Any], wake: Wake) -> None:
        self._wake = wake
        self._connection = psycopg2.connect(**{**arguments, "application_name": "dop_be listener", "async_": 1})
        try:
            wait(self._connection, ANSWER_SECONDS)
            self._execute(f"LISTEN {CHANNEL}")
        except BaseException:
            self.close()
            raise

    def hears(self, engine: Engine) -> bool:
        """Send a notification through another connection and see whether it arrives: a transaction pooler swallows it.

        Other notifications may be dropped here: the state is read afterwards anyway.
        """
        payload = SELF_TEST + secrets.token_hex(8)
        with time_limit(), engine.connect() as connection:
            connection.execute(sql_select(func.pg_notify(CHANNEL, payload)))
            connection.commit()
        deadline = time.monotonic() + SELF_TEST_SECONDS
        while (left := deadline - time.monotonic()) > 0 and not self._wake.is_set:
            if payload in self._payloads(left):
                return True
        return self._wake.is_set

    def wait(self, seconds: float, loaded: Mark | None) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            versions = [payload for payload in self._payloads(left) if not payload.startswith(SELF_TEST)]
            if self._wake.is_set:
                return False
            # They come in the order of commits, so that the last one speaks for all.
            if versions and (loaded is None or versions[-1] != str(loaded.version)):
                return True
        return self._mark() != loaded

    def close(self) -> None:
        self._connection.close()

    def _payloads(self, seconds: float) -> list[str]:
        # What came along with the answer to a statement is here already, and makes nothing readable.
        if not self._connection.notifies and self._wake.wait(seconds, also=self._connection.fileno()):
            wait(self._connection, ANSWER_SECONDS)
        payloads = [notify.payload for notify in self._connection.notifies]
        self._connection.notifies.clear()
        return payloads

    def _mark(self) -> Mark | None:
        """Ask the database, which tells also that it is alive; None where it has no state to load."""
        try:
            return as_mark(self._execute(ASK))
        except psycopg2.errors.UndefinedTable:
            return None

    def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            wait(self._connection, ANSWER_SECONDS)
            return cursor.fetchall() if cursor.description else []


class Poll:
    """Asks the database again and again, where LISTEN does not work; `retry` seconds later LISTEN is tried again."""

    def __init__(self, engine: Engine, wake: Wake, retry: float, reason: str) -> None:
        self.reason = reason  # why LISTEN does not work
        self._engine, self._wake = engine, wake
        self._retry_at = time.monotonic() + retry

    def wait(self, seconds: float, loaded: Mark | None) -> bool:
        if time.monotonic() > self._retry_at:
            raise Reopen
        deadline = time.monotonic() + seconds
        while not self._wake.is_set and time.monotonic() < deadline:
            self._wake.wait(POLL_SECONDS)
            if not self._wake.is_set and read_mark(self._engine) != loaded:
                return True
        return False

    def close(self) -> None:
        """Hold nothing."""
