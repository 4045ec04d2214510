"""A database server that says what a test wants it to say, before it hangs up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .guard import sitecustomize as guard


def starting_up(severity: str, message: str, encoding: str) -> bytes:
    """The error by which a server that is starting up refuses a connection, in its own language and encoding."""
    parts = (f"S{severity}", "VFATAL", "C57P03", f"M{message}")
    body = b"".join(part.encode(encoding) + b"\0" for part in parts) + b"\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


def port_of(listener: socket.socket) -> int:
    """Its port, which this process may connect to."""
    port: int = listener.getsockname()[1]
    guard.allowed.add(port)
    return port


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that gives the bytes of each answer for one message of each connection, and closes; its URL."""
    taken: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):  # the test is over
            while True:
                connection, _ = listener.accept()
                taken.append(connection)
                threading.Thread(target=answer, args=[connection], daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for each in answers:
                connection.recv(8192)
                connection.sendall(each)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"postgresql://somebody@127.0.0.1:{port_of(listener)}/somewhere"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                with suppress(OSError):  # most have hung up
                    connection.shutdown(socket.SHUT_RDWR)
