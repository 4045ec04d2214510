"""gunicorn's threaded worker, in which a silent client does not hold up the others."""

from __future__ import annotations

import socket
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.util import close
from gunicorn.workers.gthread import TConn, ThreadWorker

LINGER = 2.0  # seconds that gunicorn gives a client to read the last answer, and to send what is on its way
MOST_DISCARDED = 65_536  # bytes of the latter, likewise


@dataclass(eq=False, slots=True)
class Closing:
    """A connection whose client has its last answer, and need only close it."""

    conn: TConn
    until: float
    discarded: int = 0


class Worker(ThreadWorker):
    """Waits in its one selector for what gunicorn's gthread waits for in a thread.

    A proxy may open a connection and then have nothing to send, since its visitor has gone; Envoy keeps it. gthread
    gives each of these a thread for 5 s, so that four of them close the service. And gthread's main loop closes
    connections, for 2 s where the client does not close its side: the lingering close of RFC 9112 section 9.6.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._closing: deque[Closing] = deque()
        self._last_wait: float | None = None

    def enqueue_req(self, conn: TConn) -> None:
        """Give the connection a thread, a new one only when it has sent something."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Go on with a connection after a request: keep it, or say that nothing more comes and wait for its client."""
        if not fs.cancelled() and (fs.exception() is not None or fs.result()):
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has gone
            self._close(conn)
            return
        closing = Closing(conn, time.monotonic() + LINGER)
        self._closing.append(closing)
        self.poller.register(conn.sock, EVENT_READ, partial(self._discard, closing))

    def _discard(self, closing: Closing, _: socket.socket) -> None:
        received = b""
        with suppress(OSError):
            received = closing.conn.sock.recv(4096)
        closing.discarded += len(received)
        if not received or closing.discarded >= MOST_DISCARDED:
            self._closing.remove(closing)
            self.poller.unregister(closing.conn.sock)
            self._close(closing.conn)

    def murder_pending(self) -> None:
        """Close what has waited for too long; when the worker ends, that is as long as for a last request."""
        now = time.monotonic()
        if not self.alive:
            self._last_wait = self._last_wait or now + LINGER
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout or now, self._last_wait)
        super().murder_pending()
        while self._closing and self._closing[0].until <= now:
            conn = self._closing.popleft().conn
            self.poller.unregister(conn.sock)
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        close(conn.sock)
