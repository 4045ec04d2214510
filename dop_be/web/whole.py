"""A body that reaches the asker whole, or not at all."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CORK = getattr(socket, "TCP_CORK", None)  # Linux alone has it
DISCARD, DELIVER = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # what a close does with data that is not sent


class Whole:
    """Holds headers and body back until both are written, as the body of a WSGI answer under gunicorn.

    gunicorn writes them one after the other. If the worker is killed in between, a proxy has the headers of a refusal
    and no body: it asks no other worker, and some proxies take that for a dead gate. Here the kernel sends nothing
    until both are written, and nothing at all if the worker dies before, so that the proxy asks again (TCP_CORK in
    tcp(7), SO_LINGER in socket(7) of Linux).
    """

    def __init__(self, body: bytes, environ: WSGIEnvironment) -> None:
        found = environ.get("gunicorn.socket")
        over_tcp = CORK is not None and isinstance(found, socket.socket) and found.family != socket.AF_UNIX
        self._body, self._socket = body, found if over_tcp else None

    def __iter__(self) -> Iterator[bytes]:
        self._hold(1, DISCARD)
        yield self._body

    def close(self) -> None:
        self._hold(0, DELIVER)

    def _hold(self, cork: int, linger: bytes) -> None:
        if self._socket is not None and CORK is not None:
            with suppress(OSError):  # the asker has gone
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._socket.setsockopt(socket.IPPROTO_TCP, CORK, cork)
