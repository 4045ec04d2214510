"""What an outage does to the live state, and what comes back after it."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from sqlalchemy.engine import make_url

from ..e2e.servers import eventually
from ..postgres import Cluster, connections_used_up, execute
from .answers import SOON, WARM, message, notes, problem_code, set_message, told

pytestmark = pytest.mark.limits
Sql = Callable[..., list[dict[str, Any]]]


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
