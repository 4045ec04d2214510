"""What may happen to a database and its workers, done to real ones: gunicorn on PostgreSQL and SQLite."""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from .. import processes
from ..clock import Clock
from ..conftest import ADMIN
from ..pgbouncer import pgbouncer
from ..postgres import Cluster, connections_used_up, execute
from .servers import Server, eventually, gunicorn, serving

SOON = 5.0  # seconds: fresh this soon after the database's return
WRITE = 2.0  # seconds for a write, whatever happens
WORKERS = 2
LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'dop_be listener' AND datname = current_database()"
)
OWN = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'dop_be%' AND datname = current_database()"
RECORD_CHANGE = "UPDATE system_settings SET maintenance_message = '{}'"


@pytest.fixture(scope="module")
def shared_url(breakable_cluster: tuple[Cluster, str]) -> str:
    """One database for the tests of this module that share a server."""
    cluster, template = breakable_cluster
    name = f"faults_{secrets.token_hex(4)}"
    execute(cluster.url(), f"CREATE DATABASE {name} TEMPLATE {template}")
    return cluster.url(name)


@pytest.fixture(scope="module")
def shared_server(shared_url: str) -> Iterator[Server]:
    with gunicorn(shared_url, workers=WORKERS) as server:
        yield server


@pytest.fixture
def server(shared_server: Server, shared_url: str, cluster: Cluster) -> Server:
    """A server whose workers all listen to a database in order."""
    eventually(2 * SOON, lambda: len(execute(shared_url, LISTENERS)) == WORKERS)
    assert shared_server.patch(is_maintain=False, maintenance_message=None).status_code == 200
    eventually(SOON, lambda: all_say(shared_server, None))
    return shared_server


def message(server: Server) -> str | None:
    text: str | None = server.get("/api/v1/settings").json()["maintenance_message"]
    return text


def all_say(server: Server, text: str | None) -> bool:
    """Whether a dozen new connections, which go to whichever worker takes them, all see the text."""
    return all(message(server) == text for _ in range(12))


def assert_serves_reads(server: Server, text: str | None) -> None:
    assert all_say(server, text)
    for path in ("/", "/gate", "/api/v1/maintenance", "/livez"):
        assert server.get(path).status_code == 200
    ready = server.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["state_age"] >= 0


def assert_refuses_writes(server: Server) -> None:
    clock = Clock()
    response = server.patch(maintenance_message="refused")
    assert clock.stop() < WRITE
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert int(response.headers["Retry-After"]) > 0


def assert_fresh_soon(server: Server, url: str, text: str) -> None:
    """A change made now, right after the database's return, reaches every worker in time."""
    execute(url, RECORD_CHANGE.format(text))
    eventually(SOON, lambda: all_say(server, text))


# The database


def test_a_stopped_database_closes_nothing(server: Server, cluster: Cluster, shared_url: str) -> None:
    assert server.patch(maintenance_message="before").status_code == 200
    eventually(SOON, lambda: all_say(server, "before"))
    cluster.stop()
    assert_serves_reads(server, "before")
    assert_refuses_writes(server)
    cluster.start()
    assert_fresh_soon(server, shared_url, "after")
    assert server.patch(maintenance_message=None).status_code == 200


def test_a_frozen_database_closes_nothing(server: Server, cluster: Cluster, shared_url: str) -> None:
    assert server.patch(maintenance_message="before").status_code == 200
    eventually(SOON, lambda: all_say(server, "before"))
    cluster.freeze()
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(assert_refuses_writes, server) for _ in range(4)]
        assert_serves_reads(server, "before")
        for write in writes:
            write.result()
    time.sleep(2.5)  # the listeners have noticed by now, and the pools have no connection left
    assert_refuses_writes(server)
    assert_serves_reads(server, "before")
    cluster.thaw()
    assert_fresh_soon(server, shared_url, "after")


def test_what_was_acknowledged_survives_a_crash_of_the_database(
    server: Server, cluster: Cluster, shared_url: str
) -> None:
    """Killed amid writes. The server writes to disk before it acknowledges (fsync is on), and recovers from its log."""
    acknowledged: list[int] = []
    stopping = threading.Event()

    def write(number: int) -> None:
        while not stopping.is_set():
            answer = server.patch(maintenance_message=f"{number} {secrets.token_hex(8)}")
            if answer.status_code == 200:
                acknowledged.append(answer.json()["revision"])
            else:
                assert answer.json()["code"] == "database_unavailable"

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        eventually(2 * SOON, lambda: len(acknowledged) > 50)
        cluster.kill()
        stopping.set()
        for writer in writers:
            writer.result()
    assert len(set(acknowledged)) == len(acknowledged)
    cluster.start()
    [(revision,)] = execute(shared_url, "SELECT revision FROM system_settings")
    # A commit whose answer was lost with the server may be there besides, one for each writer.
    assert max(acknowledged) <= revision <= max(acknowledged) + 4
    assert_fresh_soon(server, shared_url, "recovered")


def test_terminated_listeners_come_back_and_miss_nothing(server: Server, shared_url: str) -> None:
    before = set(execute(shared_url, LISTENERS))
    execute(
        shared_url,
        LISTENERS.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"),
        RECORD_CHANGE.format("while the listeners are away"),
    )
    eventually(SOON, lambda: all_say(server, "while the listeners are away"))
    eventually(SOON, lambda: len(execute(shared_url, LISTENERS)) == WORKERS)
    assert not before & set(execute(shared_url, LISTENERS))


def test_a_server_without_free_connections_closes_nothing(server: Server, shared_url: str) -> None:
    with connections_used_up(shared_url):
        assert_serves_reads(server, None)
        clock = Clock()
        assert server.patch(maintenance_message="x").status_code in {200, 503}  # a pool may hold a connection still
        assert clock.stop() < WRITE
    eventually(SOON, lambda: server.patch(maintenance_message="after").status_code == 200)
    eventually(SOON, lambda: all_say(server, "after"))


# The workers


def test_a_worker_serves_its_own_write_at_once(server: Server) -> None:
    """A connection that is kept stays with its worker; what it wrote it sees in its next request, every time."""
    for number in range(30):
        with requests.Session() as session:
            body = {"maintenance_message": f"own {number}"}
            wrote = session.patch(f"{server.url}/api/v1/settings", json=body, headers={**ADMIN, "If-Match": "*"})
            read = session.get(f"{server.url}/api/v1/settings", headers=ADMIN)
            assert (wrote.status_code, read.json()) == (200, wrote.json())
            assert read.headers["ETag"] == wrote.headers["ETag"]


def test_a_worker_killed_under_load_is_replaced_and_knows_the_state(server: Server, shared_url: str) -> None:
    assert server.patch(maintenance_message="known").status_code == 200
    eventually(SOON, lambda: all_say(server, "known"))
    stopping = threading.Event()
    seen: set[tuple[int, str | None]] = set()

    def load() -> None:
        while not stopping.is_set():
            try:
                answer = server.get("/api/v1/settings")
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):  # what the killed worker held
                continue
            seen.add((answer.status_code, answer.json().get("maintenance_message")))

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        eventually(2 * SOON, lambda: len(server.workers()) == WORKERS and victim not in server.workers())
        eventually(2 * SOON, lambda: len(execute(shared_url, LISTENERS)) == WORKERS)
        stopping.set()
        for each in loads:
            each.result()
    assert seen == {(200, "known")}
    assert_fresh_soon(server, shared_url, "all know")


def test_reads_and_checks_send_no_statement(server: Server, cluster: Cluster, shared_url: str) -> None:
    """Counted in the server's own log, with everything logged that the workers' pools send."""
    execute(
        shared_url,
        "ALTER SYSTEM SET log_line_prefix = '[%a] '",
        "ALTER SYSTEM SET log_statement = 'all'",
        "SELECT pg_reload_conf()",
    )
    try:
        # A write shows that the log counts: its statements are there before the reads begin.
        eventually(SOON, lambda: server.patch(maintenance_message=secrets.token_hex(4)) and statements(cluster) > 0)
        text = execute(shared_url, "SELECT maintenance_message FROM system_settings")[0][0]
        eventually(SOON, lambda: all_say(server, text))
        time.sleep(0.2)  # a write's notification may still be read
        before = statements(cluster)
        with requests.Session() as session:
            for _ in range(100):
                for path in ("/", "/gate", "/api/v1/settings", "/api/v1/maintenance"):
                    assert session.get(server.url + path).status_code == 200
        assert statements(cluster) == before
    finally:
        execute(shared_url, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")


def statements(cluster: Cluster) -> int:
    """How many statements came through pools, but those that keep a connection warm."""
    return len(re.findall(r"^\[dop_be\] (?!.*; SELECT 1 AS anon_1$)", cluster.log.read_text(), re.MULTILINE))


# Starting and ending


def test_every_worker_listens_from_its_start_and_leaves_nothing(postgresql_url: str) -> None:
    with gunicorn(postgresql_url, workers=WORKERS) as server:
        eventually(2 * SOON, lambda: len(execute(postgresql_url, LISTENERS)) == WORKERS)
        assert threads(server.pid) == 1
        execute(postgresql_url, RECORD_CHANGE.format("heard"))
        eventually(SOON, lambda: all_say(server, "heard"))
        assert server.stop() == 0
        assert execute(postgresql_url, OWN) == []
        assert "Traceback" not in server.log()


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.parametrize("arguments", [(), ("--debug",)], ids=["plain", "debug with reloader"])
def test_the_development_server_listens_from_the_first_request(postgresql_url: str, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments, "run", "--port", "$PORT"]
    with serving(command, DATABASE_URL=postgresql_url) as server:
        assert execute(postgresql_url, OWN) == []
        assert message(server) is None
        assert len(execute(postgresql_url, LISTENERS)) == 1
        execute(postgresql_url, RECORD_CHANGE.format("heard"))
        eventually(SOON, lambda: message(server) == "heard")


def test_neither_an_import_nor_a_command_starts_a_thread(postgresql_url: str) -> None:
    script = (
        "import threading; from wsgi import app; print(threading.active_count());"
        "app.test_cli_runner().invoke(args=['maintenance', 'on']); print(threading.active_count())"
    )
    done = processes.run(["python", "-c", script], env=processes.environment(DATABASE_URL=postgresql_url))
    assert done.stdout.split() == ["1", "1"]


def test_workers_end_soon_during_an_outage(cluster: Cluster, breakable_url: str) -> None:
    """Nothing in the watcher holds a platform's stop up, though the database answers no more."""
    with gunicorn(breakable_url, workers=WORKERS) as server:
        cluster.freeze()
        time.sleep(2.5)
        clock = Clock()
        assert server.stop() == 0
        assert clock.stop() < SOON
        assert "Traceback" not in server.log()


def test_an_application_that_cannot_load_ends_the_start_with_its_own_error(postgresql_url: str) -> None:
    command = ["gunicorn", "--bind", "127.0.0.1:0", "no_such_module:app"]
    environment = processes.environment(DATABASE_URL=postgresql_url, WEB_CONCURRENCY="1")
    done = processes.run(command, env=environment, check=False)
    assert done.returncode == 1
    assert "no_such_module" in done.stderr
    assert "worker_exit" not in done.stderr


def test_a_cold_start_without_a_database_recovers(breakable_url: str, cluster: Cluster) -> None:
    cluster.stop()
    with gunicorn(breakable_url, workers=WORKERS) as server:
        assert server.get("/livez").status_code == 200
        assert server.get("/readyz").status_code == 503
        for path in ("/", "/gate", "/api/v1/settings", "/api/v1/maintenance"):
            assert (server.get(path).status_code, server.get(path).json()["code"]) == (503, "state_unknown")
        told = "the database does not answer, and no state is known yet"
        eventually(2 * SOON, lambda: server.log().count(told) == WORKERS)
        cluster.start()
        eventually(SOON, lambda: all(server.get(path).status_code == 200 for path in ("/readyz", "/", "/gate") * 4))
        assert server.log().count(told) == WORKERS
        assert "lost the database" not in server.log()


# Others between or beneath


def test_a_transaction_pooler_between_is_polled_through_and_told_once(postgresql_url: str) -> None:
    with pgbouncer(postgresql_url) as pooled, gunicorn(pooled, workers=WORKERS) as server:
        execute(postgresql_url, RECORD_CHANGE.format("by sql"))
        eventually(SOON, lambda: all_say(server, "by sql"))
        assert server.patch(maintenance_message="by api").status_code == 200
        eventually(SOON, lambda: all_say(server, "by api"))
        eventually(SOON, lambda: server.log().count("LISTEN does not work") == WORKERS)


def test_four_workers_on_one_file_agree(sqlite_url: str) -> None:
    with gunicorn(sqlite_url, workers=4) as server:
        for number in range(5):
            assert server.patch(maintenance_message=f"number {number}").status_code == 200
            eventually(SOON, lambda text=f"number {number}": all_say(server, text))
        assert server.stop() == 0
        assert "Traceback" not in server.log()
