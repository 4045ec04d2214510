"""The live state of one process: which reading wins, what an outage does, and that nothing is left behind."""

from __future__ import annotations

import logging
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import event
from sqlalchemy.engine import make_url

from dop_be.extensions import db
from dop_be.live import Live
from dop_be.live.loader import Reading

from ..clock import Clock
from ..conftest import ADMIN, configuration
from ..e2e.servers import eventually
from ..postgres import Cluster, connections_used_up, execute
from ..shared import snapshot_of

pytestmark = pytest.mark.limits
SOON = 5.0  # seconds: fresh this soon after the database's return
NO_REVISION = "000000000000"
CONNECTIONS = (
    "SELECT application_name FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'dop_be%'"
)

# The connection that is kept open for writes, once it has been used.
WARM = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE application_name = 'dop_be' AND datname = current_database() AND state = 'idle' AND query <> ''"
)
Sql = Callable[..., list[dict[str, Any]]]


def watchers() -> int:
    return sum(thread.name == "dop_be watcher" for thread in threading.enumerate())


def set_message(client: FlaskClient, message: str) -> int:
    headers = {**ADMIN, "If-Match": "*"}
    return client.patch("/api/v1/settings", json={"maintenance_message": message}, headers=headers).status_code


def message(app: Flask) -> str | None:
    body: dict[str, Any] = app.test_client().get("/api/v1/settings").get_json()
    text: str | None = body["maintenance_message"]
    return text


def problem_code(app: Flask, path: str) -> tuple[int, str | None]:
    response = app.test_client().get(path)
    return response.status_code, response.get_json().get("code")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The live state's log lines, up to the first comma; not which server it is."""
    records = [record for record in caplog.records if record.name == "dop_be.live.state"]
    return [(record.levelname, record.getMessage().partition(",")[0]) for record in records]


def notes(app: Flask) -> tuple[int, str]:
    response = app.test_client().get("/readyz")
    return response.status_code, " ".join(response.get_json()["notes"])


@pytest.fixture
def watched(make_app: Callable[..., Flask], database_url: str) -> Flask:
    app = make_app(database_url)
    app.extensions["live"].start()
    return app


@pytest.fixture
def breakable(make_app: Callable[..., Flask], breakable_url: str) -> Flask:
    app = make_app(breakable_url)
    app.extensions["live"].start()
    return app


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


# Outages


def test_an_outage_keeps_the_last_state_and_is_told_once(
    breakable: Flask, cluster: Cluster, breakable_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dop_be")
    assert set_message(breakable.test_client(), "before") == 200
    cluster.stop()
    eventually(SOON, lambda: "does not answer" in notes(breakable)[1])
    time.sleep(1.5)  # several tries to reconnect
    assert notes(breakable)[0] == 200
    assert message(breakable) == "before"
    assert breakable.test_client().get("/gate").status_code == 200
    assert breakable.test_client().get("/readyz").get_json()["state_age"] > 1
    cluster.start()
    execute(breakable_url, "UPDATE system_settings SET maintenance_message = 'after'")
    eventually(SOON, lambda: message(breakable) == "after")
    assert notes(breakable) == (200, "")
    expected = [("WARNING", "lost the database"), ("INFO", "the database answers again")]
    eventually(SOON, lambda: told(caplog) == expected)


def test_a_frozen_server_keeps_the_last_state(breakable: Flask, cluster: Cluster, breakable_url: str) -> None:
    assert set_message(breakable.test_client(), "before") == 200
    cluster.freeze()
    eventually(SOON, lambda: "does not answer" in notes(breakable)[1])
    assert message(breakable) == "before"
    cluster.thaw()
    execute(breakable_url, "UPDATE system_settings SET maintenance_message = 'after'")
    eventually(SOON, lambda: message(breakable) == "after")


def test_a_flip_while_the_listener_is_disconnected_is_not_missed(watched: Flask, database_url: str, sql: Sql) -> None:
    if database_url.startswith("postgresql"):
        sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'dop_be%' AND pid <> pg_backend_pid()"
        )
    sql("UPDATE system_settings SET maintenance_message = 'meanwhile'")
    eventually(SOON, lambda: message(watched) == "meanwhile")


def test_changes_are_heard_through_the_pool_while_no_listener_gets_a_connection(
    breakable: Flask, breakable_url: str
) -> None:
    eventually(SOON, lambda: execute(breakable_url, WARM))
    own = psycopg2.connect(breakable_url)
    own.autocommit = True
    with closing(own), own.cursor() as cursor, connections_used_up(breakable_url) as use_up:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%listener'")
        use_up()
        cursor.execute("UPDATE system_settings SET maintenance_message = 'full'")
        eventually(SOON, lambda: message(breakable) == "full")


@pytest.mark.parametrize(
    "statements",
    [["DELETE FROM system_settings"], ["SET session_replication_role = replica", "TRUNCATE system_settings"]],
    ids=["deleted", "truncated around every trigger"],
)
def test_a_missing_row_keeps_the_last_state_and_is_noted(
    make_app: Callable[..., Flask], postgresql_url: str, statements: list[str]
) -> None:
    app = make_app(postgresql_url)
    app.extensions["live"].start()
    assert set_message(app.test_client(), "kept") == 200
    execute(postgresql_url, *statements)
    eventually(SOON, lambda: "missing" in notes(app)[1])
    assert notes(app)[0] == 200
    assert message(app) == "kept"
    execute(postgresql_url, "INSERT INTO system_settings (maintenance_message) VALUES ('again')")
    eventually(SOON, lambda: message(app) == "again")
    assert notes(app) == (200, "")


def test_a_missing_row_is_noted_on_sqlite_too(watched: Flask, database_url: str, sql: Sql) -> None:
    assert set_message(watched.test_client(), "kept") == 200
    sql("DELETE FROM system_settings")
    eventually(SOON, lambda: "missing" in notes(watched)[1])
    assert message(watched) == "kept"


def test_an_upgrade_that_changes_no_row_is_noticed(watched: Flask, sql: Sql) -> None:
    """A worker that was started before the release's migrations becomes ready by itself."""
    [alembic] = sql("SELECT version_num FROM alembic_version")
    sql("UPDATE alembic_version SET version_num = '19176e327d47'")
    eventually(SOON, lambda: problem_code(watched, "/readyz") == (503, "not_ready"))
    sql("UPDATE alembic_version SET version_num = :revision", revision=alembic["version_num"])
    eventually(SOON, lambda: watched.test_client().get("/readyz").status_code == 200)


def test_a_restored_backup_is_taken_though_its_version_is_lower(
    breakable: Flask, cluster: Cluster, breakable_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = make_url(breakable_url).database
    copy = f"CREATE DATABASE {name}_backup TEMPLATE {name}"
    assert set_message(breakable.test_client(), "old") == 200
    breakable.extensions["live"].stop()
    left = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
    execute(cluster.url(), left, copy)  # a template has no sessions, and a server may not have noticed the end of one
    breakable.extensions["live"].start()
    for index in range(3):
        assert set_message(breakable.test_client(), f"new {index}") == 200
    execute(cluster.url(), f"DROP DATABASE {name} WITH (FORCE)", f"ALTER DATABASE {name}_backup RENAME TO {name}")
    eventually(SOON, lambda: message(breakable) == "old")
    assert "went back from version 5 to 2" in caplog.text


def test_a_restored_file_is_taken_though_its_version_is_lower(
    make_app: Callable[..., Flask], sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app, path = make_app(sqlite_url), Path(sqlite_url.removeprefix("sqlite:///"))
    app.extensions["live"].start()
    assert set_message(app.test_client(), "old") == 200
    shutil.copy(path, tmp_path / "backup")
    for index in range(3):
        assert set_message(app.test_client(), f"new {index}") == 200
    (tmp_path / "backup").replace(path)
    eventually(SOON, lambda: message(app) == "old")
    assert "went back from version 5 to 2" in caplog.text
    assert "the newest change of the database is 2, and it was 5 before" in caplog.text
    assert "lost the database" not in caplog.text


def test_a_long_exclusive_lock_on_a_file_keeps_the_last_state(make_app: Callable[..., Flask], sqlite_url: str) -> None:
    app = make_app(sqlite_url)
    app.extensions["live"].start()
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE system_settings SET maintenance_message = 'long'")
        eventually(SOON, lambda: "another process holds a lock on the SQLite file" in notes(app)[1])
        assert message(app) is None
        other.execute("COMMIT")
    eventually(SOON, lambda: message(app) == "long")


def test_a_clock_that_jumps_changes_nothing(watched: Flask, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    for number, jump in enumerate((86_400.0, -86_400.0)):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        sql("UPDATE system_settings SET maintenance_message = :text", text=f"by sql {number}")
        eventually(SOON, lambda text=f"by sql {number}": message(watched) == text)
        assert set_message(watched.test_client(), f"by api {number}") == 200
        assert 0 <= watched.test_client().get("/readyz").get_json()["state_age"] < SOON


# Cold start


def test_a_cold_start_without_a_database_knows_nothing_and_says_so(make_app: Callable[..., Flask]) -> None:
    app = make_app("postgresql://somebody:secret@127.0.0.1:1/none")
    assert app.test_client().get("/livez").status_code == 200
    assert problem_code(app, "/readyz") == (503, "not_ready")
    for path in ("/", "/nowhere", "/gate", "/gate/ask/any", "/api/v1/settings", "/api/v1/maintenance"):
        assert problem_code(app, path) == (503, "state_unknown")
        response = app.test_client().get(path)
        assert int(response.headers["Retry-After"]) > 0
        assert response.headers["Cache-Control"] == "no-store"
    assert set_message(app.test_client(), "x") == 503


@pytest.mark.parametrize("path", ["/", "/gate", "/readyz", "/livez", "/api/v1/settings", "/nowhere"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_no_answer_tells_a_stranger_where_the_database_is(
    make_app: Callable[..., Flask], path: str, accept: str
) -> None:
    response = (
        make_app("postgresql://somebody:secret@127.0.0.1:1/none").test_client().get(path, headers={"Accept": accept})
    )
    for internal in ("somebody", "secret", "127.0.0.1", "psycopg", "port 1", "refused", "/none"):
        assert internal not in response.text


def test_fail_open_opens_the_gate_alone(make_app: Callable[..., Flask]) -> None:
    app = make_app("postgresql://postgres@127.0.0.1:1/none", FAIL_OPEN=True)
    asked = app.test_client().get("/gate?keep=5")
    assert (asked.status_code, asked.headers["Cache-Control"]) == (200, "no-store")
    assert app.test_client().get("/nowhere").status_code == 404
    assert problem_code(app, "/readyz") == (503, "not_ready")
    for path in ("/api/v1/settings", "/api/v1/maintenance"):
        assert problem_code(app, path) == (503, "state_unknown")


def test_a_cold_start_recovers_when_the_database_comes(
    make_app: Callable[..., Flask], breakable_url: str, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dop_be")
    cluster.stop()
    app = make_app(breakable_url)
    assert problem_code(app, "/") == (503, "state_unknown")
    cluster.start()
    eventually(SOON, lambda: app.test_client().get("/").status_code == 200)
    assert app.test_client().get("/readyz").status_code == 200
    expected = [("WARNING", "the database does not answer"), ("INFO", "the database answers again")]
    eventually(SOON, lambda: told(caplog) == expected)


def test_a_cold_start_before_the_migrations_recovers_after_them(
    make_app: Callable[..., Flask], empty_database_url: str
) -> None:
    if empty_database_url.startswith("sqlite"):
        assert not Path(empty_database_url.removeprefix("sqlite:///")).exists()
    app = make_app(empty_database_url)
    assert problem_code(app, "/readyz") == (503, "not_ready")
    assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    eventually(SOON, lambda: app.test_client().get("/readyz").status_code == 200)


def test_a_cold_start_on_a_frozen_server_waits_a_little_and_answers(
    make_app: Callable[..., Flask], breakable_url: str, cluster: Cluster
) -> None:
    cluster.freeze()
    app = make_app(breakable_url)
    clock = Clock()
    assert problem_code(app, "/") == (503, "state_unknown")
    assert problem_code(app, "/") == (503, "state_unknown")
    assert clock.stop() < SOON
    cluster.thaw()
    eventually(SOON, lambda: app.test_client().get("/").status_code == 200)


def test_no_statement_is_sent_by_reads_and_checks(make_app: Callable[..., Flask], database_url: str) -> None:
    app = make_app(database_url)
    assert app.extensions["live"].refresh()
    statements: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    for path in ("/", "/nowhere", "/gate", "/api/v1/settings", "/api/v1/maintenance", "/livez", "/readyz"):
        assert app.test_client().get(path, headers=ADMIN).status_code in {200, 404}
    assert statements == []


def test_a_listener_that_cannot_connect_does_not_keep_a_worker_from_its_state(
    make_app: Callable[..., Flask], postgresql_url: str
) -> None:
    wrong = configuration(postgresql_url).LISTEN_DATABASE_URI.set(port=1)
    app = make_app(postgresql_url, LISTEN_DATABASE_URI=wrong)
    assert message(app) is None
    execute(postgresql_url, "UPDATE system_settings SET maintenance_message = 'polled'")
    eventually(SOON, lambda: message(app) == "polled")
    assert notes(app) == (200, "")
