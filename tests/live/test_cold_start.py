"""A process that starts without a database that it can read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from ..clock import Clock
from ..conftest import configuration
from ..e2e.servers import eventually
from ..postgres import Cluster, execute
from .answers import SOON, message, notes, problem_code, set_message, told

pytestmark = pytest.mark.limits


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


def test_a_listener_that_cannot_connect_does_not_keep_a_worker_from_its_state(
    make_app: Callable[..., Flask], postgresql_url: str
) -> None:
    wrong = configuration(postgresql_url).LISTEN_DATABASE_URI.set(port=1)
    app = make_app(postgresql_url, LISTEN_DATABASE_URI=wrong)
    assert message(app) is None
    execute(postgresql_url, "UPDATE system_settings SET maintenance_message = 'polled'")
    eventually(SOON, lambda: message(app) == "polled")
    assert notes(app) == (200, "")
