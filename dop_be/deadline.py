"""A deadline for everything that one thread asks the database, on the monotonic clock."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from statistics import median_high

import psycopg2
from psycopg2 import extensions

SECONDS = 1.5  # for one transaction, waiting for locks included, beside its round trips
ROUND_TRIPS = 10  # that a transaction is given, connecting included; a warm write needs 4
LONGEST_ROUND_TRIP = 2.0  # seconds; what takes longer is slow, and not far away

# A thread that connects patiently gives each host its time; else connecting counts as a part of the transaction.
patient: ContextVar[bool] = ContextVar("patient", default=False)
# A file descriptor that becomes readable when this thread must stop.
interrupt: ContextVar[int | None] = ContextVar("interrupt", default=None)


class Timeout(psycopg2.OperationalError):
    """The database did not answer in time; the connection is unusable."""


@dataclass
class _Limit:
    """The end of a block on time.monotonic's clock; `waits` are the seconds of each wait in it.

    Where there is a `silence`, in seconds, each answer moves the end so far away, though never beyond `last`.
    """

    until: float
    outer: _Limit | None
    silence: float | None = None
    last: float = 0.0
    waits: list[float] = field(default_factory=list)


class RoundTrip:
    """How many seconds a question to the database and its answer are on their way: the least of the last few."""

    def __init__(self) -> None:
        self._last: deque[float] = deque([0.0], maxlen=8)
        self._measured = False
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        """Note how long a question took that gives the database nothing to do."""
        if not self._measured:
            self._measured = True
            self._last.clear()
        self._last.append(min(seconds, LONGEST_ROUND_TRIP))
        self.seconds = min(self._last)


_limit: ContextVar[_Limit | None] = ContextVar("limit", default=None)
round_trip = RoundTrip()  # of this process


@contextmanager
def time_limit(seconds: float | None = None) -> Iterator[None]:
    """Bound everything that the database is asked within the block, together: SECONDS or so many, and ROUND_TRIPS.

    A frozen server or a cut network holds a blocking psycopg2 call far past keepalives and statement_timeout; only a
    wait of our own on the monotonic clock ends it. Migrations take the time they need and never run in such a block.
    """
    extensions.set_wait_callback(wait)  # for the whole process, where it changes nothing outside of such blocks
    outer = _limit.get()
    until = time.monotonic() + (seconds or SECONDS) + ROUND_TRIPS * round_trip.seconds
    token = _limit.set(_Limit(until if outer is None else min(until, outer.until), outer))
    try:
        yield
    finally:
        _limit.reset(token)


@contextmanager
def connecting(seconds: float) -> Iterator[None]:
    """Bound one try to connect.

    Where the thread is `patient`, it takes nothing from the time limit around it, and these are the seconds without any
    answer; in all it may take three times as long. A server that many clients connect to at once is slow, and a client
    that gives up and tries again makes it slower.
    """
    outer, began = _limit.get(), time.monotonic()
    if outer is not None and not patient.get():
        limit, waited_for = _Limit(min(began + seconds, outer.until), None), None
    else:
        limit, waited_for = _Limit(began + seconds, None, seconds, began + 3 * seconds), outer
    token = _limit.set(limit)
    try:
        yield
        round_trip.note(median_high(limit.waits or [0.0]))
    finally:
        _limit.reset(token)
        while waited_for is not None:
            waited_for.until += time.monotonic() - began
            waited_for = waited_for.outer


def remaining() -> float | None:
    """Return the seconds that are left within the current time limit; None outside of one."""
    limit = _limit.get()
    return None if limit is None else max(0.0, limit.until - time.monotonic())


def wait(connection: extensions.connection) -> None:
    """Drive an asynchronous psycopg2 operation to its end (its manual, "Support for coroutine libraries").

    Raises:
        Timeout: the time limit is over.
        psycopg2.OperationalError: this thread must stop; the connection is unusable.
    """
    while (state := connection.poll()) != extensions.POLL_OK:
        left = remaining()
        # A new one each time: connecting may go through several sockets. One that always has something to say is over
        # its time too.
        if left == 0.0 or not ready({connection.fileno(): state}, left):
            raise Timeout("the database did not answer in time")


def ready(sockets: Mapping[int, int], seconds: float | None) -> set[int]:
    """Wait for sockets, each in the state that psycopg2's `poll` told; return those that are ready, or none in time.

    Raises:
        psycopg2.OperationalError: this thread must stop.
    """
    ending, limit, began = interrupt.get(), _limit.get(), time.monotonic()
    poller = select.poll()
    for descriptor, state in sockets.items():
        poller.register(descriptor, select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN)
    if ending is not None:
        poller.register(ending, select.POLLIN)
    found = {descriptor for descriptor, _ in poller.poll(None if seconds is None else seconds * 1000)}
    if ending in found:
        raise psycopg2.OperationalError("interrupted")
    if limit is not None:
        now = time.monotonic()
        limit.waits.append(now - began)
        if found and limit.silence is not None:
            limit.until = min(now + limit.silence, limit.last)
    return found
