"""One look at the database: the whole state in one view, and what is told where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from dop_be import postgresql
from dop_be.database import reading as reading_through
from dop_be.engines import watching_engine
from dop_be.extensions import db
from dop_be.live.last_state import Identity
from dop_be.live.loader import read, read_mark
from dop_be.live.server import find_out
from dop_be.live.snapshot import Mark

from ..clock import eventually
from ..postgres import Cluster, execute

Sql = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def engine(app: Flask) -> Iterator[Engine]:
    with app.app_context():
        yield db.engine


def mark_of(engine: Engine) -> Mark | None:
    with reading_through(engine) as connection:
        return read_mark(connection)[0]


def test_a_reading_has_the_row_the_version_and_the_alembic_revision(engine: Engine, sql: Sql) -> None:
    [row] = sql("SELECT * FROM system_settings")
    [state] = sql("SELECT * FROM live_state")
    [alembic] = sql("SELECT * FROM alembic_version")
    reading = read(engine)
    assert reading.snapshot is not None
    assert reading.snapshot.version == state["version"]
    assert reading.snapshot.settings["revision"] == row["revision"]
    assert reading.alembic_revision == alembic["version_num"]
    mark = mark_of(engine)
    assert mark == reading.snapshot.mark
    assert mark is not None
    assert (mark.version, mark.alembic_revision) == (state["version"], alembic["version_num"])


def test_the_mark_follows_a_change_and_an_upgrade(engine: Engine, sql: Sql) -> None:
    """An upgrade may change nothing that raises the version; a worker that waits for it must notice."""
    marks = [mark_of(engine)]
    sql("UPDATE live_state SET version = version + 1")
    marks.append(mark_of(engine))
    sql("UPDATE alembic_version SET version_num = 'another'")
    marks.append(mark_of(engine))
    assert len(set(marks)) == 3


@pytest.mark.parametrize("table", ["system_settings", "live_state"])
def test_without_a_row_there_is_no_snapshot(engine: Engine, sql: Sql, table: str) -> None:
    [alembic] = sql("SELECT * FROM alembic_version")
    if engine.dialect.name == "postgresql":  # where a trigger refuses to empty live_state
        sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    sql(f"DELETE FROM {table}")
    assert (found := read(engine)).snapshot is None
    assert found.alembic_revision == alembic["version_num"]
    assert mark_of(engine) is None


@pytest.mark.parametrize("table", ["system_settings", "live_state"])
def test_without_a_table_there_is_no_snapshot(engine: Engine, sql: Sql, table: str) -> None:
    [alembic] = sql("SELECT * FROM alembic_version")
    sql(f"DROP TABLE {table}")  # as another release's migration might
    assert (found := read(engine)).snapshot is None
    assert found.alembic_revision == alembic["version_num"]
    assert mark_of(engine) is None


def test_an_empty_database_has_no_revision(make_app: Callable[..., Flask], empty_database_url: str) -> None:
    if empty_database_url.startswith("sqlite:///"):
        Path(empty_database_url.removeprefix("sqlite:///")).touch()
    with make_app(empty_database_url).app_context():
        assert read(db.engine).snapshot is None
        assert read(db.engine).alembic_revision is None
        assert mark_of(db.engine) is None


def test_a_database_that_does_not_answer_is_an_error(make_app: Callable[..., Flask]) -> None:
    with make_app("postgresql://postgres@127.0.0.1:1/none").app_context():
        for look in (read, mark_of):
            with pytest.raises(SQLAlchemyError):
                look(db.engine)


def test_a_reading_takes_no_lock_that_a_writer_waits_for(engine: Engine, sql: Sql) -> None:
    """And reads on while a transaction that has written is still open."""
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE system_settings SET is_maintain = true")
        reading = read(engine)
        assert reading.snapshot is not None
        assert not reading.snapshot.at(time.time()).maintenance.active


def identity(url: str) -> Identity | None:
    engine = watching_engine(make_url(url).set(drivername=postgresql.NAME), 5)
    with reading_through(engine) as connection:
        return find_out(connection).identity


def test_a_server_says_which_it_is_and_in_which_life_also_to_an_ordinary_role() -> None:
    cluster = Cluster(restore_command="/bin/false")  # there is no archive to restore from
    try:
        cluster.start()
        execute(cluster.url(), "CREATE ROLE ordinary LOGIN")
        first = identity(cluster.url(user="ordinary"))
        cluster.stop()
        cluster.recover()
        cluster.start()
        eventually(60, lambda: execute(cluster.url(), "SELECT pg_is_in_recovery()") == [(False,)])
        second = identity(cluster.url(user="ordinary"))
    finally:
        cluster.remove()
    assert first
    assert second
    assert (first.system, first.timeline) == (second.system, 1)
    assert second.timeline == 2
