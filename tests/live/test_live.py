"""The live state of one process: which reading wins, and that nothing is left behind."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import event

from dop_be.extensions import db
from dop_be.live import Live
from dop_be.live.loader import Reading

from ..clock import Clock
from ..conftest import ADMIN
from ..e2e.servers import eventually
from ..postgres import Cluster, execute
from ..shared import snapshot_of
from .answers import SOON, WARM, message, set_message

pytestmark = pytest.mark.limits
NO_REVISION = "000000000000"
CONNECTIONS = (
    "SELECT application_name FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'dop_be%'"
)
Sql = Callable[..., list[dict[str, Any]]]


def watchers() -> int:
    return sum(thread.name == "dop_be watcher" for thread in threading.enumerate())


# Which reading wins


def reading_of(live: Live, version: int) -> Reading:
    snapshot = snapshot_of(live)
    return Reading(NO_REVISION, replace(snapshot, mark=replace(snapshot.mark, version=version)))


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [(7, 6, 7), (6, 7, 7), (7, 7, 7)],
    ids=["the late one is older", "the late one is newer", "both are the same"],
)
def test_of_two_readings_at_once_the_newer_wins(live: Live, first: int, second: int, winner: int) -> None:
    early, late = live.begin(), live.begin()
    live.take(reading_of(live, first), late)
    live.take(reading_of(live, second), early)
    assert snapshot_of(live).version == winner


def test_a_reading_that_began_after_the_last_swap_wins_though_its_version_is_lower(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.take(reading_of(live, 7), live.begin())
    live.take(reading_of(live, 3), live.begin())
    assert snapshot_of(live).version == 3
    assert "went back from version 7 to 3" in caplog.text


def test_an_old_reading_loses_under_threads(live: Live) -> None:
    """A database that only grows is read by many threads, each held up for a while: no thread sees it go back."""
    database = reading_of(live, 1)
    seen: list[int] = []
    until = time.monotonic() + 1.0

    def read_and_take(seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < until:
            began, found = live.begin(), database
            time.sleep(chance.random() / 500)
            live.take(found, began)

    def write_and_watch() -> None:
        nonlocal database
        last = 0
        while time.monotonic() < until:
            database = reading_of(live, (database.snapshot.version if database.snapshot else 0) + 1)
            last, before = snapshot_of(live).version, last
            seen.append(last - before)

    with ThreadPoolExecutor(9) as pool:
        pending = [pool.submit(read_and_take, seed) for seed in range(8)] + [pool.submit(write_and_watch)]
    for each in pending:
        each.result()
    assert min(seen) >= 0
    assert sum(seen) > 0


# Writes


def test_a_write_is_served_at_once(app: Flask, client: FlaskClient) -> None:
    """There is no watcher here that could bring it."""
    for index in range(5):
        assert set_message(client, str(index)) == 200
        assert message(app) == str(index)


@pytest.mark.limits(unhurried=True)
def test_concurrent_writes_end_in_the_last_state(app: Flask, live: Live, sql: Sql) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda index: set_message(app.test_client(), str(index)), range(24)))
    assert set(answers) == {200}
    assert (
        snapshot_of(live).settings["maintenance_message"]
        == sql("SELECT * FROM system_settings")[0]["maintenance_message"]
    )
    assert snapshot_of(live).version == sql("SELECT version FROM live_state")[0]["version"]


def test_a_refused_write_changes_no_state(app: Flask, client: FlaskClient, live: Live) -> None:
    before = live.snapshot
    headers = {**ADMIN, "If-Match": '"99"'}
    assert client.patch("/api/v1/settings", json={"is_maintain": True}, headers=headers).status_code == 412
    assert live.snapshot is before


def test_a_server_that_freezes_right_after_the_commit_takes_nothing_from_the_writer(
    breakable: Flask, cluster: Cluster, breakable_url: str
) -> None:
    """What was answered with 200 is served at once: nothing has to be asked after the commit."""
    engine = breakable.extensions["live"].engine
    eventually(SOON, lambda: execute(breakable_url, WARM))  # else the freeze would come before the write
    event.listen(engine, "checkin", lambda *_: cluster.freeze(), once=True)
    clock = Clock()
    assert set_message(breakable.test_client(), "committed") == 200
    assert clock.stop() < 2
    assert message(breakable) == "committed"
    cluster.thaw()
    assert execute(breakable_url, "SELECT maintenance_message FROM system_settings") == [("committed",)]


def test_a_process_whose_first_request_is_a_write_still_hears_of_later_changes(
    make_app: Callable[..., Flask], database_url: str, sql: Sql
) -> None:
    app = make_app(database_url)
    assert set_message(app.test_client(), "mine") == 200
    assert message(app) == "mine"
    sql("UPDATE system_settings SET maintenance_message = 'theirs'")
    eventually(SOON, lambda: message(app) == "theirs")


# Starting and stopping


def test_the_watcher_starts_with_the_first_request_that_needs_it(
    make_app: Callable[..., Flask], database_url: str
) -> None:
    app, before = make_app(database_url), watchers()
    assert app.test_client().get("/livez").status_code == 200
    assert watchers() == before
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: app.test_client().get("/").status_code, range(16))) == {200}
    assert watchers() == before + 1


def test_no_command_starts_it(make_app: Callable[..., Flask], database_url: str) -> None:
    before = watchers()
    runner: FlaskCliRunner = make_app(database_url).test_cli_runner()
    for command in ("maintenance on", "maintenance status", "settings set maintenance_message=x", "maintenance off"):
        assert runner.invoke(args=command.split()).exit_code in {0, 1}
    assert watchers() == before


def test_it_stops_without_a_trace(watched: Flask, database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    watched.extensions["live"].stop()
    assert clock.stop() < 1
    assert watchers() == 0
    if database_url.startswith("postgresql"):
        eventually(SOON, lambda: not execute(database_url, CONNECTIONS))
    assert caplog.records == []
    watched.extensions["live"].stop()


def test_it_stops_at_once_while_the_server_is_frozen(breakable: Flask, cluster: Cluster) -> None:
    cluster.freeze()
    time.sleep(2.5)  # the watcher waits for an answer by now
    clock = Clock()
    breakable.extensions["live"].stop()
    assert clock.stop() < 1
    assert watchers() == 0


def test_no_statement_is_sent_by_reads_and_checks(make_app: Callable[..., Flask], database_url: str) -> None:
    app = make_app(database_url)
    assert app.extensions["live"].refresh()
    statements: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    for path in ("/", "/nowhere", "/gate", "/api/v1/settings", "/api/v1/maintenance", "/livez", "/readyz"):
        assert app.test_client().get(path, headers=ADMIN).status_code in {200, 404}
    assert statements == []
