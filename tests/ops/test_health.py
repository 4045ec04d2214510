"""`/livez` and `/readyz`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from dop_be.extensions import db
from dop_be.live import Live
from tests.conftest import ADMIN
from tests.problems import assert_problem

from ..shared import snapshot_of

MIGRATIONS = Path(__file__).parents[2] / "migrations"
HEAD = ScriptDirectory(str(MIGRATIONS)).get_current_head()
FIRST = ScriptDirectory(str(MIGRATIONS)).get_base()


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/nothing", "sqlite:////nowhere/at/all"])
def test_livez_touches_nothing(make_app: Callable[..., Flask], url: str) -> None:
    client = make_app(url).test_client()
    assert client.get("/livez").get_json() == {"status": "alive"}


def test_readyz_tells_the_state_that_is_served(client: FlaskClient, live: Live) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    body = response.get_json()
    assert body["ready"] is True
    assert body["notes"] == []
    assert body["alembic_revision"] == HEAD
    assert body["version"] == snapshot_of(live).version
    assert 0 <= body["state_age"] < 60


def test_health_answers_during_maintenance(client: FlaskClient) -> None:
    client.put("/api/v1/maintenance", json={"active": True}, headers=ADMIN)
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_readyz_names_a_database_that_is_not_migrated(make_app: Callable[..., Flask], empty_database_url: str) -> None:
    if empty_database_url.startswith("sqlite:///"):
        Path(empty_database_url.removeprefix("sqlite:///")).touch()
    client = make_app(empty_database_url).test_client()
    body = assert_problem(client.get("/readyz"), 503, "not_ready")
    assert body["detail"] == "the database is not migrated: run `flask db upgrade`."


def test_readyz_names_a_database_behind_the_code(
    client: FlaskClient, live: Live, sql: Callable[..., list[Any]]
) -> None:
    sql("UPDATE alembic_version SET version_num = :revision", revision=FIRST)
    live.refresh()
    body = assert_problem(client.get("/readyz"), 503, "not_ready")
    assert body["detail"] == (f"the database is at {FIRST}, behind this release's {HEAD}: run `flask db upgrade`.")


def test_readyz_is_ready_on_a_database_ahead_of_the_code(
    client: FlaskClient, live: Live, sql: Callable[..., list[Any]]
) -> None:
    sql("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    live.refresh()
    response = client.get("/readyz")
    assert response.status_code == 200
    [note] = response.get_json()["notes"]
    assert note.startswith(f"the database is at ffffffffffff, ahead of this release's {HEAD}: ")
    assert f"`flask db downgrade {HEAD}`" in note


def test_readyz_notes_a_missing_row_and_serves_on(
    client: FlaskClient, live: Live, sql: Callable[..., list[Any]]
) -> None:
    sql("DELETE FROM system_settings")
    live.refresh()
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.get_json()["notes"] == ["the row of system_settings is missing"]
    assert client.get("/api/v1/settings").status_code == 200


@pytest.mark.parametrize(("revision", "word"), [(FIRST, "behind"), ("ffffffffffff", "ahead"), (None, "not migrated")])
def test_start_up_logs_how_the_database_stands_once(
    live: Live,
    sql: Callable[..., list[Any]],
    caplog: pytest.LogCaptureFixture,
    revision: str | None,
    word: str,
) -> None:
    if revision is None:
        sql("DELETE FROM alembic_version")
    else:
        sql("UPDATE alembic_version SET version_num = :revision", revision=revision)
    with caplog.at_level(logging.WARNING):
        live.refresh()
        live.refresh()
    [message] = [record.getMessage() for record in caplog.records if record.name == "dop_be.ops.health"]
    assert word in message
    assert "run `flask db " in message


def test_start_up_on_a_database_as_it_should_be_logs_nothing(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        live.refresh()
    assert caplog.records == []


def test_a_worker_hears_of_a_migration_without_asking_per_request(
    client: FlaskClient, live: Live, sql: Callable[..., list[Any]]
) -> None:
    """A migration that changes no settings reaches the watcher too, through alembic_version itself."""
    live.start()
    for revision, status in ((FIRST, 503), (HEAD, 200)):
        sql("UPDATE alembic_version SET version_num = :revision", revision=revision)
        deadline = time.monotonic() + 30
        while live.status.alembic_revision != revision:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert client.get("/readyz").status_code == status
    live.stop()
    queries: list[str] = []
    with client.application.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *arguments: queries.append(arguments[2]))
    assert client.get("/readyz").status_code == 200
    assert queries == []
