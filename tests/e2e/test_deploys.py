"""Deploys and deaths during maintenance, through each shipped proxy as it fails open: nobody gets past the gate."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from pathlib import Path

import pytest

from tests.conftest import ADMIN
from tests.processes import copy_project

from .proxies import NAMES, REMEMBERING, Proxy
from .servers import Server, children, eventually, gunicorn
from .visitors import Recorder

VISITORS, PAUSE = 8, 0.015  # at a time, and seconds between the requests of each: up to 500 requests a second
WORKERS = 2
EDGES = [*((name, False) for name in NAMES), *((name, True) for name in REMEMBERING)]  # the latter ask every time


def hang_up(server: Server) -> None:
    """Restart every worker."""
    before = server.workers()
    os.kill(server.pid, signal.SIGHUP)
    eventually(30, lambda: len(server.workers()) == WORKERS and not set(before) & set(server.workers()))


def replace(server: Server) -> None:
    """Deploy: a new master beside the old one (USR2), and once its workers serve, the end of the old one (TERM)."""
    before = set(server.workers())
    os.kill(server.pid, signal.SIGUSR2)
    eventually(30, lambda: [len(children(pid)) for pid in set(server.workers()) - before] == [WORKERS])
    time.sleep(0.5)  # an operator asks /readyz here, which either master may answer
    os.kill(server.pid, signal.SIGTERM)
    eventually(30, server.ended)


def kill_each(server: Server) -> None:
    for worker in server.workers():
        os.kill(worker, signal.SIGKILL)
        eventually(30, lambda worker=worker: worker not in server.workers() and len(server.workers()) == WORKERS)
        time.sleep(0.3)


@contextmanager
def visited(proxy: Proxy) -> Iterator[Counter[int]]:
    """Let visitors come all the while; the statuses of their answers, filled when the block is left."""
    seen: list[Counter[int]] = [Counter() for _ in range(VISITORS)]
    over = threading.Event()

    def visit(into: Counter[int]) -> None:
        connection = HTTPConnection("127.0.0.1", proxy.port, timeout=30)  # kept, so that the ports suffice
        while not over.wait(PAUSE):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                into[answer.status] += 1
                answer.read()
            except (IncompleteRead, RemoteDisconnected, ConnectionError):  # a refusal cut off, or an idle one's end
                connection.close()
        connection.close()

    threads = [threading.Thread(target=visit, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    statuses: Counter[int] = Counter()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for into in seen:
            statuses.update(into)


def test_hup_takes_no_configuration_and_a_broken_one_harms_nothing(postgresql_url: str, tmp_path: Path) -> None:
    copy_project(tmp_path / "dop_be")
    with gunicorn(postgresql_url, workers=WORKERS, cwd=tmp_path / "dop_be") as server:
        (tmp_path / "dop_be/.env").write_text("LOG_LEVEL=nonsense\n")
        hang_up(server)
        assert server.get("/readyz").status_code == 200
        assert "HUP takes neither new code nor a new configuration" in server.log()


@pytest.mark.parametrize("active", [True, False], ids=["in maintenance", "open"])
@pytest.mark.parametrize("happening", [hang_up, replace, kill_each])
@pytest.mark.parametrize("edge", EDGES, ids=[f"{name}, asking" if asking else name for name, asking in EDGES])
def test_nobody_is_let_through_or_refused_wrongly(
    edge: tuple[str, bool], happening: Callable[[Server], None], active: bool, postgresql_url: str, tmp_path: Path
) -> None:
    name, asking = edge
    with ExitStack() as stack:
        platform = Recorder(lambda _: (200, {}))
        stack.callback(platform.end)
        dop_be = stack.enter_context(gunicorn(postgresql_url, workers=WORKERS))
        dop_be.request("PUT", "/api/v1/maintenance", json={"active": active}, headers=ADMIN).raise_for_status()
        proxy = stack.enter_context(
            Proxy(name, tmp_path / name, platform.port, dop_be.port, fail_closed=not active, asking=asking).running()
        )
        expected = 503 if active else 200
        eventually(30, lambda: proxy.ask("GET", "/").status == expected)
        with visited(proxy) as statuses:
            time.sleep(0.5)
            happening(dop_be)
            time.sleep(1)
        assert set(statuses) == {expected}
