"""Log lines: who changed what in one line each, as JSON, with the request's id."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from .. import processes
from ..conftest import ADMIN, ADMIN_TOKEN

URL = "/api/v1/settings"
Logged = tuple[Flask, io.StringIO]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logged(make_app: Callable[..., Flask], sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Logged:
    """An application, and what it logs."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    app = make_app(sqlite_url)
    app.extensions["live"].refresh()
    return app, stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def change(app: Flask, **headers: str) -> str | None:
    """Flip the switch; the request's id as the answer tells it."""
    headers = {**ADMIN, "If-Match": "*", **headers}
    response = app.test_client().patch(URL, json={"is_maintain": True, "maintenance_message": "hello"}, headers=headers)
    assert response.status_code == 200
    return response.headers.get("X-Request-ID")


def test_a_change_is_one_line_with_who_what_and_why(logged: Logged) -> None:
    app, stream = logged
    headers = {"X-Request-ID": "req-1", "X-Change-Reason": "Umzug %E2%80%93 los"}
    assert change(app, **headers) == "req-1"
    change(app)
    [line] = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "settings changed",
        "level": "info",
        "logger": "dop_be.settings.service",
        "actor": "admin",
        "source": "api",
        "revision": 2,
        "changed": ["is_maintain", "maintenance_message"],
        "reason": "Umzug \N{EN DASH} los",
        "request_id": "req-1",
        "token": None,
        "scope": "settings:write",
    }


@pytest.mark.parametrize("given", ["", "a b", "x" * 201, "<script>", "a\tb", "ü"])
def test_an_id_that_is_not_well_formed_is_replaced(logged: Logged, given: str) -> None:
    made = change(logged[0], **{"X-Request-ID": given})
    assert made is not None
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert lines(logged[1])[0]["request_id"] == made


def test_answers_of_the_api_and_to_writes_carry_the_id(logged: Logged) -> None:
    client = logged[0].test_client()
    headers = {"X-Request-ID": "req-2"}
    assert client.get(URL, headers=headers).headers["X-Request-ID"] == "req-2"
    assert client.patch(URL, headers=headers).headers["X-Request-ID"] == "req-2"
    assert client.post("/nowhere", headers=headers).headers["X-Request-ID"] == "req-2"
    assert "X-Request-ID" not in client.get("/nowhere", headers=headers).headers


def test_every_line_of_a_request_carries_its_id(logged: Logged) -> None:
    app, stream = logged
    with app.test_request_context(headers={"X-Request-ID": "req-3"}):
        logging.getLogger("dop_be.anything").warning("careful")
    logging.getLogger("dop_be.anything").warning("careful")
    first, second = lines(stream)
    assert first["request_id"] == "req-3"
    assert "request_id" not in second


def test_an_exception_is_still_one_line(logged: Logged) -> None:
    app, stream = logged
    app.testing = False

    @app.get("/fails")
    def fails() -> str:
        raise RuntimeError("no luck")

    assert app.test_client().get("/fails").status_code == 500
    [line] = lines(stream)
    assert "RuntimeError: no luck" in line["exception"]
    assert line["level"] == "error"


def test_on_a_terminal_lines_are_for_people(
    make_app: Callable[..., Flask], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    app = make_app(sqlite_url)
    app.extensions["live"].refresh()
    change(app)
    [line] = stream.getvalue().splitlines()
    assert not line.startswith("{")
    assert "settings changed" in line


def test_on_a_terminal_a_command_says_what_it_did_in_its_one_line(sqlite_url: str) -> None:
    ours, theirs = pty.openpty()
    command = ["flask", "maintenance", "on"]
    with processes.started(
        command, env=processes.environment(DATABASE_URL=sqlite_url), stdout=theirs, stderr=theirs
    ) as process:
        assert process.wait(60) == 0
    os.close(theirs)
    assert os.read(ours, 10_000).decode().count("\n") == 1
    os.close(ours)


def test_the_level_is_the_configured_one(make_app: Callable[..., Flask], sqlite_url: str) -> None:
    make_app(sqlite_url, LOG_LEVEL="ERROR")
    assert logging.getLogger("dop_be").level == logging.ERROR
    make_app(sqlite_url)
    assert logging.getLogger("dop_be").level == logging.INFO


def test_what_some_library_quotes_is_hidden(logged: Logged) -> None:
    _, stream = logged
    token = "dop_0123abcd_" + "f" * 48
    for text in (ADMIN_TOKEN, token, f"Authorization: Bearer {token}", "postgresql://someone:pass%40word@db/x"):
        logging.getLogger("dop_be").error("could not read %s", text)
    said = stream.getvalue()
    assert [secret for secret in (ADMIN_TOKEN, token, "f" * 48, "pass%40word") if secret in said] == []
    assert len(lines(stream)) == 4


def test_gunicorn_and_alembic_keep_their_own_lines(logged: Logged) -> None:
    ours = logging.getLogger("dop_be").handlers
    for name in ("gunicorn.error", "gunicorn.access", "alembic", None):
        assert not set(logging.getLogger(name).handlers) & set(ours)
