"""A database far away, over TLS and with SCRAM: workers become ready, writes and commands answer, flips arrive."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from statistics import median
from typing import Any

import pytest

from .. import processes
from ..clock import Clock
from ..conftest import ADMIN, migrate
from ..far import Proxy, proxied
from ..postgres import execute
from ..secured import SecuredCluster
from ..wire import Trip
from .servers import Server, eventually, gunicorn
from .workers import ask, connections

ROUND_TRIP = 0.2  # seconds
SHORTER = 0.05  # where round trips are counted: far enough that what is sent together is seen together
WORKERS = 2
READY = 30.0  # seconds, for a machine that is busy
SOON = 5.0  # seconds until every worker has seen a flip
WRITE = 2.0 + 10 * ROUND_TRIP  # seconds for a write, whatever happens; `Clock` stands still while the machine is busy
CONNECT = 5.0  # seconds that a command gives the host (DATABASE_CONNECT_TIMEOUT)
START = 5.0  # seconds until a command's own code runs
MOST = 4  # round trips of a warm write
ROUNDS = 3
FAULT = re.compile(r'.*(?:"level": "(?:error|critical)"|\[(?:ERROR|CRITICAL)\]|Traceback).*')


@pytest.fixture(scope="module")
def cluster() -> Iterator[SecuredCluster]:
    secured = SecuredCluster(max_connections="40")
    try:
        secured.start()
        migrate(secured.create("distance"))
        yield secured
    finally:
        secured.remove()


@pytest.fixture
def own(cluster: SecuredCluster, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """The URL of a migrated database of this test's own, over TLS or without."""
    cluster.create("own", template="distance")
    yield lambda sslmode="require": cluster.secured_url("own", sslmode)
    execute(cluster.url(), "DROP DATABASE own WITH (FORCE)")


@pytest.fixture(scope="module")
def shared(cluster: SecuredCluster) -> Iterator[Server]:
    """Two workers a long way from their database."""
    url = cluster.create("shared", template="distance")
    with proxied(url, ROUND_TRIP) as proxy, gunicorn(proxy.url, workers=WORKERS) as server:
        wait_until_ready(server)
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """The same, which log no error until the test has ended, from their start."""
    yield shared
    assert FAULT.findall(shared.log()) == []


def wait_until_ready(server: Server) -> None:
    eventually(READY, lambda: server.get("/readyz").status_code == 200, pause=0.5)


def put(server: Server, **body: Any) -> Any:
    return server.request("PUT", "/api/v1/maintenance", json=body, headers=ADMIN)


def maintenance(url: str, word: str) -> tuple[int, str]:
    """The exit code of `flask maintenance …`, and what it says on stderr."""
    environment = processes.environment(DATABASE_URL=url)
    done = processes.run(["flask", "--app", "wsgi", "maintenance", word], env=environment, check=False)
    return done.returncode, done.stderr


def test_every_worker_is_ready(server: Server) -> None:
    with of_each_worker(server) as workers:
        assert [ask(each, "/readyz").status for each in workers] == [200] * WORKERS


def test_writes_answer(server: Server) -> None:
    for active in (True, False):
        answer = put(server, active=active)
        assert (answer.status_code, answer.json()["active"]) == (200, active)
    answer = server.patch(maintenance_message="far")
    assert (answer.status_code, answer.json()["maintenance_message"]) == (200, "far")


def test_a_flip_by_sql_is_seen_by_every_worker(server: Server, cluster: SecuredCluster) -> None:
    with of_each_worker(server) as workers:
        for flipped in (True, False):
            execute(cluster.url("shared"), f"UPDATE system_settings SET is_maintain = {flipped}")
            eventually(SOON, lambda flipped=flipped: [is_active(each) for each in workers] == [flipped] * WORKERS)


@contextmanager
def of_each_worker(server: Server) -> Iterator[list[HTTPConnection]]:
    with ExitStack() as stack:
        found = connections(server.port, server.workers()).values()
        yield [stack.enter_context(closing(each)) for each in found]


def is_active(connection: HTTPConnection) -> bool:
    found: bool = json.loads(ask(connection, "/api/v1/maintenance").body)["active"]
    return found


def test_commands_work(own: Callable[..., str]) -> None:
    with proxied(own(), ROUND_TRIP) as proxy:
        done = [maintenance(proxy.url, word) for word in ("on", "status", "off", "status")]
    assert [code for code, _ in done] == [0, 1, 0, 0], done


def test_writes_against_a_frozen_server_answer_in_time_and_work_again(own: Callable[..., str]) -> None:
    """The first one over a connection that was good, the next ones over none, also when the watcher has noticed."""
    with proxied(own(), ROUND_TRIP) as proxy, gunicorn(proxy.url) as server:
        wait_until_ready(server)
        assert server.patch(maintenance_message="before").status_code == 200
        proxy.freeze()
        for _ in range(3):
            assert_refused_in_time(server)
        proxy.thaw()
        eventually(READY, lambda: server.patch(maintenance_message="after").status_code == 200, pause=0.5)
        assert server.get("/api/v1/settings").json()["maintenance_message"] == "after"


def assert_refused_in_time(server: Server) -> None:
    clock = Clock()
    answer = server.patch(maintenance_message="refused")
    assert clock.stop() < WRITE
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


def test_a_command_against_a_frozen_server_ends_in_time(own: Callable[..., str]) -> None:
    with proxied(own(), ROUND_TRIP) as proxy:
        proxy.freeze()
        clock = Clock()
        code, said = maintenance(proxy.url, "on")
        assert (code, said.count("Error: ")) == (2, 1), said
        assert clock.stop() < START + CONNECT + WRITE


# Round trips, counted on the wire, where nothing is encrypted


def cycle(server: Server, number: int) -> Iterator[tuple[str, Callable[[], int]]]:
    """One of each write, each a change; what it is called, and what sends it and returns the status."""
    windows, starts = "/api/v1/maintenance/windows", datetime.now(UTC) + timedelta(days=1 + number)
    window = {"starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=1)).isoformat()}
    made: list[str] = []

    def post() -> int:
        answer = server.request("POST", windows, json=window, headers=ADMIN)
        made.append(answer.headers.get("Location", windows))
        return answer.status_code

    def patch_revision() -> int:
        etag = server.get("/api/v1/settings", headers=ADMIN).headers["ETag"]
        body, headers = {"maintenance_message": f"one of {number}"}, {**ADMIN, "If-Match": etag}
        return server.request("PATCH", "/api/v1/settings", json=body, headers=headers).status_code

    yield "PUT on", lambda: int(put(server, active=True, message=f"number {number}").status_code)
    yield "PATCH", lambda: server.patch(maintenance_message=f"{number}").status_code
    yield "PATCH of a revision", patch_revision
    yield "PUT off", lambda: int(put(server, active=False).status_code)
    yield "POST of a window", post
    yield "DELETE of a window", lambda: server.request("DELETE", made[0], headers=ADMIN).status_code


WRITES = ["PUT on", "PATCH", "PATCH of a revision", "PUT off", "POST of a window", "DELETE of a window"]


@pytest.fixture(scope="module")
def counted(cluster: SecuredCluster) -> dict[str, list[list[Trip]]]:
    """What each write of one worker asked the database, again and again; the first of each kind was not counted."""
    cluster.create("counted", template="distance")
    found: dict[str, list[list[Trip]]] = {name: [] for name in WRITES}
    with proxied(cluster.secured_url("counted", "disable"), SHORTER) as proxy, gunicorn(proxy.url) as server:
        wait_until_ready(server)
        for number in range(1 + ROUNDS):
            for name, write in cycle(server, number):
                trips, status = count(proxy, write)
                assert status in {200, 201, 204}, (name, status)
                found[name] += [trips] if number else []
    return found


def count(proxy: Proxy, write: Callable[[], int]) -> tuple[list[Trip], int]:
    """The round trips of a write, without those of the watcher's connection; and its status."""
    time.sleep(6 * SHORTER)  # the watcher may still read what the write before has changed
    with proxy.trips() as trips:
        status = write()
    return [trip for trip in trips if not trip.conversation.listens], status


@pytest.mark.parametrize("name", WRITES)
def test_a_warm_write_takes_few_round_trips(counted: dict[str, list[list[Trip]]], name: str) -> None:
    """The median, since the watcher may look at the clock through the same connections meanwhile."""
    numbers = [len(trips) for trips in counted[name]]
    assert min(numbers) > 0
    assert median(numbers) <= MOST, shown(counted[name][-1])


def test_a_command_takes_few_round_trips_once_it_is_connected(own: Callable[..., str]) -> None:
    """Connecting are the startup message and two of SCRAM (RFC 5802); a command needs one connection."""
    with proxied(own("disable"), SHORTER) as proxy:
        for word in ("on", "off"):
            with proxy.trips() as trips:
                code, said = maintenance(proxy.url, word)
            assert code == 0, said
            connecting = [trip for trip in trips if trip.is_connecting]
            assert len(connecting) == 3, shown(connecting)
            assert 0 < len(trips) - len(connecting) <= MOST, shown(trips)


def shown(trips: list[Trip]) -> str:
    return "\n".join(map(str, [f"{len(trips)} round trips", *trips]))
