"""A refusal comes whole or not at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from dop_be.web.whole import Whole

HEAD, BODY = b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"x" * 3_000


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The worker's end of a connection over TCP, and the proxy's."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as theirs:
        ours, _ = server.accept()
        with ours:
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as gunicorn does
            theirs.settimeout(30)
            yield ours, theirs


def test_headers_wait_for_the_body(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    whole = Whole(BODY, {"gunicorn.socket": ours})
    (part,) = whole
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
    ours.sendall(HEAD)
    ours.sendall(part)
    whole.close()
    assert not ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
    assert theirs.recv(len(HEAD + BODY), socket.MSG_WAITALL) == HEAD + BODY


def test_a_worker_that_dies_in_between_says_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    assert next(iter(Whole(BODY, {"gunicorn.socket": ours}))) == BODY
    ours.sendall(HEAD)
    ours.close()
    with pytest.raises(ConnectionResetError):
        theirs.recv(1)


def test_a_connection_that_has_gone_is_no_error(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = ends
    ours.close()
    whole = Whole(BODY, {"gunicorn.socket": ours})
    assert list(whole) == [BODY]
    whole.close()


def test_another_server_than_gunicorn_is_handed_the_body() -> None:
    assert b"".join(Whole(BODY, {})) == BODY
