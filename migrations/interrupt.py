"""Ctrl-C and SIGTERM end a migration within a second: its statement is cancelled, its transaction undone.

Python runs no signal handler while psycopg2 or sqlite3 waits in C. So the signal's number also goes into a socket
(`signal.set_wakeup_fd`), and a thread that reads it cancels the statement.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import sqlalchemy as sa

SIGNALS = (signal.SIGINT, signal.SIGTERM)
CANCEL_SECONDS = 0.4  # how long the main thread waits for the cancellation to be sent
END_SECONDS = 0.5  # how long it then has to undo the transaction
LAST_SECONDS = 0.9  # until the kernel ends a process that hangs in the cancellation
logger = logging.getLogger("alembic.dop_be")


class Interrupt:
    """One signal during one migration."""

    def __init__(self, where: Callable[[], str]) -> None:
        self.received: signal.Signals | None = None
        self._where = where
        self._cancel: Callable[[], object] | None = None
        self._raised = False
        self._told, self._cancelled, self._ended = threading.Lock(), threading.Event(), threading.Event()

    def cancels(self, connection: sa.Connection) -> None:
        """Name the connection whose statement a signal cancels."""
        driver: Any = connection.connection.driver_connection
        self._cancel = driver.cancel if connection.dialect.name == "postgresql" else driver.interrupt

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Handle the signal in the main thread, as soon as that is back in Python."""
        if self._raised:
            return  # a second Ctrl-C must not disturb the undoing
        self._raised, self.received = True, signal.Signals(number)
        self._cancelled.wait(CANCEL_SECONDS)  # a late cancellation would hit what undoes
        raise KeyboardInterrupt

    def watch(self, waking: socket.socket) -> None:
        """Cancel the statement when a signal comes; end the process where the main thread does not."""
        with waking:
            sent = waking.recv(1)
        if not sent:
            return
        self.received = signal.Signals(sent[0])
        self.tell()
        if self._cancel is not None:
            # While a frozen server does not answer, psycopg2 holds the interpreter's lock: no thread could end this.
            signal.setitimer(signal.ITIMER_REAL, LAST_SECONDS)
            with suppress(Exception):  # the connection may just have been closed
                self._cancel()
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._cancelled.set()
        if not self._ended.wait(END_SECONDS):
            logging.shutdown()
            os._exit(self.code)

    def tell(self) -> None:
        if self.received is not None and self._told.acquire(blocking=False):
            logger.error("interrupted by %s %s", self.received.name, self._where())

    def end(self, watching: threading.Thread) -> None:
        self._ended.set()
        watching.join(END_SECONDS)  # it may be writing the line, which the end of the process would cut off
        if self.received is not None:
            self.tell()
            sys.exit(self.code)

    @property
    def code(self) -> int:
        return 128 + (self.received or 0)  # as a shell reports a process that the signal ended


@contextmanager
def interruptible(where: Callable[[], str]) -> Iterator[Interrupt]:
    """Handle SIGNALS during the block, where this is the main thread; `where` completes the sentence "interrupted".

    Raises:
        SystemExit: a signal came; one line was logged.
    """
    interrupt = Interrupt(where)
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    handlers = {number: signal.signal(number, interrupt.handle) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    watching = threading.Thread(target=interrupt.watch, args=(reading,), daemon=True)
    watching.start()
    try:
        yield interrupt
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writing.close()
        interrupt.end(watching)
