"""A deadline for everything that one thread asks the database, on the monotonic clock."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import psycopg2
from psycopg2 import extensions

SECONDS = 1.5  # for one transaction, connecting and waiting for locks included; a write answers within 2

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)  # on time.monotonic's clock
# A file descriptor that becomes readable when this thread must stop.
interrupt: ContextVar[int | None] = ContextVar("interrupt", default=None)


@contextmanager
def time_limit(seconds: float | None = None) -> Iterator[None]:
    """Bound everything that the database is asked within the block, together, by SECONDS or so many.

    A frozen server or a cut network holds a blocking psycopg2 call far past keepalives and statement_timeout; only a
    wait of our own on the monotonic clock ends it. Migrations take the time they need and never run in such a block.
    """
    extensions.set_wait_callback(wait)  # for the whole process, where it changes nothing outside of such blocks
    token = _deadline.set(min(time.monotonic() + (seconds or SECONDS), _deadline.get() or math.inf))
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining() -> float | None:
    """Return the seconds that are left within the current time limit; None outside of one."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def wait(connection: extensions.connection, seconds: float | None = None) -> None:
    """Drive an asynchronous psycopg2 operation to its end (its manual, "Support for coroutine libraries").

    Args:
        connection: whose operation it is.
        seconds: how long it may take; None: as long as the current time limit leaves, outside of one for ever.

    Raises:
        psycopg2.OperationalError: that time is over, or this thread must stop; the connection is unusable.
    """
    ending, deadline = interrupt.get(), _deadline.get() if seconds is None else time.monotonic() + seconds
    while (state := connection.poll()) != extensions.POLL_OK:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        poller = select.poll()  # a new one each time: connecting may go through several sockets
        poller.register(connection.fileno(), select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN)
        if ending is not None:
            poller.register(ending, select.POLLIN)
        ready = dict(poller.poll(None if left is None else left * 1000))
        if not ready or ending in ready:
            raise psycopg2.OperationalError("the database did not answer in time" if not ready else "interrupted")
