"""How a watcher hears of changes: over one connection to PostgreSQL, or by the counter in an SQLite file."""

from __future__ import annotations

import select
import socket
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psycopg2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from ..sqlite import NoFile, open_file
from .server import Server
from .snapshot import Mark

POLL_SECONDS = 0.25  # on PostgreSQL, where LISTEN does not work
SQLITE_POLL_SECONDS = 0.05
OPENING_SECONDS = 5.0  # for the first question: where many have just connected, giving up means to connect once more
ERRORS = (psycopg2.Error, SQLAlchemyError, sqlite3.Error, OSError)


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
    """An open source of changes. It reports those made after it was opened, so read the state after opening.

    `name` says which database it is, and `server` which server. `connection` is what to read the state through, None
    where the engine makes a new one each time. `deaf` is why it polls where it should listen, and `lag` how many
    seconds the server was behind its primary when it was asked last: None where it is one.
    """

    @property
    def name(self) -> str: ...
    @property
    def connection(self) -> Connection | None: ...
    @property
    def server(self) -> Server | None: ...
    @property
    def deaf(self) -> str | None: ...
    @property
    def lag(self) -> float | None: ...

    def wait(self, seconds: float, loaded: Mark | None) -> bool:
        """Wait until the state may differ from the `loaded` one, or for `seconds`; whether it may differ.

        Raises:
            Reopen: the source must be opened again.
            one of ERRORS: the database is lost; the source must be opened again.
        """

    def close(self) -> None:
        """Release what it holds."""


class SQLiteFile:
    """Watches the counter that SQLite raises with every commit of another connection (`PRAGMA data_version`)."""

    connection = server = deaf = lag = None

    def __init__(self, engine: Engine, wake: Wake) -> None:
        self._path, self._wake = Path(str(engine.url.database)), wake
        self.name = f"the SQLite file {self._path}"
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
