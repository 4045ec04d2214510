"""Limits: whatever the database does, a write answers within 2 s, and leaves nothing behind."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from dop_be import database, sentences
from dop_be.access import service as tokens
from dop_be.database import Author, reading, writing
from dop_be.deadline import time_limit
from dop_be.errors import DatabaseUnavailable, InvalidInput
from dop_be.extensions import db

from .clock import Clock
from .conftest import ADMIN
from .e2e.servers import eventually
from .failing import held
from .postgres import WAITING, Cluster, connections_used_up, execute

pytestmark = pytest.mark.limits
LIMIT = 2.0  # seconds for a write, whatever happens
BY = Author("test", "cli")


@pytest.fixture
def breakable(make_app: Callable[..., Flask], breakable_url: str) -> Flask:
    """The application on a server that may be broken, with its state read and connections in its pool."""
    app = make_app(breakable_url)
    assert app.extensions["live"].refresh()
    return app


def write(client: FlaskClient, **settings: object) -> TestResponse:
    return client.patch("/api/v1/settings", json=settings or {"is_maintain": True}, headers={**ADMIN, "If-Match": "*"})


def json_of(response: TestResponse) -> dict[str, Any]:
    body: dict[str, Any] = response.get_json()
    return body


def assert_refused_in_time(client: FlaskClient) -> None:
    clock = Clock()
    response = write(client)
    assert clock.stop() < LIMIT
    assert (response.status_code, json_of(response)["code"]) == (503, "database_unavailable")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("pool", ["idle connections", "no connection"])
def test_a_write_to_a_frozen_server_is_refused_in_time(breakable: Flask, cluster: Cluster, pool: str) -> None:
    with breakable.app_context():
        if pool == "no connection":
            db.engine.dispose()
    cluster.freeze()
    assert_refused_in_time(breakable.test_client())
    cluster.thaw()
    eventually(5, lambda: write(breakable.test_client()).status_code == 200)


def test_a_write_says_whether_it_may_have_been_done(breakable: Flask, cluster: Cluster, breakable_url: str) -> None:
    """A commit that waits for a replica that is away is done, though nobody says so in time."""
    assert write(breakable.test_client()).status_code == 200
    cluster.freeze()
    assert write(breakable.test_client(), is_maintain=False).get_json()["detail"].endswith(" Nothing was changed.")
    cluster.thaw()
    execute(breakable_url, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    try:
        eventually(5, lambda: execute(breakable_url, "SHOW synchronous_standby_names") == [("nobody",)])
        answer = write(breakable.test_client(), is_maintain=False)
        assert (answer.status_code, answer.get_json()["detail"]) == (503, sentences.UNSURE)
    finally:
        execute(breakable_url, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
    eventually(5, lambda: execute(breakable_url, "SELECT is_maintain FROM system_settings") == [(False,)])


def test_a_write_to_a_stopped_server_is_refused_and_the_pool_recovers(breakable: Flask, cluster: Cluster) -> None:
    cluster.stop()
    assert_refused_in_time(breakable.test_client())
    cluster.start()
    assert write(breakable.test_client()).status_code == 200


def test_connections_that_a_restart_cut_are_replaced_unnoticed(breakable: Flask, cluster: Cluster) -> None:
    assert write(breakable.test_client()).status_code == 200
    cluster.stop()
    cluster.start()
    assert write(breakable.test_client(), is_maintain=False).status_code == 200


def test_a_write_is_refused_in_time_while_the_server_freezes_before_its_commit(
    breakable: Flask, cluster: Cluster, breakable_url: str
) -> None:
    with breakable.app_context():
        event.listen(db.engine, "commit", lambda _: cluster.freeze(), once=True)
    assert_refused_in_time(breakable.test_client())
    cluster.thaw()
    eventually(5, lambda: not execute(breakable_url, "SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in tr%'"))


def test_a_write_behind_an_open_transaction_is_refused_in_time_and_keeps_its_connection(
    make_app: Callable[..., Flask], postgresql_url: str
) -> None:
    app = make_app(postgresql_url)
    own = f"SELECT pid FROM pg_stat_activity WHERE datname = '{postgresql_url.rpartition('/')[2]}' AND application_name"
    with app.app_context():
        assert write(app.test_client()).status_code == 200
        before = execute(postgresql_url, f"{own} = 'dop_be'")
        with held(postgresql_url, "SELECT 1 FROM system_settings FOR UPDATE"):
            assert_refused_in_time(app.test_client())
            assert execute(postgresql_url, WAITING) == []
        assert execute(postgresql_url, f"{own} = 'dop_be'") == before
        assert write(app.test_client(), is_maintain=False).status_code == 200


def test_readings_behind_an_exclusive_lock_leave_no_server_process_waiting(
    make_app: Callable[..., Flask], postgresql_url: str
) -> None:
    live = make_app(postgresql_url).extensions["live"]
    assert live.refresh()
    with held(postgresql_url, "LOCK TABLE system_settings"):
        clock = Clock()
        assert not live.refresh()
        assert clock.stop() < LIMIT
        assert execute(postgresql_url, WAITING) == []
    assert live.refresh()


def test_a_write_without_a_free_connection_is_refused_in_time(breakable: Flask, breakable_url: str) -> None:
    with breakable.app_context():
        db.engine.dispose()
    with connections_used_up(breakable_url):
        assert_refused_in_time(breakable.test_client())
    eventually(5, lambda: write(breakable.test_client()).status_code == 200)


def test_a_write_that_finds_the_pool_used_up_is_refused_in_time(
    make_app: Callable[..., Flask], postgresql_url: str
) -> None:
    app = make_app(postgresql_url)
    with app.app_context(), ExitStack() as stack:
        for _ in range(db.engine.pool.size() + db.engine.pool._max_overflow):  # type: ignore[attr-defined]
            stack.enter_context(db.engine.connect())
        assert_refused_in_time(app.test_client())
    assert write(app.test_client()).status_code == 200


def test_a_process_that_freezes_while_it_writes_does_not_block_the_others(
    make_app: Callable[..., Flask], postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, other = make_app(postgresql_url), make_app(postgresql_url)
    monkeypatch.setattr(database, "ABANDONED_LIMIT", 200)

    def write_slowly() -> None:
        with writing(BY) as session:
            session.execute(text("SELECT 1 FROM system_settings FOR UPDATE"))
            eventually(5, lambda: write(other.test_client()).status_code == 200)

    with frozen.app_context(), pytest.raises(DatabaseUnavailable):
        write_slowly()


def test_any_error_undoes_the_transaction_at_once(app: Flask, sql: Callable[..., list[dict[str, object]]]) -> None:
    """Not only those of the database: what waits for the end of the request could wait without a limit."""
    with app.app_context():
        with suppress(ZeroDivisionError), writing(BY) as session:
            session.execute(text("UPDATE system_settings SET is_maintain = true"))
            raise ZeroDivisionError
        assert not session.in_transaction()
        assert not sql("SELECT is_maintain FROM system_settings")[0]["is_maintain"]


def test_an_inner_limit_does_not_extend_the_outer_one(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    app = make_app(postgresql_url)
    with app.app_context(), time_limit(0.3), reading(db.engine) as connection:
        clock = Clock()
        with pytest.raises(OperationalError, match="did not answer in time"):
            connection.execute(text("SELECT pg_sleep(10)"))
        assert clock.stop() < LIMIT


def test_without_a_limit_a_statement_takes_its_time(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    """As a migration does, also in a process that has set limits before."""
    app = make_app(postgresql_url)
    assert app.extensions["live"].refresh()
    with app.app_context(), db.engine.connect() as connection:
        assert connection.scalar(text("SELECT 'slept' FROM pg_sleep(1.7)")) == "slept"


def test_a_refused_value_is_told_without_the_row(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    """PostgreSQL's DETAIL holds the whole row, with settings that the caller may not see."""
    app = make_app(postgresql_url)
    with app.app_context(), pytest.raises(InvalidInput) as caught, writing(BY) as session:
        session.execute(text("UPDATE system_settings SET maintenance_mode = 'none', maintenance_message = 'private'"))
    assert "ck_system_settings_maintenance_mode" in caught.value.detail
    assert "private" not in caught.value.detail


OWNER = "ALTER TABLE api_tokens ADD owner integer DEFAULT 1"


@pytest.mark.parametrize(
    "statements",
    [
        [f"{OWNER} REFERENCES owners (id)"],
        [f"{OWNER} REFERENCES owners (id) DEFERRABLE INITIALLY DEFERRED"],
        [OWNER, "CREATE UNIQUE INDEX ix_owner ON api_tokens (owner)"],
        [f"{OWNER} NOT NULL"],
    ],
    ids=["reference", "deferred", "unique", "null"],
)
def test_what_another_program_added_is_not_blamed_on_the_caller(
    app: Flask, database_url: str, sql: Callable[..., Any], statements: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for statement in ("CREATE TABLE owners (id integer PRIMARY KEY)", *statements):
        sql(statement)
    if "NOT NULL" in statements[0] and database_url.startswith("sqlite"):  # which cannot drop a default
        sql("CREATE TABLE log (id integer NOT NULL)")
        sql("CREATE TRIGGER log AFTER INSERT ON api_tokens BEGIN INSERT INTO log VALUES (NULL); END")
    elif "NOT NULL" in statements[0]:
        sql("ALTER TABLE api_tokens ALTER owner DROP DEFAULT")
    with app.app_context():
        if "UNIQUE" in statements[-1]:
            tokens.create("first", ["settings:read"], BY)
        with pytest.raises(DatabaseUnavailable):
            tokens.create("second", ["settings:read"], BY)
    assert "constraint" in caplog.text


def test_a_value_that_a_check_of_the_settings_refuses_is_the_callers(app: Flask, sql: Callable[..., Any]) -> None:
    sql("ALTER TABLE system_settings ADD seats integer CHECK (seats < 9)")
    with app.app_context(), pytest.raises(InvalidInput), writing(BY) as session:
        session.execute(text("UPDATE system_settings SET seats = 10"))


def test_a_name_that_two_give_at_once_is_the_callers(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_free", lambda *_: None)  # as where the other commits just after that look
    with app.app_context():
        tokens.create("ci", ["settings:read"], BY)
        with pytest.raises(InvalidInput, match="at the same moment"):
            tokens.create("ci", ["settings:read"], BY)


@pytest.mark.parametrize("assignment", ["maintenance_mode = repeat('x', 17)", "revision = 10000000000"])
def test_a_value_that_is_too_long_or_out_of_range_is_the_callers(
    make_app: Callable[..., Flask], postgresql_url: str, assignment: str
) -> None:
    with make_app(postgresql_url).app_context(), pytest.raises(InvalidInput), writing(BY) as session:
        session.execute(text(f"UPDATE system_settings SET {assignment}"))


def test_a_write_to_a_database_without_tables_says_what_to_do(
    make_app: Callable[..., Flask], empty_database_url: str
) -> None:
    response = write(make_app(empty_database_url).test_client())
    assert (response.status_code, json_of(response)["code"]) == (503, "database_unavailable")
    assert "flask db upgrade" in json_of(response)["detail"]


def test_a_locked_file_refuses_a_write_in_time(make_app: Callable[..., Flask], sqlite_url: str) -> None:
    app = make_app(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert_refused_in_time(app.test_client())
    other.execute("ROLLBACK")
    other.close()
    assert write(app.test_client()).status_code == 200


def test_waits_for_a_files_locks_share_one_limit(make_app: Callable[..., Flask], sqlite_url: str) -> None:
    """A writer holds the file at first, and a reader keeps the commit waiting: together they stay within the limit."""
    app, path = make_app(sqlite_url), sqlite_url.removeprefix("sqlite:///")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM system_settings").fetchall()
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    ending = threading.Timer(1.0, writer.execute, ["ROLLBACK"])
    ending.start()
    assert_refused_in_time(app.test_client())
    ending.join()
    reader.close()
    writer.close()
    assert json_of(write(app.test_client()))["revision"] == 2
