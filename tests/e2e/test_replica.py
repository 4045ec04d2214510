"""A replica as DATABASE_URL: reads and the gate work, writes are refused and told why, what is old counts as old."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .. import processes
from ..conftest import ADMIN
from ..postgres import execute
from ..replication import timeline
from .failover import (
    DATABASE,
    GATE,
    PATIENCE,
    READY,
    SETTINGS,
    Pair,
    Succession,
    listeners,
    ready,
    wait_until_followed,
)
from .servers import Server, eventually, gunicorn

WORKERS = 2
SOON = 5.0  # seconds
STALE = 3.0  # seconds


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    succession = Succession()
    try:
        with succession.pair(synchronous=False) as pair:
            yield pair
    finally:
        succession.remove()


@pytest.fixture(scope="module")
def shared_server(pair: Pair) -> Iterator[Server]:
    with gunicorn(pair.replica.url(DATABASE), workers=WORKERS) as server:
        yield server


@pytest.fixture
def server(shared_server: Server, pair: Pair) -> Server:
    """Workers that are as fresh as the replica."""
    pair.replica.resume_replay()
    change(pair, "at first")
    eventually(PATIENCE, lambda: all_say(shared_server, "at first"))
    return shared_server


def change(pair: Pair, message: str) -> None:
    """Change the settings on the primary."""
    execute(pair.primary.url(DATABASE), f"UPDATE system_settings SET maintenance_message = '{message}'")


def all_say(server: Server, message: str) -> bool:
    return all(server.get(SETTINGS).json().get("maintenance_message") == message for _ in range(4 * WORKERS))


def test_reads_and_the_gate_work_and_changes_are_seen(server: Server, pair: Pair) -> None:
    change(pair, "on the primary")
    eventually(SOON, lambda: all_say(server, "on the primary"))
    assert {server.get(path).status_code for path in (SETTINGS, GATE, "/", "/api/v1/maintenance")} == {200}
    switch = "UPDATE system_settings SET is_maintain = {}"
    execute(pair.primary.url(DATABASE), switch.format("true"))
    eventually(SOON, lambda: {server.get(GATE).status_code for _ in range(4 * WORKERS)} == {503})
    execute(pair.primary.url(DATABASE), switch.format("false"))
    eventually(SOON, lambda: {server.get(GATE).status_code for _ in range(4 * WORKERS)} == {200})


def soon(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", SETTINGS, {"maintenance_message": "refused"}),
        ("PUT", "/api/v1/maintenance", {"active": True}),
        (
            "POST",
            "/api/v1/maintenance/windows",
            {"starts_at": soon(1), "ends_at": soon(2)},
        ),
    ],
    ids=["settings", "maintenance", "windows"],
)
def test_a_write_is_refused_and_told_why(
    server: Server, pair: Pair, method: str, path: str, body: dict[str, object]
) -> None:
    answer = server.request(method, path, json=body, headers={**ADMIN, "If-Match": "*"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (503, "database_read_only")
    assert "read-only" in problem["detail"]
    assert "replica" in problem["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert all_say(server, "at first")


def test_readyz_tells_whoever_may_read_that_it_is_a_replica(server: Server, pair: Pair) -> None:
    for _ in range(4 * WORKERS):
        answer = server.get(READY, headers=ADMIN)
        database = answer.json()["database"]
        assert answer.status_code == 200
        assert database["address"] == f"127.0.0.1:{pair.replica.port}"
        assert (database["role"], database["timeline"]) == ("replica", timeline(pair.primary))
        assert 0 <= database["lag_seconds"] < STALE
        assert "database" not in server.get(READY).json()
    said = f"the database is 127.0.0.1:{pair.replica.port}, replica, timeline {timeline(pair.primary)}"
    assert server.log().count(said) == WORKERS


def test_what_is_not_replayed_makes_the_state_old_until_it_is(server: Server, pair: Pair) -> None:
    pair.replica.pause_replay()
    began = time.monotonic()
    while time.monotonic() - began < STALE + 1:  # the primary moves on
        change(pair, f"number {time.monotonic()}")
        time.sleep(0.2)
    eventually(PATIENCE, lambda: all(tells_lag(ready(server)) for _ in range(4 * WORKERS)))
    assert server.get(READY).status_code == 200
    change(pair, "the last")
    pair.replica.resume_replay()
    eventually(SOON, lambda: all_say(server, "the last"))
    eventually(SOON, lambda: all(is_fresh(ready(server)) for _ in range(4 * WORKERS)))


def ages(said: dict[str, Any]) -> tuple[float, float, bool]:
    """The age of the state, how far the replica is behind, and whether a note tells of that."""
    noted = any("replica" in note and re.search(r"behind|lag|old", note) for note in said["notes"])
    return said["state_age"], said["database"]["lag_seconds"], noted


def tells_lag(said: dict[str, Any]) -> bool:
    age, lag, noted = ages(said)
    return age > STALE and lag > STALE and noted


def is_fresh(said: dict[str, Any]) -> bool:
    age, lag, noted = ages(said)
    return age < STALE and lag < STALE and not noted


def test_a_primary_that_does_nothing_makes_nothing_old(server: Server, pair: Pair) -> None:
    pair.replica.wait_for_replay()
    time.sleep(STALE + 1)
    assert all(is_fresh(ready(server)) for _ in range(4 * WORKERS))


def test_a_command_says_in_one_line_that_it_is_read_only(pair: Pair) -> None:
    environment = processes.environment(DATABASE_URL=pair.replica.url(DATABASE))
    done = processes.run(["flask", "--app", "wsgi", "maintenance", "on"], env=environment, check=False)
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line and not line.startswith("{")]  # the log is beside it
    assert "read-only" in line
    done = processes.run(["flask", "--app", "wsgi", "maintenance", "status"], env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, "maintenance is off\n")


def test_a_listener_on_the_primary_serves_the_replica(pair: Pair) -> None:
    """A notification may come before the replica has replayed what it is about."""
    primary = pair.primary.url(DATABASE)
    with gunicorn(pair.replica.url(DATABASE), workers=WORKERS, LISTEN_DATABASE_URL=primary) as server:
        wait_until_followed(server, pair.primary)
        for number in range(10):
            change(pair, f"heard {number}")
            eventually(SOON, lambda text=f"heard {number}": all_say(server, text))
        assert server.patch(maintenance_message="refused").json()["code"] == "database_read_only"
        assert listeners(pair.primary) == WORKERS
