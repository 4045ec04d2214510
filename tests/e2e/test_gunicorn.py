"""The gate as gunicorn serves it, asked by hostile hands."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from tests.conftest import ADMIN

from .servers import gunicorn
from .visitors import ask

CROWD = 100  # of clients, which gunicorn's gthread gives its four threads for 5 s, or its main loop for 2 s, one by one
READ_ONLY = {"active": True, "mode": "read_only"}


@pytest.fixture(scope="module")
def read_only(empty_postgresql: Callable[..., str], migrated_postgresql: str) -> Iterator[int]:
    """The port of a dop_be in read-only maintenance."""
    with gunicorn(empty_postgresql(template=migrated_postgresql)) as server:
        server.request("PUT", "/api/v1/maintenance", json=READ_ONLY, headers=ADMIN).raise_for_status()
        yield server.port


@pytest.mark.parametrize(
    "target", ["/gate", "/gate/ask", "/gate/ask/any/thing", "/gate%2fask", "/%67ate", "/gate?deny=403"]
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Accept", "*/*"),
        ("SCRIPT_NAME", "/gate"),
        ("PATH_INFO", "/livez"),
        ("X_Forwarded_Method", "GET"),
        ("X-Forwarded-Method", "GET"),  # a second one, as a proxy would send it that adds instead of overwriting
        ("X-Original-Method", "GET"),
        ("X-HTTP-Method-Override", "GET"),
        ("X-Forwarded-Ssl", "on"),
    ],
)
def test_no_header_opens_the_gate(read_only: int, target: str, name: str, value: str) -> None:
    proxy = [("X-Forwarded-Method", "POST"), ("X-Forwarded-Proto", "http")]
    assert ask(read_only, "GET", target, [*proxy, (name, value)]).status in {403, 503}


@pytest.mark.parametrize(
    "target",
    [
        "//gate",
        "/gate/",
        "/gate/deny-403/",
        "/gate/any/thing",
        "/Gate",
        "/gate;x",
        "/x/../gate",
        "/gatekeeper",
        "/gate%20",
    ],
)
def test_what_is_not_the_gate_is_not_answered_as_open(read_only: int, target: str) -> None:
    """A proxy with a mistyped address refuses everybody, instead of nobody."""
    assert ask(read_only, "GET", target, [("X-Forwarded-Method", "GET")]).status == 404


@pytest.mark.parametrize("accept", ["a/b," * 2_000, "\xff;q=\x80", 'text/html;a="\\', "text/html;q=1e999", ";;,,=="])
def test_any_accept_header_is_refused_and_not_failed(read_only: int, accept: str) -> None:
    """A failure of the gate would let the visitor through where the proxy fails open."""
    answer = ask(read_only, "GET", "/gate", [("X-Forwarded-Method", "POST"), ("Accept", accept)])
    assert answer.status == 503
    assert answer.json["code"] == "maintenance"


BAD_CHUNKS = [b"zz\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n"]
LONG = b'{"maintenance_message": "cut"}'.ljust(20_000) + b"garbage"


@pytest.mark.parametrize(
    ("body", "status"),
    [*((body, 400) for body in BAD_CHUNKS), (b"%x\r\n%s\r\n0\r\n\r\n" % (len(LONG), LONG), 413)],
    ids=["no number", "negative", "too large"],
)
def test_a_chunked_body_is_read_whole_or_refused(read_only: int, body: bytes, status: int) -> None:
    head = (
        "PATCH /api/v1/settings HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nContent-Type: application/json\r\n"
        f"Authorization: {ADMIN['Authorization']}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", read_only), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 %d " % status)


@contextmanager
def crowd(port: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Connections that have sent this, and neither send anything more nor close."""
    with ExitStack() as stack:
        connect = partial(socket.create_connection, ("127.0.0.1", port), timeout=60)
        clients = [stack.enter_context(connect()) for _ in range(CROWD)]
        for client in clients:
            client.sendall(sent)
        yield clients


LAST = b"POST /gate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", LAST], ids=["nothing sent", "answered and not closed"])
def test_a_silent_client_holds_nobody_up(read_only: int, sent: bytes) -> None:
    with crowd(read_only, sent):
        for _ in range(12):
            assert ask(read_only, "GET", "/livez").status == 200  # within the 30 s of its timeout


def test_who_was_silent_is_answered_at_last(read_only: int) -> None:
    with crowd(read_only, b"") as clients:
        ask(read_only, "GET", "/livez")
        for client in clients:
            client.sendall(LAST)
            assert client.recv(4096).startswith(b"HTTP/1.1 503 ")


def test_an_answer_that_closes_the_connection_comes_whole(read_only: int) -> None:
    """Closing while something unread has arrived would reset the connection (RFC 9112 section 9.6)."""
    with crowd(read_only, LAST + b"x" * 10_000) as clients:
        for client in clients:
            answer = b""
            while received := client.recv(65_536):
                answer += received
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert f"Content-Length: {len(body)}".encode() in head


@pytest.mark.parametrize("sent", [b"", LAST], ids=["nothing sent", "answered and not closed"])
def test_a_silent_client_keeps_no_worker_from_ending(sqlite_url: str, sent: bytes) -> None:
    with gunicorn(sqlite_url, "--graceful-timeout", "300") as server, crowd(server.port, sent):
        ask(server.port, "GET", "/livez")
        assert server.stop(seconds=100) == 0
