"""Where a watcher hears of changes: NOTIFY on PostgreSQL, a poll behind a pooler, the file's own counter on SQLite."""

from __future__ import annotations

import logging
import secrets
import select
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg2
from sqlalchemy import Engine, func
from sqlalchemy import select as sql_select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from ..database import lacks_schema, reading, time_limit, wait_until
from .models import LiveState

CHANNEL = "dop_be"
ANSWER_SECONDS = 1.5  # how long the listener's connection may take for anything: longer means frozen
SELF_TEST_SECONDS = 1.0
SQLITE_POLL_SECONDS = 0.05
POOLER_POLL_SECONDS = 0.25
POOLER_RETRY_SECONDS = 60.0  # after which a polling watcher tries to listen again
VERSION = sql_select(LiveState.version)
ERRORS = (psycopg2.Error, SQLAlchemyError, sqlite3.Error, OSError)

logger = logging.getLogger(__name__)


class Wake:
    """Ends a wait from another thread; a socket, so that it can be waited for beside a connection's."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self.is_set = False

    def set(self) -> None:
        self.is_set = True
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


class Feed(Protocol):
    """One open source of changes."""

    def wait(self, seconds: float, version: int | None) -> bool:
        """Wait until the state may differ from `version`, or for `seconds`; whether it may differ.

        Raises:
            one of ERRORS: the source is gone, and has to be opened again.
        """


@contextmanager
def open_feed(engine: Engine, listen_url: URL, wake: Wake) -> Iterator[Feed]:
    """Open the feed that fits the database; what happens after this returns is heard, so read the state then."""
    if engine.dialect.name == "sqlite":
        feed = SQLiteFeed(str(engine.url.database), wake)
        try:
            yield feed
        finally:
            feed.close()
        return
    listener = Listener(engine, listen_url, wake)
    try:
        yield listener if listener.hears() else PoolerFeed(engine, wake)
    finally:
        listener.close()


class SQLiteFeed:
    """Watches the counter that SQLite raises with every commit of another connection (`PRAGMA data_version`)."""

    def __init__(self, path: str, wake: Wake) -> None:
        self._path, self._wake = Path(path), wake
        self._connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=ANSWER_SECONDS)
        self._file = Path(path).stat().st_ino
        self._seen = self._data_version()

    def wait(self, seconds: float, version: int | None) -> bool:
        deadline = time.monotonic() + seconds
        while not self._wake.is_set and time.monotonic() < deadline:
            self._wake.wait(SQLITE_POLL_SECONDS)
            if self._path.stat().st_ino != self._file:
                raise OSError("the database file was replaced")
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

    def __init__(self, engine: Engine, url: URL, wake: Wake) -> None:
        self._engine, self._wake = engine, wake
        arguments = dict(engine.dialect.create_connect_args(url)[1])
        arguments |= {"application_name": "dop_be listener", "async_": 1}
        self._connection = psycopg2.connect(**arguments)
        try:
            wait_until(self._connection, time.monotonic() + ANSWER_SECONDS)
            self._execute(f"LISTEN {CHANNEL}")
        except BaseException:
            self._connection.close()
            raise

    def hears(self) -> bool:
        """Send a notification through another connection and see whether it arrives: a transaction pooler swallows it.

        What else arrives meanwhile needs no answer, since the state is read after this.
        """
        nonce = secrets.token_hex(8)
        with time_limit(), self._engine.connect() as connection:
            connection.execute(sql_select(func.pg_notify(CHANNEL, nonce)))
            connection.commit()
        deadline = time.monotonic() + SELF_TEST_SECONDS
        while (left := deadline - time.monotonic()) > 0 and not self._wake.is_set:
            if nonce in self._payloads(left):
                return True
        logger.warning(
            "LISTEN hears nothing, as through a transaction pooler: polling every %s s instead;"
            " LISTEN_DATABASE_URL takes the URL of a direct connection",
            POOLER_POLL_SECONDS,
        )
        return False

    def wait(self, seconds: float, version: int | None) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            payloads = self._payloads(left)
            if self._wake.is_set:
                return False
            if any(payload.isdigit() and int(payload) != version for payload in payloads):
                return True
        return self._version() != version

    def close(self) -> None:
        self._connection.close()

    def _payloads(self, seconds: float) -> list[str]:
        if self._wake.wait(seconds, also=self._connection.fileno()):
            wait_until(self._connection, time.monotonic() + ANSWER_SECONDS)
        payloads = [notify.payload for notify in self._connection.notifies]
        self._connection.notifies.clear()
        return payloads

    def _version(self) -> int | None:
        """Ask for the version, which tells also that the server is alive; None where there is no such table yet."""
        try:
            rows = self._execute(str(VERSION))
        except psycopg2.errors.UndefinedTable:
            return None
        return int(rows[0][0]) if rows else None

    def _execute(self, statement: str) -> list[tuple[int]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            wait_until(self._connection, time.monotonic() + ANSWER_SECONDS)
            return cursor.fetchall() if cursor.description else []


class PoolerFeed:
    """Asks for the version again and again, where LISTEN does not work."""

    def __init__(self, engine: Engine, wake: Wake) -> None:
        self._engine, self._wake = engine, wake
        self._retry_at = time.monotonic() + POOLER_RETRY_SECONDS

    def wait(self, seconds: float, version: int | None) -> bool:
        deadline = time.monotonic() + seconds
        while not self._wake.is_set and time.monotonic() < deadline:
            self._wake.wait(POOLER_POLL_SECONDS)
            if self._version() != version:
                return True
        if time.monotonic() > self._retry_at:
            raise OSError("time to try LISTEN again")
        return False

    def _version(self) -> int | None:
        try:
            with reading(self._engine) as connection:
                return connection.scalar(VERSION)
        except SQLAlchemyError as error:
            if lacks_schema(error):
                return None
            raise
