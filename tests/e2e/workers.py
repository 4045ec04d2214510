"""Each worker of a gunicorn asked by itself, over a connection that is known to be its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType

TRIES = 400  # connections until every worker has taken one
PAUSE = 0.002  # seconds between two questions to a worker


@dataclass(frozen=True)
class Answer:
    """What a worker said, and between which Unix times it must have made up its mind."""

    sent: float
    received: float
    status: int
    body: bytes


def connections(port: int, workers: Sequence[int]) -> dict[int, HTTPConnection]:
    """A kept-alive connection to each worker process.

    Raises:
        RuntimeError: some worker takes none.
    """
    found: dict[int, HTTPConnection] = {}
    for _ in range(TRIES):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        ask(connection, "/livez")
        process = owner(port, int(connection.sock.getsockname()[1]), workers)
        if found.setdefault(process, connection) is not connection:
            connection.close()
        if len(found) == len(workers):
            return found
    raise RuntimeError(f"only {len(found)} of {len(workers)} workers took a connection")


def ask(connection: HTTPConnection, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
    sent = time.time()
    connection.request("GET", path, headers=dict(headers))
    response = connection.getresponse()
    body = response.read()
    return Answer(sent, time.time(), response.status, body)


@contextmanager
def watching(
    port: int,
    workers: Sequence[int],
    path: str,
    *,
    pause: float = PAUSE,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[dict[int, list[Answer]]]:
    """Ask every worker for `path` again and again during the block; the answers by worker, complete when it is left."""
    answers: dict[int, list[Answer]] = {worker: [] for worker in workers}
    ended = threading.Event()

    def watch(connection: HTTPConnection, into: list[Answer]) -> None:
        while not ended.wait(pause):
            into.append(ask(connection, path, headers))

    own = connections(port, workers)
    threads = [threading.Thread(target=watch, args=(own[worker], answers[worker])) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        for connection in own.values():
            connection.close()


def owner(port: int, client_port: int, workers: Sequence[int]) -> int:
    """The process that has the server's end of a loopback connection open (proc(5), /proc/net/tcp and /proc/pid/fd)."""
    ends = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    # An earlier connection between the same ports may linger, without a socket; and a line may be there twice, since
    # the kernel does not hold the list still.
    [inode] = {end[9] for end in ends if _port(end[1]) == port and _port(end[2]) == client_port} - {"0"}
    for worker in workers:
        for descriptor in Path(f"/proc/{worker}/fd").iterdir():
            with suppress(FileNotFoundError):
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    return worker
    raise RuntimeError(f"no worker has the connection from port {client_port}")


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)
