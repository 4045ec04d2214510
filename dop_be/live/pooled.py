"""Polling through the pool, while the server has no connection left for a watcher of its own."""

from __future__ import annotations

import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ..database import reading
from ..failures import explain, words
from ..sentences import OUT_OF_CONNECTIONS
from .loader import read_mark
from .server import Server, find_out
from .snapshot import Mark
from .sources import POLL_SECONDS, Reopen, Wake

RETRY_DIRECT = 5.0  # seconds after which a connection that could not be had is tried again


def find_out_through(engine: Engine) -> Server:
    """Return which server DATABASE_URL leads to."""
    with reading(engine) as connection:
        return find_out(connection)


class Pooled:
    """Polls through the pool for a while, as where the server has no connection left but those that are open."""

    connection = None

    def __init__(self, engine: Engine, wake: Wake, deaf: str) -> None:
        self._engine, self._wake, self.deaf = engine, wake, deaf
        self.lag: float | None = None
        self.server = find_out_through(engine)
        self.name = str(self.server)
        self._until = time.monotonic() + RETRY_DIRECT

    @classmethod
    def open(cls, engine: Engine, wake: Wake, error: SQLAlchemyError) -> Pooled:
        """Poll through a connection that the pool has, where the server refused a further one with `error`.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the pool has none, or it does not answer either, or the server refused
                for another reason.
        """
        pool = engine.pool
        if explain(error) != OUT_OF_CONNECTIONS or not isinstance(pool, QueuePool) or not pool.checkedin():
            raise error
        try:
            return cls(engine, wake, f"no further connection can be had: {words(error)}")
        except SQLAlchemyError:
            raise error from None

    def wait(self, seconds: float, loaded: Mark | None) -> bool:
        until = time.monotonic() + seconds
        while not self._wake.is_set and time.monotonic() < until:
            if time.monotonic() > self._until:
                raise Reopen
            self._wake.wait(POLL_SECONDS)
            with reading(self._engine) as connection:
                mark, self.lag = read_mark(connection)
            if not self._wake.is_set and mark != loaded:
                return True
        return False

    def close(self) -> None:
        """Hold nothing."""
