"""What goes wrong: each fault happens, lasts, and is mended before its function returns."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import psycopg2

from ..postgres import execute
from .hosts import Host
from .plan import Trouble
from .record import Fault, Recorder, now
from .system import System

PATIENCE = 60.0  # seconds for something to be mended
Does = Callable[["Faults", Trouble], None]
DONE: dict[str, Does] = {}  # by the names that plans have for them


def does(kind: str) -> Callable[[Does], Does]:
    """Have a function do what plans call by this name."""

    def register(function: Does) -> Does:
        DONE[kind] = function
        return function

    return register


class Faults:
    """Does to a system what a plan says, and records from when to when whom that disturbed."""

    def __init__(self, system: System, record: Recorder) -> None:
        self.system, self._record = system, record

    def do(self, trouble: Trouble) -> None:
        DONE[trouble.kind](self, trouble)

    @contextmanager
    def disturbing(self, trouble: Trouble, scope: str, told: str = "") -> Iterator[None]:
        """Record the block as a disturbance, also where it fails."""
        began = now()
        try:
            yield
        finally:
            self._record(Fault(trouble.kind, scope, began, now(), told))

    def answers(self) -> bool:
        """Whether the database takes connections again."""
        with suppress(psycopg2.OperationalError):
            return execute(self.system.url, "SELECT 1") == [(1,)]
        return False

    def host(self, trouble: Trouble) -> Host:
        return self.system.hosts[trouble.how["host"]]

    def worker(self, trouble: Trouble) -> int | None:
        """One of the workers of the host, None where it has none just now."""
        running = self.host(trouble).workers()
        return running[int(trouble.how["one"] * len(running))] if running else None


def pause(processes: Iterable[int], seconds: float) -> None:
    """Stop these processes for so long."""
    stopped = list(processes)
    try:
        send(stopped, signal.SIGSTOP)
        time.sleep(seconds)
    finally:
        send(stopped, signal.SIGCONT)


def send(processes: Iterable[int], sent: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, sent)
