"""A change and its history entry are both there or neither, also when a process dies in between."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import flask_migrate
import psycopg2
import pytest
from flask import Flask
from sqlalchemy import event

from dop_be.database import Author
from dop_be.extensions import db
from dop_be.settings import service

from ..postgres import Cluster, execute

Sql = Callable[..., list[Any]]
STATEMENTS = 16  # more than any change needs, so that some of the processes die after their commit


def change_and_die(app: Flask, message: str, statement: int) -> None:
    """Change a setting in a process of its own that kills itself after so many statements, or before the commit."""
    child = os.fork()
    if child == 0:
        with app.app_context():
            db.engine.dispose(close=False)  # a connection of the parent's is not the child's

            def count(*_: Any) -> None:
                nonlocal statement
                statement -= 1
                if statement == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            event.listen(db.engine, "after_cursor_execute", count)
            event.listen(db.engine, "commit", count)
            service.change({"maintenance_message": message}, Author("somebody", "cli"))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_writer_killed_a_hundred_times_leaves_row_and_history_in_agreement(app: Flask, sql: Sql) -> None:
    """Between any two statements of a change, before its commit and after it."""
    written = []
    for attempt in range(50):  # on each kind of database
        change_and_die(app, f"attempt {attempt}", attempt % STATEMENTS + 1)
        [row] = sql(
            'SELECT s.revision, maintenance_message, updated_by, h.revision AS entry, changed_by, h."values"'
            " FROM system_settings s LEFT JOIN changes h"
            " ON h.id = (SELECT max(id) FROM changes)"
        )
        values = json.loads(row["values"]) if isinstance(row["values"], str) else row["values"]
        assert row["revision"] == row["entry"]
        assert row["maintenance_message"] == values["maintenance_message"]
        written.append(row["revision"])
    assert 1 < written[-1] < 50  # some died before the commit, and some after it


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.mark.parametrize("times", [20, pytest.param(1000, marks=pytest.mark.soak)])
def test_a_server_killed_again_and_again_leaves_row_and_history_in_agreement(
    cluster: Cluster, make_app: Callable[..., Flask], times: int
) -> None:
    """Killed between the update and the commit, or, every other time, when the commit was just answered."""
    with make_app(cluster.url()).app_context():
        flask_migrate.upgrade()
    committed = 0
    for attempt in range(times):
        connection = psycopg2.connect(cluster.url())
        connection.cursor().execute(f"UPDATE system_settings SET maintenance_message = 'attempt {attempt}'")
        if attempt % 2:
            connection.commit()
            committed += 1
        cluster.kill()
        connection.close()
        cluster.start()
        rows = execute(
            cluster.url(),
            "SELECT s.revision, h.revision, maintenance_message IS NOT DISTINCT FROM h.values ->> 'maintenance_message'"
            " FROM system_settings s JOIN changes h USING (revision)",
        )
        assert rows == [(1 + committed, 1 + committed, True)]
        assert execute(cluster.url(), "SELECT count(*) FROM changes") == [(1 + committed,)]
