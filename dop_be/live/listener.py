"""The watcher's one connection to PostgreSQL, over which it listens, reads and asks; it polls where LISTEN fails."""

from __future__ import annotations

import math
import secrets
import time
from typing import Any

from psycopg2 import extensions
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from .. import deadline
from ..deadline import time_limit
from ..failures import cause, words
from .loader import read_mark
from .pooled import RETRY_DIRECT, Pooled, find_out_through
from .server import Server, find_out
from .snapshot import Mark
from .sources import OPENING_SECONDS, POLL_SECONDS, ChangeSource, Reopen, SQLiteFile, Wake

CHANNEL = "dop_be"
SELF_TEST_SECONDS = 1.0
RETRY_LISTEN = 300.0  # seconds after which a polling watcher tries to listen again
RETRY_SILENT = (
    60.0  # the same where LISTEN_DATABASE_URL is silent: nothing is seen for the seconds of DATABASE_CONNECT_TIMEOUT
)
DEAF = "it hears nothing, as through a transaction pooler"
REPLICA = "the server is a replica"


def open_source(engine: Engine, watching: Engine, fallback: Engine | None, wake: Wake) -> ChangeSource:
    """Open the right source.

    Args:
        engine: of the pool, for writes.
        watching: of the watcher's own connection.
        fallback: the same to DATABASE_URL, where `watching` leads to LISTEN_DATABASE_URL.
        wake: ends every wait.

    Raises:
        one of ERRORS: the database does not answer.
    """
    if engine.dialect.name == "sqlite":
        return SQLiteFile(engine, wake)
    try:
        listener = Listener.open(watching, wake, engine)
    except SQLAlchemyError as error:
        if fallback is not None:
            retry = RETRY_SILENT if isinstance(cause(error), deadline.Timeout) else RETRY_DIRECT
            return Listener.open(fallback, wake, engine, (f"LISTEN_DATABASE_URL: {words(error)}", retry))
        return Pooled.open(engine, wake, error)
    if fallback is None:
        return listener
    try:
        written = find_out_through(engine)
    except SQLAlchemyError:
        return listener.unchecked()
    except BaseException:
        listener.close()
        raise
    late = listener.server.role == "replica" and written.role == "primary"  # it would undo what a write has shown
    if not late and listener.server.is_same_database(written):
        return listener
    listener.close()
    said = "LISTEN_DATABASE_URL is a replica" if late else "LISTEN_DATABASE_URL is another database"
    return Listener.open(fallback, wake, engine, (said, RETRY_LISTEN))


class Listener:
    """A reader's connection that listens, or polls where that does not work; each wait has an end."""

    server: Server

    def __init__(self, engine: Engine, wake: Wake, deaf: str | None, retry: float) -> None:
        self._wake, self.deaf = wake, deaf
        self.lag: float | None = None
        self._retry_at, self._checked_at = time.monotonic() + retry, math.inf
        with time_limit():
            self.connection = engine.connect().execution_options(reading=True, isolation_level="AUTOCOMMIT")
        self._driver: Any = self.connection.connection.driver_connection

    @classmethod
    def open(cls, engine: Engine, wake: Wake, pool: Engine, deaf: tuple[str, float] | None = None) -> Listener:
        """Connect, and listen unless `deaf` says why not, and after how many seconds that is to be tried again.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database does not answer.
        """
        listener = cls(engine, wake, *deaf or (None, RETRY_LISTEN))
        try:
            with time_limit(OPENING_SECONDS):
                listener._begin(pool)
        except BaseException:
            listener.close()
            raise
        return listener

    def _begin(self, pool: Engine) -> None:
        if self.deaf is None:
            try:
                self.server = find_out(self.connection, f"LISTEN {CHANNEL}; ")
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise
                self.server = find_out(self.connection)  # which asks for less where this role may not know all
                self.deaf = self._listen_alone()
                if self.deaf is not None and self.server.role == "replica":
                    self.deaf = REPLICA
        else:  # also on a replica LISTEN_DATABASE_URL is tried again
            self.server = find_out(self.connection)
        if self.deaf is None and self.server.pid != self._driver.info.backend_pid and not self._hears(pool):
            self.deaf = DEAF

    def _listen_alone(self) -> str | None:
        """Listen; return why that is not possible."""
        try:
            self.connection.execute(text(f"LISTEN {CHANNEL}"))
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return words(error)
        return None

    def _hears(self, pool: Engine) -> bool:
        """Send a notification through another connection and see whether it arrives: a transaction pooler swallows it.

        Where the process that answers is the one that answered when connecting, nothing stands between, and nobody
        needs to ask. The channel is this test's own, so that no other worker hears it.
        """
        channel = f"{CHANNEL}_test_{secrets.token_hex(8)}"
        self.connection.execute(text(f"LISTEN {channel}"))
        with pool.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            other.execute(select(func.pg_notify(channel, "")))
        until = time.monotonic() + SELF_TEST_SECONDS
        heard = False
        while not heard and (left := until - time.monotonic()) > 0 and not self._wake.is_set:
            heard = channel in [notify.channel for notify in self._notifications(left)]
        self.connection.execute(text(f"UNLISTEN {channel}"))
        return heard or self._wake.is_set

    @property
    def name(self) -> str:
        return str(self.server)

    def wait(self, seconds: float, loaded: Mark | None) -> bool:
        return self._poll(seconds, loaded) if self.deaf else self._listen(seconds, loaded)

    def unchecked(self) -> Listener:
        """Listen for a while, since DATABASE_URL does not answer and cannot be compared."""
        self._checked_at = time.monotonic() + RETRY_SILENT
        return self

    def _listen(self, seconds: float, loaded: Mark | None) -> bool:
        if time.monotonic() > self._checked_at:
            raise Reopen
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            versions = [notify.payload for notify in self._notifications(left) if notify.channel == CHANNEL]
            if self._wake.is_set:
                return False
            # They come in the order of commits, so that the last one speaks for all.
            if versions and (loaded is None or versions[-1] != str(loaded.version)):
                return True
        return self._has_moved(loaded)

    def _poll(self, seconds: float, loaded: Mark | None) -> bool:
        if self.deaf == DEAF and str(find_out(self.connection)) != str(self.server):
            raise Reopen  # a pooler leads to another server by now
        until = time.monotonic() + seconds
        while not self._wake.is_set and time.monotonic() < until:
            if time.monotonic() > self._retry_at and self.deaf != REPLICA:
                raise Reopen
            self._wake.wait(POLL_SECONDS)
            if not self._wake.is_set and self._has_moved(loaded):
                return True
        return False

    def _has_moved(self, loaded: Mark | None) -> bool:
        """Ask the database, which tells also that it is alive, and whether it was promoted."""
        mark, self.lag = read_mark(self.connection)
        if mark is not None and (self.lag is None) != (self.server.role == "primary"):
            raise Reopen
        return mark != loaded

    def _notifications(self, seconds: float) -> list[extensions.Notify]:
        # What came along with the answer to a statement is here already, and makes nothing readable.
        if not self._driver.notifies and self._wake.wait(seconds, also=self._driver.fileno()):
            with time_limit():
                deadline.wait(self._driver)
        found = list(self._driver.notifies)
        self._driver.notifies.clear()
        return found

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        self._driver.close()
        self.connection.invalidate()
        self.connection.close()
