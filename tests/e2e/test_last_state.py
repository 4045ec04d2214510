"""A service that starts while its database is away answers as it did before."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from dop_be import sentences

from .. import processes
from ..conftest import ADMIN
from ..postgres import Cluster, execute
from .servers import Server, eventually, gunicorn

PATHS = ("/api/v1/settings", "/api/v1/maintenance", "/api/v1/maintenance/windows", "/gate")
Start = Callable[..., AbstractContextManager[Server]]


class Before(NamedTuple):
    """What was answered while the database was there, and the tokens that the state knows."""

    answers: dict[str, Any]
    token: str
    bypass: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def start(breakable_url: str, path: Path) -> Start:
    return partial(gunicorn, breakable_url, workers=2, STATE_FILE=str(path))


def flask(url: str, *words: str) -> str:
    return processes.run(["flask", "--app", "wsgi", *words], env=processes.environment(DATABASE_URL=url)).stdout


def answers(server: Server) -> dict[str, Any]:
    """What anyone is told, but for how long to wait."""
    found = {path: server.get(path) for path in PATHS}
    return {path: (answer.status_code, answer.headers.get("ETag"), answer.text) for path, answer in found.items()}


@pytest.fixture
def before(start: Start, breakable_url: str, path: Path, cluster: Cluster) -> Before:
    """The state of a platform in maintenance, whose database and service were then killed."""
    token = flask(breakable_url, "tokens", "create", "reader", "--scope", "settings:read").strip()
    bypass = re.search(r"Bypass: (\S+)", flask(breakable_url, "maintenance", "bypass", "create", "ada"))
    assert bypass
    with start() as server:
        window = {"starts_at": in_seconds(3600), "ends_at": in_seconds(7200), "message": "planned"}
        server.request("POST", "/api/v1/maintenance/windows", json=window, headers=ADMIN).raise_for_status()
        switch = {"active": True, "message": "we are in maintenance"}
        server.request("PUT", "/api/v1/maintenance", json=switch, headers=ADMIN).raise_for_status()
        eventually(5, lambda: path.exists() and "we are in maintenance" in path.read_text())
        found = Before(answers(server), token, bypass[1])
        cluster.kill()
        kill(server)
    return found


def in_seconds(number: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=number)).isoformat()


def kill(server: Server) -> None:
    """End the master and all workers as a crashed machine would."""
    for process in [server.pid, *server.workers()]:
        with suppress(ProcessLookupError):  # a worker ends when it has no master
            os.kill(process, signal.SIGKILL)


def assert_as_before(server: Server, before: Before) -> None:
    assert answers(server) == before.answers
    assert before.answers["/gate"][0] == 503
    assert server.get("/gate", headers={"X-Maintenance-Bypass": before.bypass}).status_code == 200
    private = server.get("/api/v1/settings", headers={"Authorization": f"Bearer {before.token}"})
    assert private.status_code == 200
    assert private.json().keys() > json.loads(before.answers["/api/v1/settings"][2]).keys()
    refused = server.patch(maintenance_message="lost")
    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")


def test_everything_killed_and_started_again_answers_as_before(
    start: Start, before: Before, cluster: Cluster, breakable_url: str
) -> None:
    with start() as server:
        assert_as_before(server, before)
        ready = server.get("/readyz")
        assert (ready.status_code, ready.json()["source"]) == (200, "last_state")
        *told, announced = ready.json()["notes"]
        assert announced.startswith("a maintenance is announced for ")
        assert told == [
            "the state comes from STATE_FILE: since the start the database has not given one",
            f"t{sentences.NOTHING_LISTENS[1:-1]}; the last known state is served",
        ]
        [worker, _] = server.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(10, lambda: len(server.workers()) == 2 and worker not in server.workers())
        for _ in range(20):
            assert answers(server) == before.answers
        cluster.start()
        eventually(10, lambda: all_from(server, "database"))
        assert answers(server) == before.answers
        flask(breakable_url, "maintenance", "off")
        eventually(5, lambda: {server.get("/gate").status_code for _ in range(12)} == {200})


def all_from(server: Server, source: str) -> bool:
    return {server.get("/readyz").json()["source"] for _ in range(12)} == {source}


def test_a_frozen_database_is_given_two_seconds(start: Start, before: Before, cluster: Cluster) -> None:
    cluster.start()
    cluster.freeze()
    with start() as server:
        assert_as_before(server, before)
    cluster.thaw()


def test_the_age_is_counted_on_over_restarts(start: Start, before: Before) -> None:
    ages = []
    for _ in range(2):
        with start() as server:
            ages.append(server.get("/readyz").json()["state_age"])
            time.sleep(1)
            kill(server)
    assert 0 <= ages[0] < ages[0] + 1 <= ages[1] < 300


def test_windows_go_on_opening_and_closing(start: Start, breakable_url: str, path: Path, cluster: Cluster) -> None:
    begins = time.time() + 12
    window = {
        name: datetime.fromtimestamp(begins + at, UTC).isoformat() for name, at in (("starts_at", 0), ("ends_at", 2))
    }
    with start() as server:
        server.request("POST", "/api/v1/maintenance/windows", json=window, headers=ADMIN).raise_for_status()
        eventually(5, lambda: path.exists() and window["starts_at"][:19] in path.read_text())
        cluster.kill()
        kill(server)
    with start() as server:
        assert server.get("/readyz").json()["source"] == "last_state"
        seen = set()
        while time.time() < begins + 4:
            asked, status, answered = time.time(), server.get("/gate").status_code, time.time()
            if answered < begins or asked > begins + 2.1:
                seen.add(("closed", status))
            elif asked > begins + 0.1 and answered < begins + 2:
                seen.add(("open", status))
    assert seen == {("closed", 200), ("open", 503)}


def test_an_old_state_is_as_if_never_seen(start: Start, before: Before) -> None:
    not_used = r"the last state \S+ is not used, since it was last confirmed \d+ s ago"
    with start(STATE_MAX_AGE="20") as server:
        eventually(60, lambda: {server.get("/gate").json()["code"] for _ in range(12)} == {"state_unknown"})
        assert server.get("/readyz").status_code == 503
        expired = "the last state is older than STATE_MAX_AGE and no longer in force" in server.log()
        assert expired or re.search(not_used, server.log())  # the latter where the machine took so long to start it
    with start(STATE_MAX_AGE="20") as server:
        assert server.get("/gate").json()["code"] == "state_unknown"
        eventually(5, lambda: re.search(not_used, server.log()))


def test_a_file_that_is_not_to_be_believed_is_told_in_one_line(start: Start, before: Before, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with start() as server:
        assert server.get("/gate").json()["code"] == "state_unknown"
        eventually(5, lambda: f"the last state {path} is not used, since it is damaged" in server.log())
        assert "Traceback" not in server.log()


def test_a_token_that_was_revoked_meanwhile_reads_until_the_database_is_back(
    start: Start, before: Before, cluster: Cluster, breakable_url: str, path: Path
) -> None:
    cluster.start()
    flask(breakable_url, "tokens", "revoke", "reader")
    cluster.stop()
    with start() as server:
        asked = partial(server.get, "/api/v1/settings", headers={"Authorization": f"Bearer {before.token}"})
        assert asked().status_code == 200
        cluster.start()
        eventually(10, lambda: all_from(server, "database"))
        assert asked().status_code == 401
        eventually(5, lambda: before.token.split("_")[1] not in path.read_text())


def test_a_database_from_before_is_followed_and_told(
    start: Start, before: Before, cluster: Cluster, breakable_url: str, path: Path
) -> None:
    """An older backup was restored meanwhile."""
    cluster.start()
    execute(breakable_url, "SET session_replication_role = replica; UPDATE live_state SET version = 1")
    execute(breakable_url, "SET session_replication_role = replica; UPDATE system_settings SET is_maintain = false")
    cluster.stop()
    with start() as server:
        assert_as_before(server, before)
        cluster.start()
        eventually(10, lambda: {server.get("/gate").status_code for _ in range(12)} == {200})
        assert re.search(r"the database went back from version \d+ to \d", server.log())
        eventually(40, lambda: re.search(r"went back from version \d+, which the last state had, to \d", server.log()))
        eventually(20, lambda: '"is_maintain": false' in path.read_text())


def test_two_instances_on_one_machine_do_not_disturb_each_other(start: Start, path: Path, cluster: Cluster) -> None:
    with start() as one, start() as other:
        for number in range(20):
            server = one if number % 2 else other
            server.request("PUT", "/api/v1/maintenance", json={"active": number % 2 == 0}, headers=ADMIN)
        server.request("PUT", "/api/v1/maintenance", json={"active": True, "message": "last"}, headers=ADMIN)
        eventually(5, lambda: path.exists() and '"last"' in path.read_text())
        cluster.kill()
        kill(one)
        kill(other)
        assert not re.search(r'the last state .*"level": "warning"', one.log() + other.log())
    assert [left.name for left in path.parent.iterdir() if left.name.startswith(path.name)] == [path.name]
    with start() as one, start() as other:
        for server in (one, other):
            assert server.get("/api/v1/maintenance").json()["message"] == "last"


def test_by_default_it_lies_beside_the_sqlite_file(breakable_url: str, tmp_path: Path) -> None:
    copy = processes.copy_project(tmp_path / "dop_be")
    with gunicorn(breakable_url, cwd=copy, STATE_FILE=""):
        [found] = eventually_found(copy / "instance")
    assert re.fullmatch(r"state-[0-9a-f]{16}\.json", found.name)
    assert found.stat().st_mode & 0o777 == 0o600


def eventually_found(folder: Path) -> list[Path]:
    eventually(5, lambda: list(folder.glob("state-*.json")))
    return list(folder.glob("state-*.json"))


@pytest.mark.soak
def test_ten_minutes_without_a_database(start: Start, before: Before) -> None:
    """500 questions a second, and a worker killed every 20 s."""
    with start() as server, ThreadPoolExecutor(4) as pool:
        ends = time.monotonic() + 600
        asked = [pool.submit(ask_until, server, ends, 125) for _ in range(4)]
        while time.monotonic() < ends:
            time.sleep(20)
            os.kill(server.workers()[0], signal.SIGKILL)
        counts = [each.result() for each in asked]
    assert sum(sum(count.values()) for count in counts) > 200_000
    assert {answer for count in counts for answer in count} == {(503, before.answers["/gate"][2])}


def ask_until(server: Server, ends: float, each_second: int) -> dict[tuple[int, str], int]:
    """Ask the gate so often; how often each answer came. A connection that a killed worker held is opened anew."""
    count: dict[tuple[int, str], int] = {}
    session = requests.Session()
    following = time.monotonic()
    while following < ends:
        time.sleep(max(0.0, following - time.monotonic()))
        following += 1 / each_second
        try:
            answer = session.get(f"{server.url}/gate", timeout=10)
        except requests.ConnectionError:
            continue
        key = answer.status_code, answer.text
        count[key] = count.get(key, 0) + 1
    return count
