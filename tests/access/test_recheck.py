"""A write checks its token once more in its own transaction: one that was revoked meanwhile writes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from dop_be.access import service
from dop_be.database import Author

from ..conftest import ADMIN

BY = Author("ada", "cli")
Sql = Callable[..., list[Any]]


@pytest.fixture
def headers(app: Flask) -> dict[str, str]:
    with app.app_context():
        text, _ = service.create("ci", ["settings:write", "maintenance:write"], BY)
    return {"Authorization": f"Bearer {text}", "If-Match": "*"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE api_tokens SET revoked_at = '2020-01-01 00:00:00+00:00'",
        "UPDATE api_tokens SET expires_at = '2020-01-01 00:00:00+00:00'",
        "DELETE FROM api_tokens",
    ],
)
def test_a_token_that_is_no_longer_valid_writes_nothing_before_the_worker_hears_of_it(
    client: FlaskClient, headers: dict[str, str], sql: Sql, statement: str
) -> None:
    sql(statement)  # this worker has no watcher, so that it still takes the token for valid
    assert "id" in client.get("/api/v1/settings", headers=headers).json  # type: ignore[operator]
    entries = sql("SELECT count(*) AS n FROM changes")
    for answer in (
        client.patch("/api/v1/settings", json={"is_maintain": True}, headers=headers),
        client.put("/api/v1/maintenance", json={"active": True}, headers=headers),
        client.post(
            "/api/v1/maintenance/windows",
            json={"starts_at": "2031-01-01T00:00:00Z", "ends_at": "2031-01-02T00:00:00Z"},
            headers=headers,
        ),
    ):
        assert answer.status_code == 401
        assert answer.get_json()["code"] == "unauthorized"
    assert sql("SELECT is_maintain FROM system_settings") == [{"is_maintain": False}]
    assert sql("SELECT count(*) AS n FROM changes") == entries


def test_a_token_that_lost_its_scope_writes_nothing_before_the_worker_hears_of_it(
    client: FlaskClient, headers: dict[str, str], sql: Sql
) -> None:
    sql("UPDATE api_tokens SET scopes = 'maintenance:write'")
    answer = client.patch("/api/v1/settings", json={"is_maintain": True}, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")
    assert sql("SELECT is_maintain FROM system_settings") == [{"is_maintain": False}]
    assert client.put("/api/v1/maintenance", json={"active": True}, headers=headers).status_code == 200


def test_the_bootstrap_token_and_the_command_line_need_no_row(app: Flask, client: FlaskClient) -> None:
    assert client.put("/api/v1/maintenance", json={"active": True}, headers=ADMIN).status_code == 200
    assert app.test_cli_runner().invoke(args=["maintenance", "off"]).exit_code == 0


def test_a_state_that_cannot_be_read_lets_no_revoked_token_write(
    make_app: Callable[..., Flask], sqlite_url: str
) -> None:
    """Only an SQLite file takes what Python cannot read; such a state is not put in force, and is no excuse."""
    app = make_app(sqlite_url)
    assert app.extensions["live"].refresh()
    with app.app_context():
        text, _ = service.create("ci", ["settings:write"], BY)
    assert app.extensions["live"].refresh()
    headers = {"Authorization": f"Bearer {text}", "If-Match": "*"}
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(
            "INSERT INTO maintenance_windows (id, starts_at, ends_at) VALUES ('no uuid', '2031-01-01', '2031-01-02')"
        )
    client = app.test_client()
    assert client.patch("/api/v1/settings", json={"is_maintain": True}, headers=headers).status_code == 200
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE api_tokens SET revoked_at = '2020-01-01'")
    assert client.patch("/api/v1/settings", json={"is_maintain": False}, headers=headers).status_code == 401
